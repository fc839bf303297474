"""N-gram language models: the same numbers as NeMo's, and errors that say what is wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import DATA, clip, loaded, texts
from table_network import EOS, START, TableNetwork, encoded, table

from mlx_canary.decoding.beam import Beam
from mlx_canary.decoding.fusion import Fusion
from mlx_canary.decoding.generate import Decoder
from mlx_canary.decoding.ngram import NGramModel, read_arpa
from mlx_canary.decoding.options import DecodingOptions, LanguageModel
from mlx_canary.decoding.rows import Symbols
from mlx_canary.decoding.search import search
from mlx_canary.errors import PromptError

ARPA = DATA / "decoding/tiny.arpa"
RECORDED = json.loads((DATA / "decoding/ngram.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("run", RECORDED["runs"], ids=lambda run: "-".join(map(str, run["ids"])))
def test_scores_equal_nemos(run):
    model = NGramModel(ARPA, RECORDED["vocabulary_size"], RECORDED["eos_id"])
    state, rows = model.start(), []
    for token in run["ids"]:
        rows.append(model.scores(state))
        state = model.advance(state, token)
    np.testing.assert_allclose([*rows, model.scores(state)], run["scores"], atol=2e-5)  # recorded to five places


def test_ids_may_be_written_as_spaces(tmp_path):
    """U+2003 is id 8095 and U+0085 is id 33; a reader that splits at every kind of space loses them."""
    path = tmp_path / "spaces.arpa"
    path.write_text(
        "\\data\\\nngram 1=4\n\n\\1-grams:\n-99\t<s>\t0\n-1\t</s>\n-0.5\t\u2003\t-0.1\n-0.7\t\u0085\n\n\\end\\\n",
        encoding="utf-8",
    )
    assert [ngram.tokens for ngram in read_arpa(path)][2:] == [(0x2003 - 100,), (0x85 - 100,)]


def write(tmp_path, *lines):
    path = tmp_path / "model.arpa"
    path.write_text("\n".join(["\\data\\", "", "\\1-grams:", *lines, "", "\\end\\", ""]), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["-1\thello\t0"], "line 4.*'hello'.*A model over words"),
        (["-1\ta\t0"], "line 4.*'a'.*A model over words"),
        (["-1\td e f\t0"], "line 4.*expected a score"),
        (["-x\td"], "could not convert"),
        (["-1\td", "-1\t</s>"], "has no <s>"),
        (["-1\td", "-99\t<s>"], "no </s>"),
        (["-1\t\u4e00"], "token 19868, the checkpoint only 8"),
        ([f"-1\t{chr(108)}"], "token 8, the checkpoint only 8"),
        ([], "no n-grams"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, lines, message):
    with pytest.raises(PromptError, match=message):
        NGramModel(write(tmp_path, *lines), 8, 3)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(PromptError, match="Cannot read the language model"):
        NGramModel(tmp_path / "none.arpa", 8, 3)


def test_without_unknown_tokens_what_it_does_not_list_is_impossible(tmp_path):
    """As in NeMo."""
    model = NGramModel(write(tmp_path, "-99\t<s>\t0", "-1\t</s>", f"-2\t{chr(102)}"), 5, EOS)
    assert [np.isneginf(score) for score in model.scores(model.start())] == [True, False, False, True, True]


def test_a_model_of_single_tokens_has_no_back_off_weights(tmp_path):
    model = NGramModel(write(tmp_path, "-99\t<s>", "-1\t</s>", f"-2\t{chr(102)}"), 5, EOS)
    state = model.advance(model.start(), 2)
    for scores in (model.scores(model.start()), model.scores(state)):
        np.testing.assert_allclose(scores[[EOS, 2]], np.log(10) * np.array([-1, -2]), rtol=1e-6)


def test_an_n_gram_whose_beginning_was_pruned_is_left_out(tmp_path):
    lines = ["-99\t<s>\t0", "-1\t</s>", f"-2\t{chr(102)}\t0"]
    found = []
    for more in ([], ["", "\\3-grams:", f"-0.1\t{chr(102)} {chr(102)} {chr(102)}"]):
        model = NGramModel(write(tmp_path, *lines, *more), 5, EOS)
        found.append(model.scores(model.advance(model.advance(model.start(), 2), 2)))
    np.testing.assert_array_equal(*found)


def test_decides_a_near_tie(tmp_path):
    network = TableNetwork(table(5, t0=[0, 0, 0.51, 0.49, 0]))
    path = write(tmp_path, "-99\t<s>\t0", "-1\t</s>", f"-2\t{chr(102)}", f"-0.3\t{chr(103)}")

    def best(alpha):
        fusion = Fusion([(NGramModel(path, 5, EOS), alpha)])
        return search(network, encoded(), [[START]], [4], Symbols(EOS, 5), Beam(2), fusions=[fusion])[0].hypotheses()[0]

    assert best(1e-6).tokens == (2,)
    assert best(0.3).tokens == (3,)


def test_alpha_zero_is_no_language_model():
    name = "var-nobias"
    model = loaded(name)
    states = model.network.encode(model.preprocessor([clip("short")]))

    def decoded(options):
        return Decoder(model.network, model.tokenizer, options)(states, [texts(name)["prompt"]], [30], ["en"])

    with_model = decoded(DecodingOptions(beam_size=3, language_model=LanguageModel(ARPA, alpha=0.0)))
    assert with_model == decoded(DecodingOptions(beam_size=3))
    used = decoded(DecodingOptions(beam_size=3, language_model=LanguageModel(ARPA, alpha=0.01)))
    assert used[0][0].score < with_model[0][0].score
