"""Scores against cases that were counted by hand."""

from __future__ import annotations

import sys

import pytest

from mlx_canary import EvaluationError, Word
from mlx_canary.evaluate.packages import require_all
from mlx_canary.evaluate.scores import (
    Edits,
    Spread,
    TimeErrors,
    character_edits,
    normalise,
    spread,
    time_errors,
    translation_scores,
    word_edits,
)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "edits"),
    [
        ("the cat sat on the mat", "the cat sat on the mat", Edits(0, 0, 0, 6)),
        ("the cat sat on the mat", "the bat sat down on mat", Edits(1, 1, 1, 6)),
        ("the cat", "", Edits(0, 2, 0, 2)),
        ("the\ncat\u00a0sat", " the  cat sat ", Edits(0, 0, 0, 3)),
        ("", "the cat", Edits(0, 0, 2, 0)),
        ("", "", Edits()),
    ],
)
def test_words(reference: str, hypothesis: str, edits: Edits) -> None:
    assert word_edits(reference, hypothesis) == edits


def test_rate_of_several_texts_is_that_of_their_sums() -> None:
    """Not the mean of rates: a short text must not weigh as much as a long one."""
    long, short = word_edits("a b c d e f g h i", "a b c d e f g h i"), word_edits("a", "b")
    assert (long + short).rate == 1 / 10
    assert word_edits("", "a").rate is None
    assert word_edits("a", "b c d").rate == 3.0


def test_characters_count_spaces() -> None:
    assert character_edits("ab cd", "abcd") == Edits(0, 1, 0, 5)
    assert character_edits("äb", "ab") == Edits(1, 0, 0, 2)


def test_normalising_is_whispers() -> None:
    assert (
        normalise("It's Mr. Smith's colour - I won't pay twenty-five!", "en")
        == "it is mister smith is color i will not pay 25"
    )
    assert normalise("Größe, ÜBER   alles!", "de") == "größe über alles"
    assert normalise("It's", "de") == "it s"


def test_translations() -> None:
    right = ["Guten Abend allerseits und vielen Dank.", "Der Mantel kostet sechzehn Euro."]
    perfect = translation_scores(right, right)
    assert perfect.bleu == pytest.approx(100)
    assert perfect.chrf == pytest.approx(100)
    assert "tok:13a" in perfect.bleu_signature
    assert "nw:0" in perfect.chrf_signature
    wrong = translation_scores(right, ["xxx", "yyy"])
    assert wrong.bleu == 0
    assert wrong.chrf < 1


def test_one_word_of_four_missing_by_hand() -> None:
    """Precisions 1, 1, 1 and no 4-gram but none expected: with 5 of 6 words the brevity penalty is exp(1 - 6/5)."""
    score = translation_scores(["a b c d e f"], ["a b c d e"])
    assert score.bleu == pytest.approx(100 * 2.718281828 ** (1 - 6 / 5), abs=1e-3)


def test_times_of_words_that_both_have() -> None:
    """The reference's second word was misheard and an extra one came; capitals and points do not matter."""
    reference = [Word("Good", 0.0, 0.4), Word("morning", 0.5, 1.0), Word("everyone.", 1.1, 1.6)]
    heard = [Word("good", 0.1, 0.4), Word("warning", 0.5, 1.0), Word("to", 1.0, 1.1), Word("everyone", 1.15, 1.9)]
    errors = time_errors(reference, heard)
    assert errors.starts == pytest.approx((0.1, 0.05))
    assert errors.ends == pytest.approx((0.0, 0.3))
    assert errors.n_reference == 3


def test_words_that_hold_spaces_or_nothing_keep_their_places() -> None:
    reference = [Word("New York", 0.0, 1.0), Word("...", 1.0, 1.1), Word("now", 1.2, 1.5)]
    errors = time_errors(reference, [Word("...", 0.9, 1.1), Word("now", 1.3, 1.5)])
    assert errors.starts == pytest.approx((0.1, 0.1))


def test_no_words_no_times() -> None:
    assert time_errors([Word("a", 0, 1)], []) == TimeErrors(n_reference=1)
    assert time_errors([], [Word("a", 0, 1)]) == TimeErrors()


def test_spread_is_interpolated() -> None:
    assert spread([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]) == Spread(5.0, 9.0)
    assert spread([1.0, 2.0]) == Spread(1.5, pytest.approx(1.9))
    assert spread([]) == Spread(None, None)


def test_missing_package_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(EvaluationError, match=r"the extra 'evaluate' \(.*sacrebleu.*pip install jiwer sacrebleu "):
        require_all()
