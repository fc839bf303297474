"""Parts of the policies that the recorded runs do not reach."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import clip, loaded

from mlx_canary import StreamingOptions
from mlx_canary.audio.features import pad_to_minimum
from mlx_canary.streaming.agreement import Agreement
from mlx_canary.streaming.decoder import StreamDecoder
from mlx_canary.streaming.policies import AlignAtt, WaitK, smoothed_last_row

PROMPT = [7, 4, 16, 62, 62, 5, 9, 11, 13]


def test_smoothing_is_the_mean_of_what_exists():
    """Over five tokens by five frames, where the last token has none after it and the first frame none before."""
    attention = np.random.default_rng(0).random((7, 9)).astype(np.float32)
    expected = [attention[-3:, max(0, s - 2) : s + 3].mean() for s in range(9)]
    np.testing.assert_allclose(smoothed_last_row(attention), expected, rtol=1e-6)
    np.testing.assert_allclose(smoothed_last_row(attention[:1])[0], attention[0, :3].mean(), rtol=1e-6)


def test_guessed_tokens_are_read_in_one_pass_as_one_by_one():
    model = loaded("canary2-flash")
    encoded = model.network.encode(model.preprocessor([clip("speech")]))
    one, many = StreamDecoder(model, PROMPT), StreamDecoder(model, PROMPT)
    one.listen(encoded)
    many.listen(encoded)
    steps = []
    for _ in range(12):
        steps.append(one.propose())
        one.ids.append(steps[-1])
    wrong = [*steps[:5], 3, *steps[6:]]
    assert many.follow(steps[:11]) == steps
    assert many.follow(wrong)[:6] == steps[:6]
    many.ids += steps[:6]
    assert many.propose() == steps[6], "what a wrong guess left behind does not show"


@pytest.mark.parametrize("policy", [Agreement, WaitK, AlignAtt])
@pytest.mark.parametrize("n", [0, 1, 159, 161, 1279, 16_000])
def test_very_little_sound(policy, n):
    """Nothing fails, whatever the length."""
    found = policy(loaded("canary2-flash"), PROMPT, StreamingOptions())
    found.feed(clip("speech")[:n])
    found.finish()
    assert found.n_fixed == len(found.tokens)


@pytest.mark.parametrize("policy", [WaitK, AlignAtt])
def test_tiny_chunks(policy):
    """Fewer frames than are excluded as a sink; NeMo has no answer there, we have one."""
    options = StreamingOptions(chunk=0.16, right=0.0, left=0.32, waitk_lagging=1, exclude_sink_frames=50)
    found = policy(loaded("canary2-flash"), PROMPT, options)
    found.feed(clip("speech")[:32_000])
    found.finish()
    assert len(found.tokens) <= 255 - len(PROMPT)


def test_agreement_keeps_what_two_decodings_share():
    """Fixed tokens never change, and the draft may."""
    model = loaded("canary2-flash")
    found = Agreement(model, PROMPT, StreamingOptions(chunk=1.0))
    fixed = []
    for start in range(0, 112_160, 4000):
        found.feed(clip("speech")[start : start + 4000])
        assert found.tokens[: len(fixed)] == fixed
        assert found.n_fixed >= len(fixed)
        fixed = found.tokens[: found.n_fixed]
    found.finish()
    assert found.tokens[: len(fixed)] == fixed


class Hearing(StreamDecoder):
    """A decoder with one text for each decoding: what it is sure of whatever the sound."""

    texts = ()  # of ids

    def __init__(self, model, prompt):
        super().__init__(model, prompt)
        self.text = [*next(Hearing.texts), model.tokenizer.eos_id]

    def follow(self, guess):
        ids = [*self.ids[len(PROMPT) :], *guess]
        return [self.after(ids[: len(ids) - len(guess) + n]) for n in range(len(guess) + 1)]

    def after(self, ids):
        return self.text[len(ids)] if self.text[: len(ids)] == ids else self.text[-1]


def test_agreement_leaves_the_last_word_open(monkeypatch):
    """Two decodings take the end of the sound for the end of a sentence: nobody could go on after a full stop that is
    fixed. And a word that is fixed may be followed by a comma.
    """
    tokenizer = loaded("canary2-flash").tokenizer
    heard = ["The stars.", "The stars.", "The stars count us.", "The stars count us.", "The stars count, as we do."]
    monkeypatch.setattr(Hearing, "texts", iter([tokenizer.encode(text, "en") for text in heard]))
    monkeypatch.setattr("mlx_canary.streaming.agreement.StreamDecoder", Hearing)
    found = Agreement(loaded("canary2-flash"), PROMPT, StreamingOptions(chunk=1.0))
    fixed = []
    for text in heard:
        found.feed(np.zeros(16_000 + (not fixed), np.float32))
        assert tokenizer.decode(found.tokens).strip() == text
        fixed.append(tokenizer.decode(found.tokens[: found.n_fixed]).strip())
    assert fixed == ["", "The", "The", "The stars count", "The stars count"]


def test_agreement_in_one_piece_is_greedy_search():
    model = loaded("canary2-flash")
    found = Agreement(model, PROMPT, StreamingOptions(chunk=60))
    found.feed(clip("speech"))
    found.finish()
    decoder = StreamDecoder(model, PROMPT)
    decoder.listen(model.network.encode(model.preprocessor([pad_to_minimum(clip("speech"), 16_000)])))
    while (token := decoder.propose()) != model.tokenizer.eos_id:
        decoder.ids.append(token)
    assert found.tokens == decoder.ids[len(PROMPT) :]


class Repeating(StreamDecoder):
    """A decoder that has lost the recording."""

    def follow(self, guess):
        written = len(self.ids) - len(PROMPT)
        return [200 + (written + n) % 2 for n in range(len(guess) + 1)]

    def propose(self):
        return self.follow(())[0]

    def propose_with_attention(self, layer):
        return self.propose(), np.eye(1, 50, 20, dtype=np.float32)


def test_nothing_is_heard_after_the_end_of_the_text():
    """However the sound is divided: what comes later belongs to the next text."""
    options = StreamingOptions(policy="waitk", chunk=0.32, waitk_lagging=0, max_generation_length=len(PROMPT) + 5)
    whole, parts = (WaitK(loaded("canary2-flash"), PROMPT, options) for _ in range(2))
    sound = np.tile(clip("speech"), 2)
    whole.feed(sound)
    for start in range(0, len(sound), 1600):
        if not parts.stopped:
            parts.feed(sound[start : start + 1600])
    assert whole.stopped
    assert whole.n_heard == parts.n_heard < len(sound) / 2


@pytest.mark.parametrize("policy", [Agreement, WaitK, AlignAtt])
def test_loops_are_cut_off(policy, monkeypatch):
    module = "agreement" if policy is Agreement else "policies"
    monkeypatch.setattr(f"mlx_canary.streaming.{module}.StreamDecoder", Repeating)
    found = policy(loaded("canary2-flash"), PROMPT, StreamingOptions())
    found.feed(clip("speech"))
    found.finish()
    assert found.looped
    assert len(found.tokens) < 12


@pytest.mark.parametrize("policy", [Agreement, WaitK, AlignAtt])
def test_loops_are_kept_where_that_is_asked(policy, monkeypatch):
    module = "agreement" if policy is Agreement else "policies"
    monkeypatch.setattr(f"mlx_canary.streaming.{module}.StreamDecoder", Repeating)
    found = policy(loaded("canary2-flash"), PROMPT, StreamingOptions(hallucinations_detector=False))
    found.feed(clip("speech"))
    found.finish()
    assert not found.looped
    assert len(found.tokens) > 50
