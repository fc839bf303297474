"""What is kept of an item: each text has its own tokens and confidences, however they branch."""

from mlx_canary.decoding.beam import Beam
from mlx_canary.decoding.greedy import Greedy
from mlx_canary.decoding.paths import Item

EOS = 9


def test_texts_that_share_a_beginning_have_ends_of_their_own():
    item = Item(5, 1, Beam(2, 2), (EOS,), None, False)
    item.add([3, 4], [0, 0], [-1.0, -2.0], [-1.0, -2.0], [0.9, 0.8])
    item.add([5, 6], [0, 0], [-1.5, -1.75], [-0.5, -0.75], [0.7, 0.6])  # both go on from the first
    item.add([EOS, 7], [0, 1], [-1.5, -2.0], [0.0, -0.25], [0.5, 0.4])
    first, second = item.hypotheses()
    assert (first.tokens, first.token_logprobs, first.token_confidences) == ((3, 5), (-1.0, -0.5), (0.9, 0.7))
    assert (second.tokens, second.token_confidences) == ((3, 6, 7), (0.9, 0.6, 0.4))
    assert (second.token_logprobs, second.score) == ((-1.0, -0.75, -0.25), -2.0)
    assert (first.finished, second.finished) == (True, False)


def test_what_was_told_does_not_change_with_what_comes():
    item = Item(5, 1, Greedy(), (EOS,), None, False)
    item.add([3], [0], [-1.0], [-1.0], [0.9])
    (told,) = item.hypotheses()
    item.add([4], [0], [-2.0], [-1.0], [0.8])
    assert (told.tokens, told.token_logprobs, told.token_confidences) == ((3,), (-1.0,), (0.9,))
