"""`python -m mlx_canary`."""

from mlx_canary.cli.main import main

main()
