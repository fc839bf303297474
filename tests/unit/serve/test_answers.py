"""Bodies of answers, by themselves."""

from __future__ import annotations

from openai.types.audio import TranscriptionVerbose

from mlx_canary.serve.answers import body
from mlx_canary.serve.forms import TranscriptionForm
from mlx_canary.types import Segment, Transcript


def test_what_is_not_known_is_told_as_clients_expect_it():
    """Three nulls once stood in each segment, where clients of all languages expect numbers."""
    form = TranscriptionForm(model="demo", response_format="verbose_json")
    told = body(Transcript((Segment("One.", 0.0, 1.0),), "en", "en", 1.0), form)
    (segment,) = TranscriptionVerbose.model_validate(told, strict=True).segments
    assert (segment.tokens, segment.avg_logprob, segment.no_speech_prob) == ([], 0.0, 0.0)
