"""What `doctor` notices beyond packages that are not there."""

import av

from mlx_canary.doctor import examine


def test_a_decoder_that_does_not_decode_is_noticed(monkeypatch):
    """PyAV 19 could be imported and had every codec, but no file could be opened with it; doctor said ok."""

    def open_like_another_version(*_, **__):
        raise TypeError("open() got an unexpected keyword argument")

    monkeypatch.setattr(av, "open", open_like_another_version)
    (audio,) = [finding for finding in examine() if finding.name == "Audio decoding"]
    assert not audio.working
    assert "TypeError: open() got an unexpected keyword argument" in audio.detail
    assert "pip install" in audio.remedy
