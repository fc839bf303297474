"""Options that exclude each other are refused, with what to do."""

from __future__ import annotations

import pytest

from mlx_canary.decoding.beam import Beam
from mlx_canary.decoding.boosting import Phrase
from mlx_canary.decoding.generate import chooser_for
from mlx_canary.decoding.greedy import Greedy
from mlx_canary.decoding.options import Boosting, DecodingOptions, LanguageModel
from mlx_canary.decoding.sampling import Sampler
from mlx_canary.errors import PromptError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam_size": 0}, "beam_size=0 must be a number from 1"),
        ({"n_best": 0}, "n_best=0 must be a number from 1"),
        ({"n_best": 1.5, "beam_size": 2}, "n_best=1.5 is not a whole number"),
        ({"n_best": 3}, "n_best=3 texts need as many beams: give a beam_size of 3 or more, not 1"),
        ({"n_best": 5, "beam_size": 4}, "a beam_size of 5 or more, not 4"),
        ({"temperature": -1.0}, "temperature=-1.0 must be"),
        ({"temperature": float("nan")}, "temperature=nan"),
        ({"temperature": 1.0, "beam_size": 4}, "beam_size=4 is for beam search, temperature for sampling"),
        ({"temperature": 1.0, "length_penalty": 1.0}, "length_penalty=1.0 is for beam search"),
        ({"temperature": 1.0, "nemo_faults": True}, "nemo_faults=True is for beam search"),
        ({"temperature": 1.0, "seed": -1}, "seed=-1 must be"),
        ({"seed": 3}, "seed=3 is for sampling"),
        ({"length_penalty": 1.0}, "give a beam_size above 1"),
        ({"length_penalty": float("inf"), "beam_size": 2}, "length_penalty=inf must be a number from -10.0 to 10.0"),
        ({"length_penalty": 600.0, "beam_size": 2}, "length_penalty=600.0 must be a number from -10.0 to 10.0"),
        ({"length_penalty": -500.0, "beam_size": 2}, "length_penalty=-500.0 must be"),
        ({"temperature": 1e-40}, "temperature=1e-40 is too low to draw words: give 0.01 or more, or 0"),
    ],
)
def test_refused(options, message):
    with pytest.raises(PromptError, match=message):
        DecodingOptions(**options)


def test_parts_are_checked_too(tmp_path):
    with pytest.raises(PromptError, match="no phrases"):
        Boosting(())
    with pytest.raises(PromptError, match="boosting alpha=-1"):
        Boosting((Phrase("a"),), alpha=-1)
    with pytest.raises(PromptError, match="language model alpha=nan"):
        LanguageModel(tmp_path, alpha=float("nan"))
    with pytest.raises(PromptError, match="empty"):
        Phrase(" ")


@pytest.mark.parametrize(
    ("options", "chooser"),
    [
        ({}, Greedy()),
        ({"nemo_faults": True}, Beam(1, nemo_faults=True)),
        ({"beam_size": 4, "length_penalty": 0.5, "n_best": 2}, Beam(4, 2, 0.5)),
        # Its faults go on until every beam has ended, however many are wanted.
        ({"beam_size": 3, "length_penalty": 0.6, "nemo_faults": True}, Beam(3, 3, 0.6, nemo_faults=True)),
        ({"temperature": 0.7, "seed": 9, "n_best": 5}, Sampler(5, 0.7, 9)),
    ],
)
def test_options_name_the_way_of_decoding(options, chooser):
    assert chooser_for(DecodingOptions(**options)) == chooser


def test_loops_are_guarded_where_phrases_are_boosted():
    boosting = Boosting((Phrase("a"),))
    assert not DecodingOptions().guards_loops
    assert DecodingOptions(boosting=boosting).guards_loops
    assert not DecodingOptions(boosting=boosting, loop_guard=False).guards_loops
    assert DecodingOptions(loop_guard=True).guards_loops


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"beam_size": "3"}, "not a number"),
        ({"beam_size": 2.5}, "not a whole number"),
        ({"temperature": "hot"}, "not a number"),
        ({"boosting": "names.txt"}, "expected Boosting"),
        ({"language_model": "x.arpa"}, "expected LanguageModel"),
        ({"confidence": True}, "expected ConfidenceMethod"),
    ],
)
def test_wrong_types_are_refused_in_words(wrong, message):
    """They once ended deep inside, as TypeError or AttributeError."""
    with pytest.raises(PromptError, match=message):
        DecodingOptions(**wrong)
