"""The names of a converted checkpoint's files. Knows nothing about what is in them, and needs no MLX."""

WEIGHTS, ALIGNER_WEIGHTS, CONFIG = "model.safetensors", "aligner.safetensors", "config.json"
# What a converted folder holds; a Mac's Finder adds the last.
OURS = {WEIGHTS, ALIGNER_WEIGHTS, CONFIG, "README.md", "vocab.txt", "tokenizer.model", "tokenizers", ".DS_Store"}
