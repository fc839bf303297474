"""What can be asked of a stream, and what is refused."""

from __future__ import annotations

import pytest

from mlx_canary import PromptError, StreamingOptions


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"policy": "greedy"}, "policy='greedy' is not one of"),
        ({"chunk": 0.05}, "chunk=0.05 must be a number of seconds"),
        ({"pause": float("nan")}, "pause=nan must be a number of seconds"),
        ({"longest_segment": 1.0}, "longest_segment=1.0 must be"),
        ({"longest_segment": 90.0}, "more than 60 s"),
        ({"waitk_lagging": -1}, "waitk_lagging=-1 must be"),
        ({"waitk_lagging": 1.5}, "waitk_lagging=1.5 must be a whole number"),
        ({"xatt_scores_layer": 1.5}, "xatt_scores_layer=1.5 must be a whole number"),
        ({"chunk": "1"}, "chunk='1' must be a number of seconds"),
        ({"longest_segment": "5"}, "longest_segment='5' must be"),
        ({"max_generation_length": 0}, "max_generation_length=0 must be"),
    ],
)
def test_refused(given, message):
    with pytest.raises(PromptError, match=message):
        StreamingOptions(**given)


def test_a_layer_that_is_not_there(flash):
    with pytest.raises(PromptError, match=r"xatt_scores_layer=7 .* 4 layers"):
        flash.stream(options=StreamingOptions(policy="alignatt", xatt_scores_layer=7))


def test_policy_and_options_are_not_mixed(flash):
    with pytest.raises(PromptError, match="either options or policy"):
        flash.stream(policy="waitk", options=StreamingOptions())
