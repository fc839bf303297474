"""Times: of words, sentences and tokens."""
