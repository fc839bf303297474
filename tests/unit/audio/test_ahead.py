"""Reading ahead: the same blocks in the same order, within bounds, and no thread is left."""

from __future__ import annotations

import io
import os
import threading
import time

import numpy as np
import pytest

from mlx_canary.audio.ahead import ReadAhead, is_at_hand
from mlx_canary.errors import AudioError
from mlx_canary.types import Audio

WAIT = 30  # seconds, far more than is needed


def recording(name, n_blocks, read, error=None):
    """Blocks that hold the recording's number and their own; what was read is noted."""
    for n in range(n_blocks):
        read.append((name, n))
        yield np.array([name, n], np.float32)
    if error is not None:
        raise error


def until(condition):
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def taken(reading, number):
    return [tuple(int(x) for x in block) for block in reading.blocks(number)]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "read ahead"]


@pytest.mark.parametrize("n_blocks", [1, 3, 100])
def test_blocks_come_in_order(n_blocks):
    read = []
    with ReadAhead([recording(name, 7, read) for name in range(3)], n_blocks) as reading:
        assert [taken(reading, name) for name in range(3)] == [[(name, n) for n in range(7)] for name in range(3)]


def test_not_more_is_read_than_may_lie_ready():
    """And one more, which waits in the thread's hand."""
    read = []
    with ReadAhead([recording(0, 3, read), recording(1, 9, read)], 5) as reading:
        until(lambda: len(read) == 6)
        blocks = reading.blocks(0)
        next(blocks)
        until(lambda: len(read) == 7)
        assert read == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (1, 3)]


def test_an_error_comes_after_the_good_blocks():
    """To whoever takes that recording; the next one is read all the same."""
    read, error = [], AudioError("broken here")
    with ReadAhead([recording(0, 2, read, error), recording(1, 1, read)], 9) as reading:
        blocks = reading.blocks(0)
        assert [int(next(blocks)[1]), int(next(blocks)[1])] == [0, 1]
        with pytest.raises(AudioError, match="broken here"):
            next(blocks)
        assert taken(reading, 1) == [(1, 0)]


def test_a_recording_that_is_given_up_does_not_stop_the_next():
    """Its blocks fill all the room, and nobody takes them."""
    read = []
    with ReadAhead([recording(0, 9, read), recording(1, 9, read), recording(2, 3, read)], 2) as reading:
        next(kept := reading.blocks(0))
        assert taken(reading, 2) == [(2, n) for n in range(3)]
        assert kept is not None


def test_an_interruption_ends_the_thread():
    """What was opened is closed."""
    closed = []

    def endless():
        try:
            while True:
                yield np.zeros(1, np.float32)
        finally:
            closed.append(True)

    def interrupted():
        with ReadAhead([endless(), endless()], 2) as reading:
            next(reading.blocks(0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert closed == [True]


def test_only_what_cannot_block_is_read_ahead(tmp_path):
    file, pipe = tmp_path / "a.wav", tmp_path / "pipe"
    file.write_bytes(b"RIFF")
    os.mkfifo(pipe)
    assert all(map(is_at_hand, [file, str(file), b"RIFF", bytearray(b"RIFF")]))
    sources = ["-", pipe, tmp_path, tmp_path / "none", "https://example.org/a.wav", io.BytesIO(b"RIFF"), "\0"]
    assert not any(map(is_at_hand, [*sources, Audio(np.zeros(9, np.float32), 16000)]))
