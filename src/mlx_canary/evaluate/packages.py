"""The packages that score, which only the extra `evaluate` brings; a sentence where they are missing."""

from __future__ import annotations

import importlib
from typing import Any

from mlx_canary.errors import EvaluationError

NEEDED = ("jiwer", "sacrebleu", "whisper_normalizer.basic", "whisper_normalizer.english")
COMMAND = "pip install jiwer sacrebleu whisper-normalizer"


def require(name: str) -> Any:
    """A module of one of these packages.

    Raises:
        EvaluationError: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise EvaluationError(
            f"Scoring needs the packages of the extra 'evaluate' ({error}). Install them with: {COMMAND}"
        ) from error


def require_all() -> None:
    """Notice before the long work what would be missing after it.

    Raises:
        EvaluationError: One is not installed.
    """
    for name in NEEDED:
        require(name)
