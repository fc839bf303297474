"""What `doctor` notices beyond packages that are not there."""

import subprocess
import sys

import av
import pytest
from conftest import without_privileges

from mlx_canary.doctor import examine


@pytest.mark.skipif(sys.platform != "linux", reason="drops Linux capabilities")
def test_a_cache_that_may_not_be_looked_at_is_a_finding(tmp_path):
    """Once a traceback."""
    (tmp_path / "closed").mkdir(mode=0)
    code = (
        "import os, sys; os.environ['MLX_CANARY_CACHE'] = sys.argv[1]\n"
        "from mlx_canary.doctor import examine\n"
        "print([finding.remedy for finding in examine() if finding.name == 'Model cache'])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "closed/cache")],
        capture_output=True,
        text=True,
        preexec_fn=without_privileges,
        timeout=60,
    )
    assert result.stdout == "['Set MLX_CANARY_CACHE to a folder that you can write to.']\n", result.stderr


def test_a_decoder_that_does_not_decode_is_noticed(monkeypatch):
    """PyAV 19 could be imported and had every codec, but no file could be opened with it; doctor said ok."""

    def open_like_another_version(*_, **__):
        raise TypeError("open() got an unexpected keyword argument")

    monkeypatch.setattr(av, "open", open_like_another_version)
    (audio,) = [finding for finding in examine() if finding.name == "Audio decoding"]
    assert not audio.working
    assert "TypeError: open() got an unexpected keyword argument" in audio.detail
    assert "pip install" in audio.remedy
