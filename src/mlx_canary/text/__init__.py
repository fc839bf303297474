"""Tokens, prompts and languages."""
