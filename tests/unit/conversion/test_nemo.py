"""Checkpoints as a whole: the reference models, and what configurations may say."""

import gzip
from pathlib import Path
from typing import Any

import builders as b
import numpy as np
import pytest
from conftest import DATA

from mlx_canary.conversion.interpolate import interpolate
from mlx_canary.conversion.nemo import open_nemo
from mlx_canary.conversion.nemo_yaml import load_yaml
from mlx_canary.errors import ConversionError, ModelNotFoundError

MODELS = DATA / "models"
EMBEDDING, HEAD = "transf_decoder._embedding.token_embedding.weight", "log_softmax.mlp.layer0.weight"


@pytest.mark.parametrize("path", sorted(MODELS.glob("*.nemo")), ids=lambda path: path.stem)
def test_reference_checkpoints_are_read_whole(path: Path) -> None:
    """NeMo wrote these. Every tensor reads, is finite, and matches its checksum; the tied pair shares bytes."""
    with open_nemo(path) as checkpoint:
        for tensor in checkpoint.tensors.values():
            tensor.check()
            assert tensor.read().shape == tensor.shape
            assert np.isfinite(tensor.read()).all()
        assert checkpoint.tensors[EMBEDDING].storage_key == checkpoint.tensors[HEAD].storage_key
        tokenizer = checkpoint.config["tokenizer"]
        for part in tokenizer.get("langs", {"": tokenizer}).values():
            assert checkpoint.artifact(part["model_path"])


def test_gzip_makes_no_difference(tmp_path: Path) -> None:
    archive = tmp_path / "plain.nemo"
    archive.write_bytes(gzip.decompress((MODELS / "canary1-agg-gz.nemo").read_bytes()))
    with open_nemo(archive) as plain, open_nemo(MODELS / "canary1-agg-gz.nemo") as packed:
        assert plain.config == packed.config
        for name, tensor in plain.tensors.items():
            np.testing.assert_array_equal(tensor.read(), packed.tensors[name].read())


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_stays_what_it_was(dtype: str) -> None:
    name = {"bfloat16": "var-bf16", "float16": "var-fp16"}[dtype]
    with open_nemo(MODELS / f"{name}.nemo") as checkpoint:
        assert {tensor.dtype for tensor in checkpoint.tensors.values()} == {dtype, "int64"}


def test_the_auxiliary_timestamp_model_is_found() -> None:
    with open_nemo(MODELS / "canary2-unified.nemo") as checkpoint:
        assert checkpoint.timestamps_config is not None
        assert checkpoint.timestamps_config["encoder"]["use_bias"] is False
        assert "decoder.decoder_layers.0.weight" in (checkpoint.timestamps_tensors or {})
    with open_nemo(MODELS / "canary2-flash.nemo") as checkpoint:
        assert checkpoint.timestamps_config is None
        assert checkpoint.timestamps_tensors is None


@pytest.mark.parametrize(("setting", "found"), [("true", True), ("null", True), ("false", False)])
def test_the_configuration_may_switch_the_timestamp_model_off(tmp_path: Path, setting: str, found: bool) -> None:
    more = {"timestamps_asr_model_config.yaml": b"a: 1", "timestamps_asr_model_weights.ckpt": b.torch_zip()}
    config = b.CONFIG + f"restore_timestamps_model: {setting}\n".encode()
    (tmp_path / "x.nemo").write_bytes(b.tar(b.members(config=config) | more))
    assert (open_nemo(tmp_path / "x.nemo").timestamps_config is not None) is found


def test_half_a_timestamp_model_is_none(tmp_path: Path) -> None:
    """As in NeMo: both members, or no aligner."""
    (tmp_path / "x.nemo").write_bytes(b.tar(b.members() | {"timestamps_asr_model_config.yaml": b"a: 1"}))
    assert open_nemo(tmp_path / "x.nemo").timestamps_tensors is None


@pytest.mark.parametrize(
    "reference",
    [
        f"nemo:{b.TOKENIZER}",
        f"nemo:./{b.TOKENIZER}",
        b.TOKENIZER,
        "nemo:tokenizer.model",
        "/home/somebody/tokenizers/tokenizer.model",
    ],
)
def test_artifacts_are_found_by_name_or_base_name(tmp_path: Path, reference: str) -> None:
    with open_nemo(b.nemo(tmp_path / "x.nemo")) as checkpoint:
        assert checkpoint.artifact(reference) == b"a tokenizer"


def test_an_artifact_is_never_guessed(tmp_path: Path) -> None:
    """canary-1b-v2 has several tokenizers: the first that fits may be the wrong one."""
    twin = {f"{'f' * 32}_tokenizer.model": b"another"}
    (tmp_path / "x.nemo").write_bytes(b.tar(b.members() | twin))
    with open_nemo(tmp_path / "x.nemo") as checkpoint:
        assert checkpoint.artifact(f"nemo:{b.TOKENIZER}") == b"a tokenizer"
        with pytest.raises(ConversionError, match="2 members fit"):
            checkpoint.artifact("nemo:tokenizer.model")
        with pytest.raises(ConversionError, match="no such member"):
            checkpoint.artifact("nemo:vocab.txt")
        with pytest.raises(ConversionError, match="names no file"):
            checkpoint.artifact("")


def test_a_configuration_may_sit_under_model(tmp_path: Path) -> None:
    inner = b"".join(b"  " + line for line in b.CONFIG.splitlines(keepends=True))
    with open_nemo(b.nemo(tmp_path / "x.nemo", config=b"name: x\nmodel:\n" + inner)) as checkpoint:
        assert checkpoint.config["prompt_format"] == "canary2"


def test_a_missing_checkpoint_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="no file or folder"):
        open_nemo(tmp_path / "nothing.nemo")


def test_tensors_outlive_the_checkpoint(tmp_path: Path) -> None:
    with open_nemo(b.nemo(tmp_path / "x.nemo")) as checkpoint:
        tensor = checkpoint.tensors["weight"]
        checkpoint.release_pages()
    assert tensor.read().tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("1.0e-05", 1e-5),
        ("-1.5", -1.5),
        (".inf", float("inf")),
        ("16000", 16000),
        ("0xffffffffffffffff", 2**64 - 1),
        ("2024-01-02", "2024-01-02"),
        ("1.2.3", "1.2.3"),
        ("e5", "e5"),
        ("null", None),
        ("<|en|>", "<|en|>"),
        ("'no'", "no"),
        ("[&a x, *a]", ["x", "x"]),
    ],
)
def test_yaml_is_read_as_omegaconf_reads_it(text: str, value: object) -> None:
    """PyYAML alone takes 1e-5 for a text, and dates for dates."""
    assert load_yaml(f"key: {text}".encode(), "x.yaml") == {"key": value}


def test_yaml_keys_are_texts_as_they_are_written() -> None:
    """Norwegian is no `False`. Keys of other types once ended in tracebacks where they were listed."""
    text = b"a: &a {no: 1, 5: 2}\nb: {<<: *a, null: 3, 1.5: 4, 2024-01-02: 5}\n"
    first = {"no": 1, "5": 2}
    assert load_yaml(text, "x.yaml") == {"a": first, "b": {**first, "null": 3, "1.5": 4, "2024-01-02": 5}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${rate}", 16000),
        ("${defaults.width}", 1024),
        ("${defaults}", {"width": 1024, "half": 512}),
        ("${layers.1}", "b"),
        ("${model.deep}", 7),
        ("${deep}", 7),
        ("${multiply:2,3}", 6),
        ("${multiply:${defaults.width}, 0.5}", 512.0),
        ("w${rate}h", "w16000h"),
        ("${chain}", 16000),
        ("${missing.key}", "${missing.key}"),
        ("${oc.env:HOME}", "${oc.env:HOME}"),
        ("${cycle}", "${cycle}"),
        ("${layers.x}", "${layers.x}"),
        ("w${defaults}", "w${defaults}"),
        ("${multiply:a,2}", "${multiply:a,2}"),
        ("${multiply:9e300,9e300}", "${multiply:9e300,9e300}"),
        ("${", "${"),
        ("${}", "${}"),
    ],
)
def test_simple_interpolations_are_resolved_and_others_stay(text: str, value: object) -> None:
    """An environment variable above all: a checkpoint has no business reading them."""
    config: dict[str, Any] = {
        "rate": 16000,
        "chain": "${rate}",
        "cycle": "${cycle}",
        "defaults": {"width": 1024, "half": "${multiply:${rate},0.032}"},
        "layers": ["a", "b"],
        "model": {"deep": 7},
        "key": text,
    }
    assert interpolate(config, "x.yaml")["key"] == value
