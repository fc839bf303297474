"""Conversions as a whole: every kind of checkpoint in every form, what is accounted for, what is refused."""

import fcntl
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import variants as v
from conftest import DATA, MODELS, clip, loaded

from mlx_canary import (
    Boosting,
    CanaryModel,
    ConversionConfig,
    ConversionError,
    DecodingOptions,
    Phrase,
    Prompt,
    PromptError,
    TranscriptionOptions,
    convert,
    verify,
)
from mlx_canary.alignment.word_times import WordTimes
from mlx_canary.backend import mx
from mlx_canary.conversion import converter, output_folder
from mlx_canary.conversion.nemo import open_nemo
from mlx_canary.conversion.source import read_source
from mlx_canary.load_models import load_model
from mlx_canary.registry import PublishedModel
from mlx_canary.text.prompt import encode_prompt
from mlx_canary.types import Audio

FORMS = {
    "float32": {},
    "float16": {"dtype": "float16"},
    "bfloat16": {"dtype": "bfloat16"},
    "8 bits": {"bits": 8, "group_size": 32},
    "4 bits": {"bits": 4, "group_size": 32},
    "preserved keys": {"preserve_original_keys": True},
    "preserved keys, bfloat16": {"preserve_original_keys": True, "dtype": "bfloat16"},
}
MATRIX, NORM = "encoder.layers.1.feed_forward1.linear1.weight", "encoder.layers.0.norm_out.weight"


def converted(nemo: Path, folder: Path, **options):
    return convert(ConversionConfig(nemo_file=nemo, output_dir=folder, **options))


@pytest.mark.parametrize(
    ("model", "form"),
    [(m, f) for m in MODELS for f in FORMS if m.startswith("canary") or f in ("float32", "8 bits", "preserved keys")],
)
def test_every_checkpoint_in_every_form(model, form, tmp_path):
    """It is whole, it is what the source says, and it writes down the same. (For that, 4 bits are too few here.)"""
    nemo, folder = v.MODELS / f"{model}.nemo", tmp_path / "model"
    report = converted(nemo, folder, **FORMS[form])
    assert [check for check in verify(folder, nemo) if not check.passed] == []
    assert report.n_bytes == sum(map(n_bytes, folder.glob("*.safetensors")))
    if form != "4 bits":
        speech = Audio(clip("speech"), 16000)
        expected = CanaryModel(loaded(model)).transcribe(speech, language="en")
        assert CanaryModel.from_pretrained(folder).transcribe(speech, language="en").text == expected.text != ""


def sizes_of(model: str) -> tuple[int, int, int, int]:
    """What is compared to recognise a published model, of a small one."""
    config = loaded(model).config
    return config.encoder.n_layers, config.encoder.d_model, config.decoder.n_layers, config.tokenizer.size


def n_bytes(path: Path) -> int:
    return sum(array.nbytes for array in mx.load(str(path)).values())


@pytest.mark.parametrize("model", MODELS)
def test_the_folder_holds_what_is_promised_and_nothing_else(model, tmp_path):
    converted(v.MODELS / f"{model}.nemo", tmp_path / "model")
    found = {str(p.relative_to(tmp_path / "model")) for p in (tmp_path / "model").rglob("*") if p.is_file()}
    promised = {"model.safetensors", "config.json", "vocab.txt", "README.md"}
    if model == "canary2-unified":
        promised |= {"aligner.safetensors", "tokenizer.model"}
    else:
        promised |= {f"tokenizers/{name}.model" for name in ("spl_tokens", "en", "de", "es", "fr")}
    assert found == promised
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_vocab_lists_one_piece_a_line_by_id(tmp_path):
    converted(v.MODELS / "canary2-flash.nemo", tmp_path / "model")
    pieces = (tmp_path / "model/vocab.txt").read_text(encoding="utf-8").split("\n")
    tokenizer = loaded("canary2-flash").tokenizer
    assert pieces == [*(tokenizer.piece(i) for i in range(tokenizer.size)), ""]


def test_an_unpacked_folder_and_a_gzip_convert_too(tmp_path):
    folder = v.unpack("canary1-agg-gz", tmp_path / "canary1-agg-gz")
    converted(v.MODELS / "canary1-agg-gz.nemo", tmp_path / "a")
    converted(folder, tmp_path / "b")
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()


def test_the_same_checkpoint_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        converted(v.MODELS / "canary2-unified.nemo", tmp_path / name, bits=8, group_size=32)
    for file in (p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file()):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_four_bits_are_within_a_step(tmp_path):
    """For each quantized matrix: its values are at most one step of its scale away from the source's."""
    nemo = v.MODELS / "var-nobias.nemo"
    report = converted(nemo, tmp_path / "four", bits=4, group_size=32)
    converted(nemo, tmp_path / "full")
    four, full = (mx.load(str(tmp_path / name / "model.safetensors")) for name in ("four", "full"))
    assert len(report.quantized) > 40
    for name in report.quantized:
        parts = [four[f"{name}.{part}"] for part in ("weight", "scales", "biases")]
        difference = mx.abs(mx.dequantize(*parts, group_size=32, bits=4) - full[f"{name}.weight"])
        step = mx.repeat(mx.abs(parts[1]), 32, axis=1)
        assert (difference <= 1.001 * step + 1e-6).all().item(), name


def test_matrices_whose_rows_do_not_divide_stay_as_they_are_and_are_listed(tmp_path):
    """canary2-flash's decoder is 40 wide, which is no multiple of 32."""
    report = converted(v.MODELS / "canary2-flash.nemo", tmp_path / "model", bits=8, group_size=32)
    assert "decoder.embedding.token" in report.not_quantized
    assert "encoder.blocks.0.attention.wq" in report.quantized
    assert not set(report.quantized) & set(report.not_quantized)


def test_progress_rises_to_the_end(tmp_path):
    told = []
    config = ConversionConfig(nemo_file=v.MODELS / "canary2-unified.nemo", output_dir=tmp_path / "model")
    report = convert(config, lambda done, total: told.append((done, total)))
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert {total for _, total in told} == {report.n_bytes}
    assert told[-1][0] == report.n_bytes


# Accounting.


@pytest.mark.parametrize("model", MODELS)
def test_every_source_tensor_is_used_once_or_ignored_by_name(model, tmp_path):
    report = converted(v.MODELS / f"{model}.nemo", tmp_path / "model")
    for name, reason in report.ignored.items():
        assert reason
        assert name.endswith(".num_batches_tracked") or name == v.EMBEDDING
    config = report.config
    counted = config.encoder.n_layers if config.encoder.conv_norm_type == "batch_norm" else 0
    aligner = config.aligner.encoder.n_layers if config.aligner else 0
    assert len(report.ignored) == len(set(report.ignored)) == max(counted, aligner) + 1


def test_unchanged_means_unchanged(tmp_path):
    """The variants of the following tests differ by what they say, and by nothing else."""
    converted(v.variant(tmp_path / "canary2-flash.nemo", tensors=lambda tensors: None), tmp_path / "a")
    converted(v.MODELS / "canary2-flash.nemo", tmp_path / "b")
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()


def replaced(name, change):
    """A variant with one tensor changed as a whole."""
    return lambda tensors: tensors.__setitem__(name, np.ascontiguousarray(change(tensors[name])))


CONV, POINTWISE = "encoder.pre_encode.conv.0.weight", "encoder.layers.0.conv.pointwise_conv1.weight"
BATCH_NORM, FILTERBANK = "encoder.layers.0.conv.batch_norm.weight", "preprocessor.featurizer.fb"
POSITIONS = "transf_decoder._embedding.position_embedding.pos_enc"
WRONG = {
    "removed": (lambda t: t.pop(NORM), rf"lacks 1 tensor \({NORM}\)"),
    "added": (lambda t: t.update({"encoder.adapter_layer.x": np.zeros(3, "<f4")}), r"has 1 tensor .*adapter_layer\.x"),
    "no head": (lambda t: t.pop(v.HEAD), v.HEAD),
    "none": (lambda t: t.clear(), v.HEAD),
    "row lost": (replaced(MATRIX, lambda x: x[:-1]), rf"{MATRIX} gives .* shape \(127, 32\)"),
    "transposed": (replaced(MATRIX, lambda x: x.T), rf"{MATRIX} gives .* shape \(32, 128\)"),
    "flat": (replaced(MATRIX, lambda x: x.reshape(-1)), rf"{MATRIX} gives .* shape \(4096,\)"),
    "flat convolution": (replaced(CONV, lambda x: x.reshape(-1)), rf"{CONV} \(144,\)"),
    "wider pointwise": (replaced(POINTWISE, lambda x: np.repeat(x, 3, axis=2)), rf"{POINTWISE} \(64, 32, 3\)"),
    "batch norm": (replaced(BATCH_NORM, lambda x: x[:-1]), rf"{BATCH_NORM} \(31,\)"),
    "batch norm of one": (replaced(BATCH_NORM, lambda x: x[:1]), rf"{BATCH_NORM} \(1,\)"),
    "two filterbanks": (replaced(FILTERBANK, lambda x: np.repeat(x, 2, axis=0)), rf"{FILTERBANK} \(2, 128, 257\)"),
    "short positions": (replaced(POSITIONS, lambda x: x[:100]), rf"{POSITIONS} gives .* shape \(100, 40\)"),
    "embedding unlike head": (replaced(v.EMBEDDING, lambda x: x[:5]), "they are one matrix"),
    "small head": (replaced(v.HEAD, lambda x: x[:1000]), r"output_size=1000 is less than tokenizer\.size=1552"),
}  # fmt: skip


@pytest.mark.parametrize("keys", [False, True], ids=["ours", "preserved"])
@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_tensor_is_named(wrong, keys, tmp_path):
    """Once a wrong rank ended in a traceback, a batch norm of one value was stretched to fit, and preserved keys were
    written in any shape."""
    change, message = WRONG[wrong]
    nemo = v.variant(tmp_path / "x.nemo", tensors=change)
    with pytest.raises(ConversionError, match=message):
        converted(nemo, tmp_path / "model", preserve_original_keys=keys)
    assert [p.name for p in tmp_path.iterdir()] == ["x.nemo"]


def test_the_auxiliary_model_is_accounted_for_too(tmp_path):
    nemo = v.variant(
        tmp_path / "x.nemo", "canary2-unified", aligner_tensors=lambda t: t.pop("decoder.decoder_layers.0.bias")
    )
    with pytest.raises(ConversionError, match=r"decoder\.decoder_layers\.0\.bias"):
        converted(nemo, tmp_path / "model")


# Values.


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("form", ["float32", "float16", "8 bits", "preserved keys"])
def test_values_that_are_no_numbers_are_refused(value, form, tmp_path):
    nemo = v.variant(tmp_path / "x.nemo", tensors=lambda t: v.set_at(t, MATRIX, (3, 4), value))
    with pytest.raises(ConversionError, match=r"not finite as float.*damaged"):
        converted(nemo, tmp_path / "model", **FORMS[form])


def test_a_negative_variance_is_refused(tmp_path):
    """Its square root is no number; a warning of NumPy's is not the way to say so."""
    name = "encoder.layers.0.conv.batch_norm.running_var"
    nemo = v.variant(tmp_path / "x.nemo", tensors=lambda t: v.set_at(t, name, (0,), -1.0))
    with pytest.raises(ConversionError, match=r"depthwise\.weight has values that are not finite"):
        converted(nemo, tmp_path / "model")


@pytest.mark.parametrize(
    ("dtype", "value", "fits"),
    [
        ("float16", 65504.0, True),
        ("float16", -65504.0, True),
        ("float16", 65520.0, False),
        ("float16", -1e6, False),
        ("bfloat16", 1e6, True),
        ("bfloat16", 3.4e38, False),
        ("float32", 3.4e38, True),
    ],
)
@pytest.mark.parametrize("keys", [False, True], ids=["ours", "preserved"])
def test_what_a_type_cannot_hold_is_refused(dtype, value, fits, keys, tmp_path):
    nemo = v.variant(tmp_path / "x.nemo", tensors=lambda t: v.set_at(t, MATRIX, (3, 4), value))
    if fits:
        converted(nemo, tmp_path / "model", dtype=dtype, preserve_original_keys=keys)
        return
    with pytest.raises(ConversionError, match=f"not finite as {dtype}.*another --dtype"):
        converted(nemo, tmp_path / "model", dtype=dtype, preserve_original_keys=keys)


def test_doubles_are_taken_as_singles_or_refused(tmp_path):
    nemo = v.variant(tmp_path / "canary2-flash.nemo", tensors=replaced(MATRIX, lambda x: x.astype("<f8")))
    converted(nemo, tmp_path / "a")
    converted(v.MODELS / "canary2-flash.nemo", tmp_path / "b")
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()
    nemo = v.variant(tmp_path / "y.nemo", tensors=replaced(MATRIX, lambda x: x.astype("<f8") * 1e300))
    with pytest.raises(ConversionError, match="not finite as float32"):
        converted(nemo, tmp_path / "c")


def test_where_head_and_embedding_differ_the_head_wins_and_it_is_said(tmp_path):
    """NeMo copies both into one parameter, the head last."""
    nemo = v.variant(tmp_path / "x.nemo", tensors=replaced(v.EMBEDDING, lambda x: x + 1))
    report = converted(nemo, tmp_path / "model")
    assert [note for note in report.notes if "the head's values are used" in note]
    assert converted(v.MODELS / "canary2-flash.nemo", tmp_path / "plain").notes == ()
    ours, theirs = (mx.load(str(tmp_path / name / "model.safetensors")) for name in ("model", "plain"))
    assert mx.array_equal(ours["decoder.embedding.token.weight"], theirs["decoder.embedding.token.weight"]).item()


def test_a_checkpoint_without_the_embedding_s_second_name_converts(tmp_path):
    nemo = v.variant(tmp_path / "canary2-flash.nemo", tensors=lambda t: t.pop(v.EMBEDDING))
    converted(nemo, tmp_path / "model")
    assert all(check.passed for check in verify(tmp_path / "model", v.MODELS / "canary2-flash.nemo"))


def test_damaged_bytes_are_noticed_by_their_checksum(tmp_path):
    """One bit of a weight still gives a finite number."""
    content = bytearray((v.MODELS / "canary2-flash.nemo").read_bytes())
    place = content.index(loaded_bytes("encoder.layers.1.norm_out.weight"))
    content[place] ^= 1
    (tmp_path / "canary2-flash.nemo").write_bytes(content)
    with pytest.raises(ConversionError, match=r"'encoder\.layers\.1\.norm_out\.weight' do not match their checksum"):
        converted(tmp_path / "canary2-flash.nemo", tmp_path / "model")
    assert not (tmp_path / "model").exists()
    with pytest.raises(ConversionError, match="do not match their checksum"):  # once loaded without a word
        CanaryModel.from_pretrained(tmp_path / "canary2-flash.nemo")
    converted(tmp_path / "canary2-flash.nemo", tmp_path / "model", check_bytes=False)
    (equality,) = [c for c in verify(tmp_path / "model", v.MODELS / "canary2-flash.nemo") if not c.passed]
    assert "norm_out.weight differs" in equality.detail


def loaded_bytes(name: str) -> bytes:
    found = {}
    v.changed_weights(v.nemo_members("canary2-flash")["model_weights.ckpt"], found.update)
    return found[name].tobytes()


def test_names_of_published_models_need_their_sizes(tmp_path):
    """Otherwise a fine-tune would be said to be NVIDIA's, with NVIDIA's licence and languages."""
    nemo = v.variant(tmp_path / "canary-180m-flash.nemo")
    report = converted(nemo, tmp_path / "model")
    assert "has other sizes" in report.notes[0]
    assert report.config.source.license is None


def test_a_tokenizer_class_of_its_own_is_noted(tmp_path):
    nemo = v.variant(
        tmp_path / "x.nemo", config=lambda c: v.put(c, "tokenizer.custom_tokenizer._target_", "their.own.Tokenizer")
    )
    assert converted(nemo, tmp_path / "model").notes == (
        "Its tokenizer class Tokenizer is read as NeMo's own Canary tokenizer.",
    )


def with_auxiliary_tokenizer(path: Path, proto: bytes) -> Path:
    return v.variant(
        path,
        "canary2-unified",
        members=lambda members: members.update({"x_tokenizer.model": proto}),
        aligner_config=lambda c: v.put(c, "tokenizer.model_path", "nemo:x_tokenizer.model"),
    )


def test_an_auxiliary_model_with_another_vocabulary_is_left_out(tmp_path):
    """A fine-tune may have changed the main one. The whole model was refused; here the other has no special tokens."""
    other = v.nemo_members("canary2-flash")["96bba64c97504c7193ef4872d7f7ad11_tokenizer.model"]
    nemo = with_auxiliary_tokenizer(tmp_path / "x.nemo", other)
    report = converted(nemo, tmp_path / "model")
    assert report.config.aligner is None
    assert [note for note in report.notes if "where the decoder looks instead of forced alignment" in note]
    assert not (tmp_path / "model/aligner.safetensors").exists()
    assert all(check.passed for check in verify(tmp_path / "model", nemo))
    assert CanaryModel.from_pretrained(nemo).config == report.config


def test_somebody_elses_lock_on_the_folder_is_not_waited_for_long(tmp_path, monkeypatch):
    """Such as `flock models mlx-canary convert ...`."""
    monkeypatch.setattr(output_folder, "_PATIENCE", 0.1)
    opened = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        converted(v.variant(tmp_path / "x.nemo"), tmp_path / "model")
    finally:
        os.close(opened)
    assert (tmp_path / "model/config.json").exists()


def test_a_model_whose_auxiliary_one_is_left_out_is_not_asked_for_times(tmp_path):
    """Published reports of canary-1b-v2: it ends the text at once."""
    nemo = v.variant(tmp_path / "x.nemo", "canary2-unified", config=lambda c: c.update(restore_timestamps_model=False))
    converted(nemo, tmp_path / "model")
    for source in (nemo, tmp_path / "model"):
        model = load_model(source)
        assert (model.aligner, model.config.writes_times) == (None, False)
        assert WordTimes(model).method(Prompt("en", "en"), None) == "attention"
        assert WordTimes(model).reach(None) is None


def test_an_auxiliary_model_with_the_same_vocabulary_in_another_file_is_kept(tmp_path):
    proto = loaded("canary2-unified").tokenizer.model_protos()[0][1]
    unknown_field = b"\xc2\x3e\x01x"
    report = converted(with_auxiliary_tokenizer(tmp_path / "x.nemo", proto + unknown_field), tmp_path / "model")
    assert report.config.aligner is not None
    assert not any("auxiliary" in note for note in report.notes)


def test_a_tokenizer_type_in_capitals_will_do(tmp_path):
    """NeMo compares it in small letters."""
    for name in ("canary2-flash", "canary2-unified"):
        nemo = v.variant(
            tmp_path / f"{name}.nemo",
            name,
            config=lambda c: c["tokenizer"].update(type=c["tokenizer"]["type"].upper()),
            aligner_config=(lambda c: c["tokenizer"].update(type="BPE")) if name == "canary2-unified" else None,
        )
        assert converted(nemo, tmp_path / name).config.tokenizer == loaded(name).config.tokenizer


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["tokenizer"].update(type="wpe"), "tokenizer.type='wpe' is not supported"),
        (lambda c: c["tokenizer"].update(langs={}), "tokenizer.langs is missing or empty"),
        (lambda c: c["tokenizer"]["langs"]["en"].pop("model_path"), "tokenizer.langs.en.model_path is missing"),
        (
            lambda c: c["tokenizer"].update(langs={f"l{i}": c["tokenizer"]["langs"]["en"] for i in range(300)}),
            "tokenizer.langs has 300 parts; more than 256",
        ),
        (lambda c: c["tokenizer"]["langs"].pop("spl_tokens"), "no sub-tokenizer 'spl_tokens'; it has: en, de"),
        (lambda c: v.put(c, "tokenizer.langs.en.model_path", "nemo:nothing.model"), "'nemo:nothing.model', but it has"),
        (lambda c: c["tokenizer"]["langs"].update({"../../x": c["tokenizer"]["langs"]["en"]}), "sub_tokenizers|name"),
        (lambda c: v.put(c, "tokenizer.langs.en.model_path", "nemo:model_config.yaml"), "not a SentencePiece model"),
    ],
)
def test_a_tokenizer_that_makes_no_sense_is_refused(change, message, tmp_path):
    nemo = v.variant(tmp_path / "x.nemo", config=change)
    with pytest.raises(ConversionError, match=message):
        converted(nemo, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_many_names_for_a_large_tokenizer_are_refused_before_it_is_copied(tmp_path):
    """A megabyte on disk took gigabytes of memory: every name got a copy of its own."""
    nemo = v.variant(
        tmp_path / "x.nemo",
        config=lambda c: c["tokenizer"].update(langs={f"l{i}": {"model_path": "nemo:t.model"} for i in range(200)}),
        members=lambda members: members.update({"t.model": bytes(10 << 20)}),
    )
    with open_nemo(nemo) as checkpoint:
        tracemalloc.start()
        with pytest.raises(ConversionError, match="tokenizers have 2097152000 bytes; more than 33554432"):
            read_source(checkpoint)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 32 << 20


def test_a_prompt_without_english_is_verified_too(tmp_path):
    """The languages of a single tokenizer are not known, and not every one has a tag for English."""

    def without_english(members):
        for name in members:
            if name.endswith("tokenizer.model"):
                members[name] = members[name].replace(b"<|en|>", b"<|EN|>")

    nemo = v.variant(tmp_path / "x.nemo", "canary2-unified", members=without_english)
    assert converted(nemo, tmp_path / "model").config.languages is None
    assert [check for check in verify(tmp_path / "model", nemo) if not check.passed] == []


# One tokenizer for all languages, and a slot of its own in the prompt: fine-tunes of AI4Bharat's kind. The ids and the
# text are those of NeMo 3.0 with their tokenizer class and their slot put in.


@pytest.fixture(scope="module")
def multilingual(tmp_path_factory):
    folder = tmp_path_factory.mktemp("multilingual")
    nemo = v.multilingual(folder / "x.nemo")
    converted(nemo, folder / "model")
    assert all(check.passed for check in verify(folder / "model", nemo))
    return CanaryModel.from_pretrained(folder / "model")


@pytest.mark.parametrize(
    ("prompt", "ids"),
    [
        (Prompt("hi", "hi"), [7, 4, 16, 85, 85, 5, 9, 17, 11, 13]),
        (Prompt("hi", "en", itn=True, romanized=True), [7, 4, 16, 85, 62, 5, 8, 1121, 11, 13]),
        (
            Prompt("kn", "kn", decodercontext="good morning all"),
            [7, 1216, 1234, 1218, 1218, 1227, 1172, 1159, 1219, 1164, 1157, 1166, 4, 16, 100, 100, 5, 9, 17, 11, 13],
        ),
    ],
)
def test_a_slot_of_the_prompt_that_a_fine_tune_has_more(prompt, ids, multilingual):
    """It was left out: the model was asked in a way that it had never seen."""
    assert encode_prompt(prompt, multilingual.config.prompt.format, multilingual.tokenizer) == ids


def test_one_tokenizer_for_all_languages(multilingual):
    """Phrases, context and known texts failed: "needs one of this tokenizer's languages, not 'hi': multilingual"."""
    tokenizer, chirp = multilingual.tokenizer, DATA / "audio/chirp_2s3.wav"
    good = [1216, 1265, 1218, 1218, 1227, 1172, 1159, 1219, 1164]
    assert tokenizer.encode("Good morning", "hi") == tokenizer.encode("Good morning", "multilingual") == good
    for language in ("xx", "pnc ", None):
        with pytest.raises(PromptError, match="needs one of this tokenizer's languages"):
            tokenizer.encode("Good morning", language)
    text = "theellar the the thee. theet thee. theet thee. s brtu w.. thee the w then br then f col H w  col"
    assert multilingual.transcribe(chirp, language="hi").text == text
    assert [word.text for word in multilingual.align(chirp, "Good morning", language="hi").words] == ["Good", "morning"]
    boosted = DecodingOptions(boosting=Boosting((Phrase("Good morning"),)))
    options = TranscriptionOptions("hi", context="Good morning", decoding=boosted)
    assert multilingual.transcribe(chirp, options=options).source_lang == "hi"


def test_the_slot_s_default_is_the_checkpoint_s(tmp_path):
    model = CanaryModel.from_pretrained(v.multilingual(tmp_path / "x.nemo", romanized="<|romanized|>"))
    assert model.prompt(TranscriptionOptions("hi")).romanized
    plain = CanaryModel.from_pretrained(v.multilingual(tmp_path / "plain.nemo", romanized=None))
    assert plain.config.prompt.format == "canary2"
    assert not plain.prompt(TranscriptionOptions("hi")).romanized


@pytest.mark.parametrize(
    ("slots", "message"),
    [
        ({"accent": "<|north|>", "voice": None}, "have the slot 'accent', for which 'canary2' has no place"),
        ({"romanized": "maybe"}, r"prompt_defaults\.romanized='maybe' is not supported"),
    ],
)
def test_prompts_that_nobody_knows_are_refused(slots, message, tmp_path):
    """Such slots were kept in config.json, and nobody read them."""
    nemo = v.variant(tmp_path / "x.nemo", config=lambda c: c["prompt_defaults"][0]["slots"].update(slots))
    with pytest.raises(ConversionError, match=message):
        converted(nemo, tmp_path / "model")


# Languages.


def test_languages_that_nobody_knows_can_be_named(tmp_path, caplog):
    """Any code was accepted without a word, and the model could not choose."""
    nemo, chirp = v.MODELS / "canary2-unified.nemo", DATA / "audio/chirp_2s3.wav"
    note = "It does not say which languages it was trained on"
    assert any(text.startswith(note) for text in converted(nemo, tmp_path / "unknown").notes)
    report = converted(nemo, tmp_path / "named", languages=("en", "de", "en"))
    assert report.notes == ()
    assert report.config.languages.spoken == report.config.languages.translated == ("en", "de")
    assert all(check.passed for check in verify(tmp_path / "named", nemo))
    named = CanaryModel.from_pretrained(tmp_path / "named")
    with pytest.raises(PromptError, match=r"does not know the spoken language 'zu'\. It knows: en, de"):
        named.transcribe(chirp, language="zu")
    assert set(named.detect_language(chirp).by_tag) == {"en", "de"}
    assert caplog.messages == []
    assert CanaryModel.from_pretrained(tmp_path / "unknown").transcribe(chirp, language="zu").source_lang == "zu"
    (warning,) = caplog.messages
    assert "canary2-unified does not say which languages it was trained on" in warning


def test_named_languages_need_tags(tmp_path):
    with pytest.raises(ConversionError, match=r"has no tag '<\|xx\|>', so 'xx' is no language of it"):
        converted(v.MODELS / "canary2-unified.nemo", tmp_path / "model", languages=("en", "xx"))


def test_languages_of_a_published_model_are_not_named(monkeypatch, tmp_path):
    monkeypatch.setattr(PublishedModel, "sizes", sizes_of("canary2-unified"))
    nemo = v.variant(tmp_path / "canary-1b-v2.nemo", "canary2-unified")
    assert len(converted(nemo, tmp_path / "model").config.languages.spoken) == 25
    with pytest.raises(ConversionError, match=r"It is nvidia/canary-1b-v2, whose languages are known \(bg, cs"):
        converted(nemo, tmp_path / "named", languages=("en",))


def test_named_languages_count_more_than_the_tokenizer_s_parts(tmp_path):
    report = converted(v.MODELS / "canary2-flash.nemo", tmp_path / "model", languages=("ru",))
    assert report.config.languages.spoken == ("ru",)
    assert report.config.languages.translation == "none"


# Where it is written.


def test_an_earlier_conversion_stays_unless_told_otherwise(tmp_path):
    nemo = v.MODELS / "canary2-flash.nemo"
    converted(nemo, tmp_path / "model")
    before = (tmp_path / "model/model.safetensors").read_bytes()
    with pytest.raises(ConversionError, match=r"already holds a converted model.*--overwrite"):
        converted(nemo, tmp_path / "model", dtype="float16")
    assert (tmp_path / "model/model.safetensors").read_bytes() == before
    converted(nemo, tmp_path / "model", dtype="float16", overwrite=True)
    assert len((tmp_path / "model/model.safetensors").read_bytes()) < len(before)
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_failed_overwrite_keeps_the_earlier_conversion(tmp_path):
    converted(v.MODELS / "canary2-flash.nemo", tmp_path / "model")
    nemo = v.variant(tmp_path / "x.nemo", tensors=lambda t: v.set_at(t, MATRIX, (0, 0), np.nan))
    with pytest.raises(ConversionError, match="not finite"):
        converted(nemo, tmp_path / "model", overwrite=True)
    assert all(check.passed for check in verify(tmp_path / "model", v.MODELS / "canary2-flash.nemo"))


@pytest.mark.parametrize("overwrite", [False, True])
def test_somebody_s_files_are_never_touched(overwrite, tmp_path):
    """Also not when they lie in an earlier conversion: --overwrite once deleted them with it."""
    nemo, mine = v.MODELS / "canary2-flash.nemo", tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(ConversionError, match=r"other files than a converted model, such as thesis\.txt"):
        converted(nemo, mine, overwrite=overwrite)
    converted(nemo, tmp_path / "model")
    (tmp_path / "model/thesis.txt").write_text("years of work")
    with pytest.raises(ConversionError, match=r"such as thesis\.txt"):
        converted(nemo, tmp_path / "model", overwrite=overwrite)
    assert (mine / "thesis.txt").exists()
    assert (tmp_path / "model/thesis.txt").exists()


@pytest.mark.parametrize("config", ['{"model_type": "llama"}', '{"format_version": "1"}', "[]", "no JSON"])
def test_somebody_else_s_model_is_never_replaced(config, tmp_path):
    """Every name in a conversion is a usual one: --overwrite once deleted a model of another kind."""
    theirs = tmp_path / "llama"
    theirs.mkdir()
    (theirs / "config.json").write_text(config)
    (theirs / "model.safetensors").write_bytes(b"weights")
    with pytest.raises(ConversionError, match=r"other files than a converted model, such as config\.json"):
        converted(v.MODELS / "canary2-flash.nemo", theirs, overwrite=True)
    assert sorted(path.name for path in theirs.iterdir()) == ["config.json", "model.safetensors"]


def test_somebody_s_files_among_the_tokenizers_are_not_touched_either(tmp_path):
    converted(v.MODELS / "canary2-flash.nemo", tmp_path / "model")
    (tmp_path / "model/tokenizers/notes.txt").write_text("years of work")
    with pytest.raises(ConversionError, match=r"such as tokenizers/notes\.txt"):
        converted(v.MODELS / "canary2-flash.nemo", tmp_path / "model", overwrite=True)
    assert (tmp_path / "model/tokenizers/notes.txt").exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_files_that_appear_during_the_conversion_are_not_touched(overwrite, tmp_path):
    """The place was looked at once, minutes before it was taken: what had come meanwhile was deleted."""

    def meanwhile(done, total):
        (tmp_path / "model").mkdir(exist_ok=True)
        (tmp_path / "model/thesis.txt").write_text("years of work")

    config = ConversionConfig(
        nemo_file=v.MODELS / "canary2-flash.nemo", output_dir=tmp_path / "model", overwrite=overwrite
    )
    with pytest.raises(ConversionError, match=r"such as thesis\.txt"):
        convert(config, meanwhile)
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["model", "model/thesis.txt"]


def test_of_two_conversions_into_one_place_the_later_is_told(tmp_path):
    """And neither sweeps away what the other one is at."""
    first, second = v.MODELS / "var-bf16.nemo", v.MODELS / "canary2-flash.nemo"

    def meanwhile(done, total):
        if not (tmp_path / "model").exists():
            converted(first, tmp_path / "model")

    with pytest.raises(ConversionError, match="already holds a converted model"):
        convert(ConversionConfig(nemo_file=second, output_dir=tmp_path / "model"), meanwhile)
    assert all(check.passed for check in verify(tmp_path / "model", first))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("renames", [1, 2])
def test_interrupted_while_one_takes_the_other_s_place(renames, tmp_path, monkeypatch):
    """Between the two renames there was no model at all, and none came back."""
    nemo = v.MODELS / "canary2-flash.nemo"
    converted(nemo, tmp_path / "model")
    rename, done = Path.rename, []

    def interrupted(self, target):
        done.append(rename(self, target))
        if len(done) == renames:
            raise KeyboardInterrupt
        return done[-1]

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        converted(v.MODELS / "var-bf16.nemo", tmp_path / "model", overwrite=True)
    assert all(check.passed for check in verify(tmp_path / "model", [nemo, v.MODELS / "var-bf16.nemo"][renames - 1]))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("there", [False, True])
def test_what_was_put_aside_by_a_killed_conversion(there, tmp_path):
    """It comes back where nothing has taken its place."""
    nemo, aside = v.MODELS / "canary2-flash.nemo", tmp_path / f".model.{'0' * 16}.replaced"
    for folder in (tmp_path / "model", aside)[1 - there :]:
        converted(nemo, folder)
    with pytest.raises(ConversionError, match="already holds a converted model"):
        converted(nemo, tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_an_empty_folder_and_missing_parents_will_do(tmp_path):
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "a/b/c"):
        converted(v.MODELS / "canary2-flash.nemo", folder)
        assert (folder / "config.json").exists()


def test_a_link_stays_a_link(tmp_path):
    """Once a copy of the link was left beside it."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk/model")
    for _ in range(2):
        converted(v.MODELS / "canary2-flash.nemo", tmp_path / "link", overwrite=True)
        assert (tmp_path / "link").is_symlink()
        assert [p.name for p in (tmp_path / "disk").iterdir()] == ["model"]
        assert sorted(p.name for p in tmp_path.iterdir()) == ["disk", "link"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("file", "is not a folder"),
        ("file/model", "there is a file in the way"),
        ("file/a/b", "there is a file in the way"),
        ("n" * 300, "File name too long"),
        ("/dev/null", "is not a folder"),
        ("/proc/model", "Cannot write in /proc"),
        ("/", "/ is a mount point, .* Choose a folder inside it"),
    ],
)
def test_a_place_that_cannot_be_written_is_said_in_a_sentence(path, message, tmp_path):
    if path.startswith("/") and not Path(path).parent.exists():
        pytest.skip("not on this system")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConversionError, match=message):
        converted(v.MODELS / "canary2-flash.nemo", tmp_path / path)
    assert (tmp_path / "file").read_text() == "x"


def test_a_disk_that_is_too_small_is_said_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(converter, "_RESERVE", 1 << 62)
    with pytest.raises(ConversionError, match=r"GB free, and .* GB are needed"):
        converted(v.MODELS / "canary2-flash.nemo", tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 3}, "bits"),
        ({"group_size": 16}, "group_size"),
        ({"group_size": 32}, "group_size is for quantized weights"),
        ({"dtype": "int8"}, "dtype"),
        ({"prompt_format": "qwen"}, "prompt_format"),
        ({"bits": 4, "preserve_original_keys": True}, "would change"),
        ({"unknown": 1}, "unknown"),
        ({"nemo_file": "nothing.nemo"}, "there is no checkpoint at nothing.nemo"),
        ({"nemo_file": "n" * 300}, "path that cannot be used"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message, tmp_path):
    values = {"nemo_file": v.MODELS / "canary2-flash.nemo", "output_dir": tmp_path / "model", **options}
    with pytest.raises(ValueError, match=message):
        ConversionConfig(**values)


def test_every_option_is_explained():
    """In the schema too, which tools show to people."""
    fields = ConversionConfig.model_json_schema()["properties"]
    assert set(fields) == set(ConversionConfig.model_fields)
    assert all(field["description"].endswith(".") for field in fields.values())


def test_the_checkpoint_itself_is_not_overwritten(tmp_path):
    folder = v.unpack("canary2-flash", tmp_path / "unpacked")
    with pytest.raises(ValueError, match="output_dir is the checkpoint itself"):
        ConversionConfig(nemo_file=folder, output_dir=tmp_path / "x/../unpacked", overwrite=True)


def test_a_template_of_another_name_needs_to_be_told(tmp_path):
    nemo = v.variant(tmp_path / "x.nemo", config=lambda c: c.update(prompt_format="my-canary"))
    with pytest.raises(ConversionError, match=r"prompt_format='my-canary' is not supported.*--prompt-format"):
        converted(nemo, tmp_path / "model")
    assert converted(nemo, tmp_path / "model", prompt_format="canary2").config.prompt.format == "canary2"
    assert all(check.passed for check in verify(tmp_path / "model", nemo))


def test_a_known_template_is_not_taken_for_another(tmp_path):
    """Every transcription with it failed."""
    with pytest.raises(ConversionError, match="prompt_format is 'canary2', so 'canary' would ask it in words"):
        converted(v.MODELS / "canary2-flash.nemo", tmp_path / "model", prompt_format="canary")
