"""The best path through a sequence of CTC states: log-probabilities and states in, one state per frame out.

Equal to NeMo's viterbi_decoding, float32 rounding and ties included. Knows nothing about tokens or text.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mlx_canary.errors import AlignmentError

IMPOSSIBLE = np.float32(-3.4e38)
# Back-pointers take one byte for each frame and state: an hour against 10,000 words is about 2 GB.
MAX_CELLS = 1 << 31


def viterbi(log_probs: npt.NDArray[np.float32], states: npt.NDArray[np.integer]) -> npt.NDArray[np.int32]:
    """The path with the highest sum of log-probabilities.

    A path begins in one of the first two states and ends in one of the last two. From frame to frame it stays, or goes
    on by one state, or by two where the two hold different tokens (so no token is skipped, and a token that follows
    itself has a blank between). Among equals it stays rather than goes on by one, and by one rather than by two.

    Time and memory are frames x states: 400 frames and 600 states take some 10 ms and 240 KB.

    Args:
        log_probs: (S, V + 1) float32.
        states: (2 U + 1,) token ids with a blank before, between and after them.

    Returns:
        (S,) the index into `states` at each frame. Where fewer frames than tokens make every path impossible, what
        NeMo's arithmetic gives; `frames_needed` tells beforehand.

    Raises:
        AlignmentError: More than MAX_CELLS frames x states.
    """
    S, n_states = len(log_probs), len(states)
    check_cells(S, n_states)
    came_from = np.zeros((S, n_states), np.int8)
    repeats = np.ones(n_states, bool)  # going on by two is not allowed
    repeats[2:] = states[2:] == states[:-2]
    score = np.full(n_states, IMPOSSIBLE)
    score[:2] = log_probs[0, states[:2]]
    candidates = np.full((3, n_states), IMPOSSIBLE)
    for t in range(1, S):
        emitted = log_probs[t, states]
        candidates[0] = score
        candidates[1, 1:] = score[:-1]
        candidates[2, 2:] = score[:-2]
        candidates[2, repeats] = IMPOSSIBLE
        # Added before comparing, as NeMo does: rounding can make equals of what was not.
        sums = candidates + emitted
        came_from[t] = best = sums.argmax(axis=0)
        score = np.take_along_axis(sums, best[None], axis=0)[0]
    return _trace(came_from, 0 if n_states == 1 else n_states - 2 + int(score[-2:].argmax()))


def check_cells(n_frames: int, n_states: int) -> None:
    """Refuse what would take too much memory.

    Raises:
        AlignmentError: More than MAX_CELLS frames x states.
    """
    if n_frames * n_states > MAX_CELLS:
        raise AlignmentError(
            f"{n_states // 2} tokens on {n_frames} frames or more are too many to align in one piece; "
            "align shorter pieces."
        )


def _trace(came_from: npt.NDArray[np.int8], state: int) -> npt.NDArray[np.int32]:
    path = np.empty(len(came_from), np.int32)
    for t in range(len(came_from) - 1, -1, -1):
        path[t] = state
        state -= int(came_from[t, state])
    return path


def frames_needed(states: npt.NDArray[np.integer]) -> int:
    """The least number of frames on which a path is possible: the tokens, and a blank between equal neighbours."""
    tokens = states[1::2]
    return len(tokens) + int((tokens[1:] == tokens[:-1]).sum())
