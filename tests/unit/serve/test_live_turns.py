"""A live session's turns, without a server and its threads."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import clip

from mlx_canary.serve.live import Clear, Commit, LiveSession, Sound
from mlx_canary.serve.realtime_events import Session

RATE = 16_000


def session() -> tuple[LiveSession, list[str]]:
    """One, and the types of what it tells."""
    told: list[str] = []
    return LiveSession("en", Session(), lambda event: told.append(event["type"])), told


def pieces(n: int, rate: int = RATE) -> list[Sound]:
    """Tenths of a second."""
    return [Sound(samples, rate) for samples in clip("speech")[: n * rate // 10].reshape(n, -1)]


def test_a_turn_hears_a_second_however_small_the_pieces(flash):
    """With one piece in each turn, a session beside a long recording heard a tenth of what was spoken."""
    live, _ = session()
    for sound in pieces(25):
        live.put(sound)
    waiting = []
    while live.waiting:
        live.turn(flash)
        waiting.append(live.seconds_waiting)
    assert waiting == pytest.approx([1.5, 0.5, 0.0])


def test_a_turn_leaves_the_rest_of_a_large_piece(flash):
    live, _ = session()
    for samples in (clip("speech")[:8_000], clip("speech")[8_000:40_000]):
        live.put(Sound(samples, RATE))
    live.turn(flash)
    assert live.seconds_waiting == pytest.approx(1.5)


def test_what_is_no_sound_is_done_in_passing(flash):
    """In its order: sound is not joined across it, nor with sound of another rate."""
    live, told = session()
    for order in (Clear(), *pieces(2), Commit(None), Clear(), *pieces(2), *pieces(3, 8_000)):
        live.put(order)
    live.turn(flash)
    assert (told, live.n_waiting) == (["input_audio_buffer.cleared"], 7)
    live.turn(flash)
    assert told.count("input_audio_buffer.committed") == 1
    assert (told[-1], live.n_waiting) == ("input_audio_buffer.cleared", 3)
    live.turn(flash)
    assert not live.waiting
    assert np.isclose(live.seconds_waiting, 0)
