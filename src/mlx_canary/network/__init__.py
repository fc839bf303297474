"""The networks: they only compute."""
