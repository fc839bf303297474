"""Phrases to expect: the tree's scores, and what they do to a search."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import DATA, clip, loaded, texts
from table_network import EOS, START, TableNetwork, encoded, table

from mlx_canary.decoding.beam import Beam
from mlx_canary.decoding.boosting import BoostingTree, Phrase, case_variants, encode_phrases, read_phrases
from mlx_canary.decoding.fusion import Fusion
from mlx_canary.decoding.generate import Decoder
from mlx_canary.decoding.greedy import Greedy
from mlx_canary.decoding.options import Boosting, DecodingOptions
from mlx_canary.decoding.rows import Symbols
from mlx_canary.decoding.search import search
from mlx_canary.errors import PromptError

RUNS = json.loads((DATA / "decoding/boosting.json").read_text(encoding="utf-8"))
MODEL = "canary2-flash"


def walk(tree, ids):
    """The scores before each token and after the last."""
    state, rows = tree.start(), []
    for token in ids:
        rows.append(tree.scores(state))
        state = tree.advance(state, token)
    return np.stack([*rows, tree.scores(state)])


def earned(tree, ids):
    """What a text collects on its way."""
    return float(walk(tree, ids)[range(len(ids)), ids].sum())


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run['set']}-{run['depth_scaling']}")
def test_scores_equal_nemos(run):
    tree = BoostingTree(run["phrases"], 16, 3, run["depth_scaling"], nemo_faults=True)
    np.testing.assert_allclose(walk(tree, run["ids"]), run["scores"], atol=2e-5)  # recorded to five places


@pytest.mark.parametrize("run", [r for r in RUNS if r["set"] == "plain"], ids=lambda run: str(run["depth_scaling"]))
def test_without_nested_phrases_the_faults_do_not_show(run):
    tree = BoostingTree(run["phrases"], 16, 3, run["depth_scaling"])
    np.testing.assert_allclose(walk(tree, run["ids"]), run["scores"], atol=2e-5)


def test_a_phrase_that_breaks_off_earns_nothing():
    tree = BoostingTree([([5, 6, 7], 1.0)], 16, EOS)
    assert earned(tree, [5, 6, 9]) == pytest.approx(0, abs=1e-6)
    assert earned(tree, [5, 5, 6, 6, 9]) == pytest.approx(0, abs=1e-6)


def test_a_complete_phrase_keeps_what_it_earned_when_a_longer_one_breaks_off():
    """NeMo takes back both: naming "New York" too made "New" less likely than naming it alone."""
    new, new_york_city = ([5], 1.0), ([5, 6, 7], 1.0)
    alone = earned(BoostingTree([new], 16, EOS), [5, 6, 9])
    assert earned(BoostingTree([new, new_york_city], 16, EOS), [5, 6, 9]) == pytest.approx(alone, abs=1e-6)
    assert earned(BoostingTree([new, new_york_city], 16, EOS, nemo_faults=True), [5, 6, 9]) < alone - 0.5


def test_a_phrase_within_a_longer_one_keeps_what_it_earned_when_that_breaks_off():
    york, new_york_city = ([6], 1.0), ([5, 6, 7], 1.0)
    alone = earned(BoostingTree([york], 16, EOS), [5, 6, 9])
    assert earned(BoostingTree([york, new_york_city], 16, EOS), [5, 6, 9]) == pytest.approx(alone, abs=1e-6)


def test_the_order_of_phrases_does_not_matter():
    phrases = [([5, 6, 7], 1.0), ([5, 6, 8], 3.0), ([6, 8], 2.0)]
    ids = [5, 6, 8, 6, 8, 5, 6, 7, 9]
    np.testing.assert_allclose(
        walk(BoostingTree(phrases, 16, EOS), ids), walk(BoostingTree(phrases[::-1], 16, EOS), ids), atol=1e-6
    )


def test_the_end_is_rewarded_like_the_best_token_and_more_after_a_phrase():
    rows = walk(BoostingTree([([5, 6], 1.0)], 16, EOS), [5, 6])
    for row in rows:
        assert row[EOS] >= row.max() - 1e-6
    assert rows[2][EOS] == pytest.approx(rows[2][[t for t in range(16) if t != EOS]].max() + 1)


# A near tie between 2 and 3 at the start, and a sure text elsewhere.
NEAR_TIE = table(6, t0=[0, 0, 0.51, 0.49, 0, 0], t2=[0, 0.9, 0, 0, 0.1, 0], t3=[0, 0.9, 0, 0, 0.1, 0])
SURE = table(6, t0=[0, 0, 0.999, 0.0001, 0, 0.0009], t2=[0, 0.9, 0, 0, 0.1, 0])


def decode(network, chooser, phrases, limit=6, alpha=1.0, loop_guard=False):
    size = network.tables.shape[-1]
    fusion = Fusion([(BoostingTree(phrases, size, EOS), alpha)]) if phrases else None
    items = search(
        network, encoded(), [[START]], [limit], Symbols(EOS, size), chooser, fusions=[fusion], loop_guard=loop_guard
    )
    return items[0].hypotheses()


@pytest.mark.parametrize("chooser", [Greedy(), Beam(3)])
def test_decides_a_near_tie_and_nothing_else(chooser):
    assert decode(TableNetwork(NEAR_TIE), chooser, [])[0].tokens == (2,)
    assert decode(TableNetwork(NEAR_TIE), chooser, [([3], 1.0)])[0].tokens == (3,)
    assert decode(TableNetwork(SURE), chooser, [([3], 1.0)])[0].tokens == (2,)


def test_token_log_probabilities_stay_the_networks():
    boosted = decode(TableNetwork(NEAR_TIE), Greedy(), [([3], 1.0)])[0]
    assert boosted.token_logprobs == pytest.approx([np.log(0.49)], abs=1e-5)


SILENCE = table(5, t0=[0, 0.7, 0, 0.3, 0], t3=[0, 0.6, 0, 0.1, 0.3], t4=[0, 0.55, 0, 0.45, 0])


@pytest.mark.parametrize("alpha", [1.0, 5.0])
@pytest.mark.parametrize("chooser", [Greedy(), Beam(4)])
def test_silence_stays_silent(chooser, alpha):
    """The phrase 3 4 would go round and round, and every round would be rewarded."""
    best = decode(TableNetwork(SILENCE), chooser, [([3, 4], 1.0)], limit=40, alpha=alpha, loop_guard=True)[0]
    assert best.finished
    assert len(best.tokens) <= 10


def test_a_phrase_is_rewarded_twice_and_then_not_for_a_while():
    tree = BoostingTree([([5, 6], 1.0)], 40, EOS)
    once = earned(tree, [5, 6])
    assert earned(tree, [5, 6] * 2) == pytest.approx(2 * once)
    assert earned(tree, [5, 6] * 9) == pytest.approx(2 * once, abs=1e-5)
    assert earned(tree, [5, 6, 5, 6, *range(10, 36), 5, 6]) == pytest.approx(3 * once, abs=1e-5)
    assert earned(BoostingTree([([5, 6], 1.0)], 40, EOS, nemo_faults=True), [5, 6] * 9) == pytest.approx(9 * once)


def test_beams_that_loop_are_given_up():
    """Without the guard the likeliest text goes round to the limit."""
    turning = table(5, t0=[0, 0.2, 0, 0.8, 0], t3=[0, 0.01, 0, 0.0, 0.99], t4=[0, 0.01, 0, 0.99, 0.0])
    assert len(decode(TableNetwork(turning), Beam(2), [], limit=40)[0].tokens) == 40
    assert len(decode(TableNetwork(turning), Beam(2), [], limit=40, loop_guard=True)[0].tokens) < 12
    assert len(decode(TableNetwork(turning), Greedy(), [], limit=40, loop_guard=True)[0].tokens) == 10


def options(alpha=1.0, weight=1.0, **others):
    phrases = (Phrase("Thank Hugh", weight), Phrase("brown fax", weight))
    return DecodingOptions(boosting=Boosting(phrases, alpha=alpha), loop_guard=False, **others)


@pytest.mark.parametrize("beam_size", [1, 4])
@pytest.mark.parametrize("nothing", [{"alpha": 0.0}, {"weight": 0.0}])
def test_no_weight_is_no_boosting(nothing, beam_size):
    model = loaded(MODEL)
    states = model.network.encode(model.preprocessor([clip("short")]))

    def decoded(chosen):
        return Decoder(model.network, model.tokenizer, chosen)(states, [texts(MODEL)["prompt"]], [30], ["en"])

    assert decoded(options(beam_size=beam_size, **nothing)) == decoded(DecodingOptions(beam_size=beam_size))


def test_languages_of_one_batch_have_their_own_tokens():
    """An aggregate tokenizer writes the same phrase with other ids in each language."""
    tokenizer = loaded(MODEL).tokenizer
    (english, _), *_ = encode_phrases([Phrase("gut")], tokenizer, "en", True)
    (german, _), *_ = encode_phrases([Phrase("gut")], tokenizer, "de", True)
    assert english != german
    assert tokenizer.decode(english) == tokenizer.decode(german)


def test_case_variants():
    assert case_variants("brown fox", pnc=True) == ["brown fox", "Brown fox"]
    assert case_variants("McKinsey", pnc=True) == ["McKinsey"]
    assert case_variants("McKinsey", pnc=False) == ["mckinsey"]


def test_file_of_phrases(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("\ufeffNew York\t2.5\n\n \n  Kubernetes \n", encoding="utf-8")
    assert read_phrases(path) == (Phrase("New York", 2.5), Phrase("Kubernetes"))


@pytest.mark.parametrize("line", ["name\tmuch", "name\t-1", "name\tnan", "name\tinf", "\t2"])
def test_bad_lines_are_shown_with_their_number(tmp_path, line):
    path = tmp_path / "names.txt"
    path.write_text(f"fine\n{line}\n", encoding="utf-8")
    with pytest.raises(PromptError, match="line 2"):
        read_phrases(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(PromptError, match="Cannot read the phrases"):
        read_phrases(tmp_path / "none.txt")


def test_what_a_model_cannot_write_is_not_boosted(caplog):
    """A phrase with an unknown character once made `<unk>` likely: "<unk>ox" for "Fox" where F has no piece."""
    tokenizer = loaded("canary1-agg-gz").tokenizer
    pieces = [
        [tokenizer.piece(token) for token in ids] for ids, _ in encode_phrases([Phrase("fox")], tokenizer, "en", True)
    ]
    assert pieces
    assert all("<unk>" not in each for each in pieces)
    assert encode_phrases([Phrase("東京"), Phrase("the")], tokenizer, "en", False) == [
        (tokenizer.encode("the", "en"), 1.0)
    ]
    assert "'東京', so that it is not boosted" in caplog.text
