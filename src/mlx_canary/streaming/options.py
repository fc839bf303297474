"""What can be chosen about a stream, as a value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from mlx_canary.errors import PromptError

PolicyName = Literal["windowed", "alignatt", "waitk"]


@dataclass(frozen=True, slots=True)
class StreamingOptions:
    """How text is taken from sound that goes on.

    Attributes:
        policy: "windowed" decodes a window that grows until a pause, and fixes the words that two decodings in a row
            share, but the last; "alignatt" and "waitk" are NeMo's.
        chunk: Seconds of new sound from one decoding to the next.
        left: Seconds before the chunk that are heard again; NeMo's policies only.
        right: Seconds after the chunk that are heard with it; NeMo's policies only.
        pause: Seconds of quiet that end a segment.
        longest_segment: Seconds after which a segment ends without a pause, at the quietest place at hand; None for 15
            with "windowed", and 30 with NeMo's policies (whose token buffer is full after some more).
        waitk_lagging: Chunks to have heard before the first token; NeMo's policies only.
        alignatt_thr: "alignatt": encoder frames that must lie between the frame looked at and the end of the sound.
        exclude_sink_frames: "alignatt": first frames that do not count as looked at.
        xatt_scores_layer: "alignatt": the decoder layer whose attention counts; negative from the end.
        use_avgpool_for_alignatt: "alignatt": smooth the attention first.
        max_generation_length: "waitk": tokens of a segment, prompt included; more than 255 count as 255.
        hallucinations_detector: End segments whose text repeats itself.
    """

    policy: PolicyName = "windowed"
    chunk: float = 1.0
    left: float = 10.0
    right: float = 0.5
    pause: float = 0.6
    longest_segment: float | None = None
    waitk_lagging: int = 2
    alignatt_thr: int = 8
    exclude_sink_frames: int = 8
    xatt_scores_layer: int = -2
    use_avgpool_for_alignatt: bool = False
    max_generation_length: int = 512
    hallucinations_detector: bool = True

    def __post_init__(self) -> None:
        if self.policy not in ("windowed", "alignatt", "waitk"):
            raise PromptError(f"policy={self.policy!r} is not one of: 'windowed', 'alignatt', 'waitk'.")
        for name, least, most in (
            ("chunk", 0.1, 60.0),
            ("left", 0.0, 60.0),
            ("right", 0.0, 60.0),
            ("pause", 0.1, 3600.0),
        ):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and least <= value <= most):
                raise PromptError(f"{name}={value!r} must be a number of seconds from {least} to {most}.")
        for name, at_least in (
            ("waitk_lagging", 0),
            ("alignatt_thr", 0),
            ("exclude_sink_frames", 0),
            ("max_generation_length", 1),
        ):
            value = getattr(self, name)
            if not (isinstance(value, int) and value >= at_least):
                raise PromptError(f"{name}={value!r} must be a whole number, at least {at_least}.")
        if not isinstance(self.xatt_scores_layer, int):
            raise PromptError(f"xatt_scores_layer={self.xatt_scores_layer!r} must be a whole number.")
        longest = self.longest_segment
        if longest is not None and not (isinstance(longest, int | float) and 2.0 <= longest < math.inf):
            raise PromptError(f"longest_segment={longest!r} must be a number of seconds from 2.")
        if self.policy == "windowed" and self.segment_limit > 60:
            raise PromptError("A window of more than 60 s cannot be heard at once; give a shorter longest_segment.")

    @property
    def segment_limit(self) -> float:
        """Seconds after which a segment ends."""
        if self.longest_segment is not None:
            return self.longest_segment
        return 15.0 if self.policy == "windowed" else 30.0
