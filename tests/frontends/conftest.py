"""A server that several modules talk to."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from servers import Server, running

from mlx_canary import CanaryModel


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """One with the demo model and nothing else said."""
    with running() as server:
        yield server


@pytest.fixture(scope="session")
def demo() -> CanaryModel:
    """The same model, for what it says without a server."""
    return CanaryModel.from_pretrained("demo")
