"""The one error of this room."""

from mlx_canary.errors import CanaryError


class OutputError(CanaryError, ValueError):
    """A result cannot be written as asked: unknown format, option out of range, name taken, folder not writable."""
