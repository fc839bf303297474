"""Converted folders that were damaged or edited: loading names the problem, and so does verification."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import DATA, without_privileges

from mlx_canary import CanaryModel, CanaryTokenizer, CheckpointError, ConversionConfig, ConversionError, convert, verify
from mlx_canary.backend import mx
from mlx_canary.cli.main import cli
from mlx_canary.load_models import load_config, load_folder

MODELS = DATA / "models"
CREATION, KEYS, LOADING, FORWARD, TOKENIZER, PROMPT = (
    *("Model creation", "Key mapping", "Weight loading", "Forward pass"),
    *("Tokenizer round trip", "Prompt"),
)
ALL = {CREATION, KEYS, LOADING, FORWARD, TOKENIZER, PROMPT}
AFTER_KEYS = {KEYS, LOADING, FORWARD, PROMPT}
AFTER_TOKENIZER = {LOADING, FORWARD, TOKENIZER, PROMPT}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("converted") / "model"
    convert(ConversionConfig(nemo_file=MODELS / "canary2-flash.nemo", output_dir=folder))
    return folder


@pytest.fixture
def folder(whole, tmp_path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(whole, tmp_path / "model"))


def edit(path: str, value: object) -> Callable[[Path], None]:
    """Change a key of config.json, given with dots; None takes it away."""

    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        *parents, last = path.split(".")
        section = config
        for parent in parents:
            section = section[parent]
        if value is None:
            del section[last]
        else:
            section[last] = value
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")

    return change


def write(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content) and None


def truncate(name: str, share: float) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * share)])

    return change


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def weights(change: Callable[[dict[str, mx.array]], object]) -> Callable[[Path], None]:
    """Write other tensors, in a file that is sound in itself."""

    def damage(folder: Path) -> None:
        tensors = mx.load(str(folder / "model.safetensors"))
        mx.eval(tensors)
        change(tensors)
        mx.save_safetensors(str(folder / "model.safetensors"), tensors)

    return damage


def notes(values: object) -> Callable[[Path], None]:
    """Change what stands in the header of the weights beside the tensors."""

    def damage(folder: Path) -> None:
        content = (folder / "model.safetensors").read_bytes()
        end = 8 + int.from_bytes(content[:8], "little")
        header = json.dumps({**json.loads(content[8:end]), "__metadata__": values}).encode()
        damaged = len(header).to_bytes(8, "little") + header + content[end:]
        (folder / "model.safetensors").write_bytes(damaged)

    return damage


def swap(first: str, second: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        contents = [(folder / name).read_bytes() for name in (first, second)]
        for name, content in zip((second, first), contents, strict=True):
            (folder / name).write_bytes(content)

    return damage


NORM = "encoder.blocks.0.norm_out.weight"
DAMAGE = {
    "no config": (remove("config.json"), "config.json", ALL),
    "config cut off": (truncate("config.json", 0.5), r"config\.json", ALL),
    "config of nothing": (write("config.json", b""), r"config\.json", ALL),
    "config of bytes": (write("config.json", b"\xff\xfe\0"), r"config\.json", ALL),
    "config of brackets": (write("config.json", b"[" * 100_000), r"config\.json", ALL),
    "somebody else's config": (write("config.json", b'{"model_type": "whisper"}'), "not a model converted by", ALL),
    "config that is a list": (write("config.json", b"[]"), "not a model converted by", ALL),
    "another version": (edit("format_version", 2), "format_version 2; this version of mlx-canary reads 1", ALL),
    "version as text": (edit("format_version", "1"), "format_version '1'", ALL),
    "unknown key": (edit("encoder.rotary", True), r"encoder\.rotary: .*\(found True\)", ALL),
    "unknown key outside": (edit("extra", 1), r"extra: ", ALL),
    "missing key": (edit("encoder.n_heads", None), r"encoder\.n_heads: Field required", ALL),
    "number as text": (edit("encoder.n_layers", "2"), r"encoder\.n_layers: .*\(found '2'\)", ALL),
    "fraction": (edit("encoder.n_layers", 2.0), r"encoder\.n_layers", ALL),
    "truth as number": (edit("encoder.n_layers", True), r"encoder\.n_layers", ALL),
    "too many layers": (edit("decoder.n_layers", 100_000), r"decoder\.n_layers", ALL),
    "too wide": (edit("encoder.d_ff", 1 << 40), "larger than any real model", ALL),
    "unknown choice": (edit("decoder.hidden_act", "silu"), r"decoder\.hidden_act", ALL),
    "parts that do not fit": (edit("preprocessor.features", 80), r"encoder\.feat_in=128 but", ALL),
    "vocabulary beyond the head": (edit("decoder.output_size", 100), "less than tokenizer.size", ALL),
    "a layer more": (edit("encoder.n_layers", 3), r"lacks the tensor encoder\.blocks\.2", AFTER_KEYS),
    "a layer less": (edit("encoder.n_layers", 1), "tensors that config.json does not call for", AFTER_KEYS),
    "another width": (edit("encoder.d_ff", 64), r"is float32 \(128.*calls for float32 \(64", AFTER_KEYS),
    "another type": (edit("weights.dtype", "float16"), "calls for float16", AFTER_KEYS),
    "bits that are not": (
        edit("weights.quantization", {"bits": 4, "group_size": 32}),
        "calls for uint32|lacks the tensor",
        AFTER_KEYS,
    ),
    "another layout": (edit("weights.layout", "nemo"), "lacks .* tensors", AFTER_KEYS),
    "other tokenizer sizes": (edit("tokenizer.size", 1551), "has 1552 pieces .* says 1551", {LOADING, FORWARD, PROMPT}),
    "sub-tokenizers renamed": (edit("tokenizer.sub_tokenizers", [{"name": "../x", "size": 3}]), "sub_tokenizers", ALL),
    "a rate that is none": (edit("preprocessor.sample_rate", 1), r"preprocessor\.sample_rate", ALL),
    "windows of no length": (edit("longest_training_item", 1e-300), "longest_training_item", ALL),
    "a language that colours": (edit("languages.spoken", ["\x1b[31m"]), r"languages\.spoken", ALL),
    "notes that are no texts": (notes({"format": {"a": 1}}), "__metadata__ is not", AFTER_KEYS),
    "no weights": (remove("model.safetensors"), r"lacks model\.safetensors", AFTER_KEYS),
    "weights cut off": (truncate("model.safetensors", 0.9), "cut off", AFTER_KEYS),
    "weights cut off early": (truncate("model.safetensors", 0.001), "cut off", AFTER_KEYS),
    "weights of nothing": (write("model.safetensors", b""), "cut off", AFTER_KEYS),
    "a tensor less": (weights(lambda t: t.pop(NORM)), f"lacks the tensor {NORM}", AFTER_KEYS),
    "a tensor more": (weights(lambda t: t.update(extra=mx.zeros(2))), "does not call for, such as extra", AFTER_KEYS),
    "another shape": (weights(lambda t: t.update({NORM: mx.zeros(3)})), NORM, AFTER_KEYS),
    "a tensor's type": (weights(lambda t: t.update({NORM: mx.zeros(32, mx.float16)})), NORM, AFTER_KEYS),
    "no tokenizer": (remove("tokenizers/en.model"), r"lacks tokenizers/en\.model", AFTER_TOKENIZER),
    "tokenizer cut off": (truncate("tokenizers/en.model", 0.5), "'en' is not a SentencePiece model", AFTER_TOKENIZER),
    "tokenizer of nothing": (write("tokenizers/en.model", b""), "'en' is not a SentencePiece model", AFTER_TOKENIZER),
    "tokenizers of other sizes": (
        swap("tokenizers/en.model", "tokenizers/spl_tokens.model"),
        r"has 1552 pieces \(spl_tokens 120, en 1152",
        AFTER_TOKENIZER,
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_named(what, folder):
    """By loading, by the first failed check, and by nothing that worked before."""
    damage, message, failing = DAMAGE[what]
    damage(folder)
    with pytest.raises(CheckpointError, match=message):
        load_folder(folder)
    failed = [check for check in verify(folder) if not check.passed]
    assert {check.name for check in failed} == failing
    assert re.search(message, failed[0].detail)


def test_a_folder_without_config_is_no_model(folder):
    remove("config.json")(folder)
    with pytest.raises(ConversionError, match=r"has model\.safetensors but no config\.json\. .* copy it whole"):
        CanaryModel.from_pretrained(folder)


def test_a_folder_of_something_else_is_no_model(tmp_path):
    (tmp_path / "talk.wav").touch()
    with pytest.raises(
        ConversionError, match=r"it holds talk\.wav\. Is it the folder of a converted model, or of a \.nemo"
    ):
        CanaryModel.from_pretrained(tmp_path)


@pytest.mark.parametrize("what", ["another version", "weights cut off", "no tokenizer", "a tensor less"])
def test_verify_prints_failed_lines_and_exits_with_1(what, folder):
    damage, _, failing = DAMAGE[what]
    damage(folder)
    result = CliRunner().invoke(cli, ["verify", str(folder)])
    assert result.exit_code == 1
    lines = dict(line.split(": ", 1) for line in result.stdout.splitlines())
    assert {name for name, verdict in lines.items() if verdict.startswith("FAILED (")} == failing
    assert {name for name, verdict in lines.items() if verdict.startswith("PASSED (")} == ALL - failing


def test_verify_prints_passed_lines_and_exits_with_0(whole):
    result = CliRunner().invoke(cli, ["verify", str(whole), str(MODELS / "canary2-flash.nemo")])
    assert result.exit_code == 0
    assert [line.split(" (")[0] for line in result.stdout.splitlines()] == [
        *(f"{name}: PASSED" for name in (CREATION, KEYS, LOADING, FORWARD, TOKENIZER, PROMPT)),
        "Equality with the source: PASSED",
    ]


def test_tokenizers_that_are_swapped_are_noticed(folder):
    """Every piece exists and every weight is right, but German comes out as Spanish."""
    swap("tokenizers/de.model", "tokenizers/es.model")(folder)
    failed = {check.name: check.detail for check in verify(folder) if not check.passed}
    assert "vocab.txt" in failed[TOKENIZER]


def test_swapped_tokenizers_with_their_vocabulary_are_found_with_the_source(folder):
    """Then nothing in the folder contradicts anything else, and no weight differs."""
    swap("tokenizers/de.model", "tokenizers/fr.model")(folder)
    tokenizer = CanaryTokenizer(folder)
    pieces = "".join(f"{tokenizer.piece(i)}\n" for i in range(tokenizer.size))
    (folder / "vocab.txt").write_text(pieces, encoding="utf-8")
    assert all(check.passed for check in verify(folder))
    (failed,) = [check for check in verify(folder, MODELS / "canary2-flash.nemo") if not check.passed]
    assert failed.detail == "the SentencePiece model 'de' is not that of canary2-flash.nemo"


def test_a_source_that_was_renamed_is_still_the_source(whole, tmp_path):
    """Name, licence and languages may follow from the file's name; once that was another checkpoint then."""
    renamed = Path(shutil.copy(MODELS / "canary2-flash.nemo", tmp_path / "mine.nemo"))
    assert all(check.passed for check in verify(whole, renamed))
    edit("languages", {"spoken": ["en"], "translation": "none", "translated": [], "pnc_switch": True})(
        copy := Path(shutil.copytree(whole, tmp_path / "copy"))
    )
    assert all(check.passed for check in verify(copy, renamed))


@pytest.mark.skipif(sys.platform != "linux", reason="drops Linux capabilities")
@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "vocab.txt", "tokenizers/en.model", "tokenizers", "."]
)
def test_files_that_may_not_be_read_are_named(name, folder):
    """Once tracebacks: verify promises failed checks, and loading an error of ours."""
    (folder / name).chmod(0)
    code = (
        "import sys; from mlx_canary import CanaryModel, CanaryTokenizer, verify; from mlx_canary.errors import *\n"
        "for read in (CanaryModel.from_pretrained, CanaryTokenizer):\n"
        "    try: read(sys.argv[1])\n"
        "    except CanaryError as error: print(error)\n"
        "print([check.detail for check in verify(sys.argv[1]) if not check.passed])\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        capture_output=True,
        text=True,
        preexec_fn=without_privileges,
        timeout=60,
    )
    (folder / name).chmod(0o755)
    assert process.stderr == ""
    assert "ermission" in process.stdout
    assert process.stdout.splitlines()[-1] != "[]"


@pytest.mark.parametrize("parts", [[{"name": "../../en", "size": 3}], [], 5, None])
def test_a_tokenizer_alone_reads_nothing_outside_its_folder(parts, folder):
    """CanaryTokenizer(folder) looked names up before anybody had looked at them."""
    (folder.parent / "en.model").write_bytes((folder / "tokenizers/en.model").read_bytes())
    edit("tokenizer.sub_tokenizers", parts)(folder)
    with pytest.raises(CheckpointError, match=r"SentencePiece|no sub-tokenizer"):
        CanaryTokenizer(folder)


def test_a_config_of_brackets_is_no_tokenizer(folder):
    (folder / "config.json").write_text("[" * 100_000, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"SentencePiece|no sub-tokenizer"):
        CanaryTokenizer(folder)


def test_what_mlx_refuses_is_a_failed_check(folder):
    """Each number is possible, but half a second has no frame then: verify ended in MLX's own error."""
    for key in ("hop_length", "window_length", "n_fft"):
        edit(f"preprocessor.{key}", 1 << 20)(folder)
    checks = verify(folder)
    assert not all(check.passed for check in checks)


def test_weights_that_are_no_numbers_fail(folder):
    weights(lambda t: t.update({NORM: mx.full((32,), mx.nan)}))(folder)
    failed = {check.name: check.detail for check in verify(folder) if not check.passed}
    assert failed[LOADING] == "encoder.blocks.0.norm_out.weight has values that are not finite"


def test_one_changed_number_is_found_with_the_source(folder):
    weights(lambda t: t.update({NORM: t[NORM] + mx.array([1e-6] + 31 * [0.0])}))(folder)
    assert all(check.passed for check in verify(folder))
    (failed,) = [check for check in verify(folder, MODELS / "canary2-flash.nemo") if not check.passed]
    assert failed.detail == f"{NORM} differs from what canary2-flash.nemo gives"


def test_another_checkpoint_is_not_the_source(whole):
    (failed,) = [check for check in verify(whole, MODELS / "canary1-agg-gz.nemo") if not check.passed]
    assert failed.name == "Equality with the source"
    assert "is it another checkpoint?" in failed.detail


@pytest.mark.parametrize("source", ["nothing.nemo", "model.safetensors"])
def test_a_source_that_cannot_be_read_fails_that_check_alone(whole, source):
    (failed,) = [check for check in verify(whole, whole / source) if not check.passed]
    assert failed.name == "Equality with the source"


@pytest.mark.parametrize("what", ["missing", "a file", "empty", "a .nemo"])
def test_what_is_no_converted_folder_fails(what, tmp_path, whole):
    (tmp_path / "a file").write_text("x")
    (tmp_path / "empty").mkdir()
    path = MODELS / "canary2-flash.nemo" if what == "a .nemo" else tmp_path / what
    assert not any(check.passed for check in verify(path))


def test_config_json_is_enough_to_ask_what_a_model_is(folder):
    (folder / "model.safetensors").unlink()
    assert load_config(folder).name == "canary2-flash"
    assert load_config(MODELS / "canary2-flash.nemo") == load_config(folder)


def test_a_folder_may_be_renamed_and_moved(folder, tmp_path):
    folder.rename(tmp_path / "elsewhere")
    assert CanaryModel.from_pretrained(tmp_path / "elsewhere").config.name == "canary2-flash"


ENCODER_ALONE = {"config.json": b'{"model_type": "fastconformer"}', "model.safetensors": b"", "README.md": b"a card"}


@pytest.fixture
def download(tmp_path, monkeypatch) -> Path:
    """What a download of the whole repository nvidia/canary-1b-flash leaves."""
    folder = tmp_path / "canary-1b-flash"
    folder.mkdir()
    for name, content in ENCODER_ALONE.items():
        (folder / name).write_bytes(content)
    shutil.copy(MODELS / "canary2-flash.nemo", folder / "canary-1b-flash.nemo")
    monkeypatch.chdir(tmp_path)
    return folder


def test_a_folder_that_holds_a_nemo_file_stands_for_it(download, tmp_path):
    """The config.json in it is another library's: the folder was refused for it, without a word of the .nemo."""
    for source in ("canary-1b-flash", "./canary-1b-flash", download):
        assert load_config(source).source.file == "canary-1b-flash.nemo"
    assert CanaryModel.from_pretrained("canary-1b-flash").config.name == "canary-1b-flash"
    convert(ConversionConfig(nemo_file=download, output_dir=tmp_path / "model"))
    assert all(check.passed for check in verify(tmp_path / "model", download))


def test_such_a_folder_needs_no_name_nor_a_config(download, monkeypatch, whole):
    """And `convert .` names its folder by where it is."""
    monkeypatch.chdir(download)
    result = CliRunner().invoke(cli, ["convert", "."])
    assert result.exit_code == 0, result.output
    assert load_config("canary-1b-flash-mlx").source.file == "canary-1b-flash.nemo"
    (download / "config.json").unlink()
    (download / "canary-1b-flash.nemo").rename("something.nemo")
    assert load_config(download).source.file == "something.nemo"


def test_of_several_nemo_files_the_one_with_the_folder_s_name_is_taken(download):
    (download / "another.nemo").write_bytes(b"another")
    assert load_config(download).source.file == "canary-1b-flash.nemo"
    (download / "canary-1b-flash.nemo").rename(download / "mine.nemo")
    for read in (load_config, lambda folder: convert(ConversionConfig(nemo_file=folder, output_dir="model"))):
        with pytest.raises(ConversionError, match=r"holds 2 \.nemo files \(another\.nemo, mine\.nemo\)\. Give"):
            read(download)


def test_a_converted_folder_stays_what_it_is(folder):
    """Whatever lies beside it."""
    (folder / "model.nemo").write_bytes(b"not read")
    assert load_config(folder).source.file == "canary2-flash.nemo"
