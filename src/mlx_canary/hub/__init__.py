"""Models from the Hugging Face hub, converted once and kept in a cache of our own."""
