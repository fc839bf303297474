"""`--dtype` reaches the model, in every command that loads one to compute."""

import pytest
from conftest import DATA, WAVS

from mlx_canary import CanaryModel
from mlx_canary.backend import mx
from mlx_canary.cli.main import main
from mlx_canary.errors import ModelNotFoundError
from mlx_canary.mcp_server.worker import Worker

MODEL = str(DATA / "models/canary2-flash.nemo")
SPEECH = str(DATA / "audio" / WAVS["speech"])


@pytest.mark.parametrize(
    "command",
    [
        ["transcribe", SPEECH],
        ["translate", SPEECH, "--from", "en", "--to", "de"],
        ["live", "--file", SPEECH],
        ["align", SPEECH, "words.txt"],
        ["evaluate", "manifest.jsonl"],
    ],
    ids=lambda command: command[0],
)
def test_a_command_hands_it_on(monkeypatch, tmp_path, capsys, command):
    (tmp_path / "words.txt").write_text("Good morning.")
    (tmp_path / "manifest.jsonl").write_text(f'{{"audio_filepath": "{SPEECH}", "text": "Good morning."}}')
    monkeypatch.chdir(tmp_path)
    asked = []

    def none(source, dtype=None, progress=None):
        asked.append(dtype)
        raise ModelNotFoundError("There is no model.")

    monkeypatch.setattr(CanaryModel, "from_pretrained", none)
    with pytest.raises(SystemExit) as ended:
        main([*command, "-m", MODEL, "--dtype", "bfloat16"])
    assert ended.value.code == 1
    assert "There is no model." in capsys.readouterr().err
    assert asked == ["bfloat16"]


def test_an_assistant_gets_it():
    worker = Worker(MODEL, "bfloat16")
    try:
        assert worker._model.result(60)._loaded.network.dtype == mx.bfloat16
    finally:
        worker.close()
