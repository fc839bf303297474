"""A hub on loopback, and caches of its own for each test: nothing here can reach the real one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fake_hub
import pytest
from huggingface_hub import constants

NOT_LET_IN = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


@pytest.fixture
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that holds our cache (`ours`) and the hub's own (`hf`), for this process and those it starts."""
    for name in NOT_LET_IN:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    environment = {
        "MLX_CANARY_CACHE": str(tmp_path / "ours"),
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    # huggingface_hub read its environment when it was imported.
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf/hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "hf/token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    fake_hub.endpoint(monkeypatch, "http://127.0.0.1:9")  # nobody there
    return tmp_path


@pytest.fixture
def hub(caches: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[fake_hub.FakeHub]:
    """A hub with one model, which stands for canary-180m-flash."""
    with fake_hub.running() as hub:
        fake_hub.endpoint(monkeypatch, hub.url)
        hub.add("nvidia/canary-180m-flash", {"README.md": b"A model.", "canary-180m-flash.nemo": fake_hub.NEMO})
        yield hub
