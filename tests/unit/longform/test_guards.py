"""Each reason to doubt a text, what is near it and no reason, and when another text is better."""

from __future__ import annotations

import pytest

from mlx_canary.longform.guards import Evidence, describe, doubts, is_better, own_doubts


def evidence(tokens=30, *, finished=True, active=10.0, duration=12.0) -> Evidence:
    """Ordinary speech: three different tokens a second."""
    return Evidence(tokens if isinstance(tokens, list) else list(range(tokens)), finished, active, duration)


def test_ordinary_speech_is_not_doubted():
    assert doubts(evidence()) == ()


def test_nothing_where_nothing_is_heard_is_not_doubted():
    assert doubts(evidence(0, active=0.0)) == ()


def test_unfinished():
    assert doubts(evidence(finished=False)) == ("unfinished",)


@pytest.mark.parametrize("tokens", [[7] * 10, [*range(20), *[1, 2, 3, 4] * 3, *range(30, 40)], list(range(40)) * 3])
def test_loop(tokens):
    """At the end, in the middle, and a long one."""
    assert doubts(evidence(tokens, active=8.0)) == ("loop",)


@pytest.mark.parametrize("tokens", [[7] * 9, list(range(40)) * 2, [*[5, 6, 7] * 3, *range(10)]])
def test_what_people_do_say_again_is_no_loop(tokens):
    assert doubts(evidence(tokens, active=8.0)) == ()


def test_too_short():
    assert doubts(evidence(9)) == ("too_short",)
    assert doubts(evidence(0, active=30.0)) == ("too_short",)
    assert doubts(evidence(10)) == ()


def test_a_cough_needs_no_text():
    assert doubts(evidence(0, active=3.0)) == ()
    assert doubts(evidence(0, active=3.1)) == ("too_short",)


def test_too_long():
    assert doubts(evidence(251)) == ("too_long",)
    assert doubts(evidence(250)) == ()


def test_text_where_it_is_silent():
    assert doubts(evidence(26, active=0.0)) == ("too_long",)
    assert doubts(evidence(5, active=0.0)) == ()


def test_what_the_model_itself_has_against_a_text():
    assert own_doubts(-1.01, 1e-6) == ("unsure",)
    assert own_doubts(-1.0, 0.5) == ()
    assert own_doubts(-1.5, 0.51) == ("unsure", "no_speech")
    assert own_doubts(-0.1, None) == ()
    assert own_doubts(None, 0.9) == ()


def test_several_doubts_at_once():
    assert doubts(evidence([7] * 300, finished=False)) == ("unfinished", "loop", "too_long")


@pytest.mark.parametrize("flag", ["unfinished", "loop", "too_short", "too_long", "unsure", "no_speech"])
def test_every_flag_can_be_told(flag):
    assert len(describe(flag)) > 20


GOOD, SHORT, LOOPING = evidence(), evidence(5), evidence([7] * 30)


def half(tokens=15, **values) -> Evidence:
    """One of the two parts that a window was cut into."""
    return evidence(tokens, **{"active": 5.0, "duration": 6.0, **values})


@pytest.mark.parametrize(
    ("new", "old"),
    [
        ([half(), half()], LOOPING),
        ([half(), half([7] * 15)], LOOPING),  # half of it is saved
        ([half(finished=False), half(finished=False)], evidence([7] * 300)),  # one doubt instead of two
        ([half(4), half(4)], evidence(7)),  # still too short, but more than there was
        ([half(0, active=1.0), half()], SHORT),
        ([half(0, active=0.0), half(0, active=0.0)], evidence(40, active=0.0)),
        ([half(duration=5.1 + 1e-9), half(4, duration=6.9)], evidence(3)),
        ([half(duration=0.5), half([7] * 15, duration=11.5)], LOOPING),  # half a second is saved
    ],
)
def test_better(new, old):
    assert is_better(new, old)


@pytest.mark.parametrize(
    ("new", "old"),
    [
        ([half(), half()], GOOD),
        ([half([7] * 15), half([7] * 15)], LOOPING),
        ([half([7] * 15), half(4)], LOOPING),
        ([half([7] * 130), half()], LOOPING),  # half of it has two doubts
        ([half([7] * 130, duration=6.2), half(duration=5.8)], LOOPING),  # and a little more than half
        ([half(4), half(4)], evidence(8)),
        ([half(2), half(1)], SHORT),
    ],
)
def test_not_better(new, old):
    assert not is_better(new, old)
