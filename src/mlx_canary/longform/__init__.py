"""Long recordings: where to cut, how to join."""
