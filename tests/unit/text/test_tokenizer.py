"""Tokenizers: ids and pieces at their edges, both kinds, from every place they are read from."""

import json

import pytest
from conftest import DATA, MODELS, loaded

from mlx_canary import CanaryTokenizer, CheckpointError, ConversionConfig, PromptError, convert
from mlx_canary.text.tokenizer import SPECIAL

FLASH, UNIFIED = "canary2-flash", "canary2-unified"
TEXT = "The quick brown fox, twenty-two times."


@pytest.mark.parametrize("name", MODELS)
def test_ids_outside_the_vocabulary_are_refused(name):
    """NeMo's aggregate tokenizers wrap round."""
    tokenizer = loaded(name).tokenizer
    for outside in (-1, tokenizer.size, tokenizer.size + 5, 10**9):
        with pytest.raises(IndexError, match=f"{outside} is outside the vocabulary of {tokenizer.size} pieces"):
            tokenizer.piece(outside)
        with pytest.raises(IndexError):
            tokenizer.decode([5, outside])


@pytest.mark.parametrize("name", MODELS)
def test_text_comes_back(name):
    tokenizer = loaded(name).tokenizer
    text = "he was there"  # what the smallest vocabulary can say
    assert tokenizer.decode(tokenizer.encode(text, "en")).strip() == text


@pytest.mark.parametrize("language", [None, "xx", "", "EN", "tokenizer"])
def test_an_aggregate_tokenizer_needs_one_of_its_languages(language):
    with pytest.raises(PromptError, match=r"needs one of this tokenizer's languages, .*: en, de, es, fr\."):
        loaded(FLASH).tokenizer.encode(TEXT, language)


def test_a_single_tokenizer_needs_none():
    tokenizer = loaded(UNIFIED).tokenizer
    assert tokenizer.encode(TEXT) == tokenizer.encode(TEXT, "en") == tokenizer.encode(TEXT, "xx")


def test_each_language_has_its_own_ids():
    tokenizer = loaded(FLASH).tokenizer
    sizes, ids = tokenizer.sub_tokenizers, {}
    offset = 0
    for name, size in sizes.items():
        if name != SPECIAL:
            ids[name] = tokenizer.encode("der die das the", name)
            assert all(offset <= i < offset + size for i in ids[name])
        offset += size
    assert offset == tokenizer.size


def test_special_tokens_are_looked_up_among_the_special_ones_only():
    """Ordinary pieces occur in several sub-tokenizers, and NeMo's flat table lets the last one win."""
    tokenizer = loaded(FLASH).tokenizer
    assert tokenizer.special_id("<|en|>") == 62
    for missing in ("▁t", "he", "<|xx|>", "<|nothing|>", "", "<unk"):
        with pytest.raises(PromptError, match="has no token"):
            tokenizer.special_id(missing)


def test_special_tokens_in_a_text_are_text_for_an_aggregate_tokenizer():
    tokenizer = loaded(FLASH).tokenizer
    special = {tokenizer.special_id(token) for token in tokenizer.special_tokens}
    assert not special & set(tokenizer.encode("<|de|><|endoftext|>", "en"))


@pytest.mark.parametrize("name", [FLASH, UNIFIED])
def test_decoding_leaves_special_tokens_out_only_when_told(name):
    tokenizer = loaded(name).tokenizer
    words = tokenizer.encode("he was there", "en")
    mixed = [tokenizer.bos_id, *words[:2], tokenizer.special_id("<|5|>"), *words[2:], tokenizer.eos_id]
    assert tokenizer.decode(mixed, skip_special=True) == tokenizer.decode(words)
    assert "<|endoftext|>" in tokenizer.decode(mixed)


@pytest.mark.parametrize("name", [FLASH, UNIFIED])
def test_unknown_tokens_are_special_in_every_language(name):
    tokenizer = loaded(name).tokenizer
    words = tokenizer.encode("he was there", "en")
    unknown = [i for i in range(tokenizer.size) if tokenizer.piece(i) == "<unk>"]
    assert len(unknown) == max(1, len(tokenizer.sub_tokenizers) * tokenizer.aggregate)
    for i in unknown:
        assert tokenizer.decode([words[0], i, *words[1:]], skip_special=True) == tokenizer.decode(words)


@pytest.mark.parametrize("name", [FLASH, UNIFIED])
def test_nothing_decodes_to_nothing(name):
    tokenizer = loaded(name).tokenizer
    assert tokenizer.decode([]) == tokenizer.decode([], skip_special=True) == ""
    assert tokenizer.decode([tokenizer.eos_id], skip_special=True) == ""


def test_an_aggregate_text_keeps_its_first_space():
    """As NeMo's; a single model drops it."""
    for name, expected in ((FLASH, " he was there"), (UNIFIED, "he was there")):
        tokenizer = loaded(name).tokenizer
        assert tokenizer.decode(tokenizer.encode("he was there", "en")) == expected


def test_decoding_takes_any_iterable_once():
    tokenizer = loaded(FLASH).tokenizer
    ids = tokenizer.encode("he was there", "en")
    assert tokenizer.decode(iter(ids)) == tokenizer.decode(tuple(ids)) == tokenizer.decode(ids)


@pytest.mark.parametrize("name", MODELS)
def test_a_converted_folder_gives_the_same_tokenizer(name, tmp_path):
    convert(ConversionConfig(nemo_file=DATA / f"models/{name}.nemo", output_dir=tmp_path / "model"))
    ours, theirs = CanaryTokenizer(tmp_path / "model"), loaded(name).tokenizer
    assert ours.model_protos() == theirs.model_protos()
    assert list(ours.sub_tokenizers.items()) == list(theirs.sub_tokenizers.items())
    assert ours.aggregate == theirs.aggregate
    assert ours.encode("he was there", "en") == theirs.encode("he was there", "en")


def test_a_model_file_alone_is_a_tokenizer(tmp_path):
    """canary-1b-v2's is one; the conversion guide calls CanaryTokenizer(model_path)."""
    ((_, proto),) = loaded(UNIFIED).tokenizer.model_protos()
    (tmp_path / "tokenizer.model").write_bytes(proto)
    for path in (tmp_path / "tokenizer.model", str(tmp_path / "tokenizer.model")):
        tokenizer = CanaryTokenizer(path)
        assert not tokenizer.aggregate
        assert tokenizer.encode(TEXT) == loaded(UNIFIED).tokenizer.encode(TEXT)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "not a SentencePiece model \\(0 bytes\\)"), (b"no protobuf at all", "not a SentencePiece model")],
)
def test_a_file_that_is_no_model_is_refused(content, message, tmp_path):
    (tmp_path / "x.model").write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        CanaryTokenizer(tmp_path / "x.model")


def test_a_model_with_pieces_that_are_no_text_is_refused(tmp_path):
    """SentencePiece loads it, and each look at such a piece ended in a UnicodeDecodeError."""
    ((_, proto),) = loaded(UNIFIED).tokenizer.model_protos()
    (tmp_path / "x.model").write_bytes(proto.replace("▁".encode(), b"\xff\xff\xff", 1))
    with pytest.raises(CheckpointError, match="not a SentencePiece model"):
        CanaryTokenizer(tmp_path / "x.model")


@pytest.mark.parametrize(
    "config",
    [
        "",
        "[]",
        "{}",
        '{"tokenizer": 5}',
        '{"tokenizer": {"type": "agg"}}',
        '{"tokenizer": {"type": "agg", "sub_tokenizers": 3}}',
    ],
)
def test_a_folder_that_is_no_checkpoint_is_refused(config, tmp_path):
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(CheckpointError, match=r"neither a SentencePiece \.model file nor the folder"):
        CanaryTokenizer(tmp_path)


def test_a_missing_path_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="neither a SentencePiece"):
        CanaryTokenizer(tmp_path / "nothing")


def test_names_of_sub_tokenizers_cannot_lead_out_of_the_folder(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "secret.model").write_bytes(b"secret")
    section = {"type": "agg", "sub_tokenizers": [{"name": "../../secret", "size": 1}]}
    (tmp_path / "model/config.json").write_text(json.dumps({"tokenizer": section}))
    with pytest.raises(CheckpointError, match="secret"):
        CanaryTokenizer(tmp_path / "model")


def test_an_aggregate_needs_special_tokens():
    models = [(name, proto) for name, proto in loaded(FLASH).tokenizer.model_protos() if name != SPECIAL]
    with pytest.raises(CheckpointError, match="no sub-tokenizer 'spl_tokens'; it has: en, de, es, fr"):
        CanaryTokenizer.from_models(models, aggregate=True)


def test_regions_are_found_by_their_language():
    """NeMo renames two-letter languages for checkpoints whose sub-tokenizers carry a region."""
    models = [(f"{n}-US" if n == "en" else n, proto) for n, proto in loaded(FLASH).tokenizer.model_protos()]
    tokenizer = CanaryTokenizer.from_models(models, aggregate=True)
    assert (
        tokenizer.encode("the", "en") == tokenizer.encode("the", "en-US") == loaded(FLASH).tokenizer.encode("the", "en")
    )


def test_pieces_go_with_ids():
    for name in (FLASH, UNIFIED):
        tokenizer = loaded(name).tokenizer
        ids, pieces = tokenizer.encode("he was there", "en"), tokenizer.encode_pieces("he was there", "en")
        assert [tokenizer.piece(i) for i in ids] == pieces
