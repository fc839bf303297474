"""From encoder states to tokens."""
