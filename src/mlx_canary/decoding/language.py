"""Which of the checkpoint's languages is spoken: two ways of asking the model, and an answer only where they agree.

The first way shows the decoder the beginning of a prompt and compares how likely each language's tag comes next; it
works for checkpoints that were trained with such prompts. The second decodes a few words in each language and compares
how likely the model finds them. Neither is calibrated, so a disagreement is no answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlx_canary.backend import mx
from mlx_canary.decoding.greedy import decode_greedy
from mlx_canary.network.canary import CanaryNetwork
from mlx_canary.text.prompt import Prompt, encode_beginning, encode_prompt
from mlx_canary.text.tokenizer import CanaryTokenizer
from mlx_canary.types import EncoderOutput

# Tokens after which the languages can be told apart, if they can.
_N_TOKENS = 30
# The tag's share that counts as clear, where the texts prefer the same language. Measured on six checkpoints: three
# that are often wrong answered once at this share, rightly; the demo model's last three 357, 365 and 354 times of 448,
# wrongly never, once and once (a spoken letter).
_CLEAR = 0.8
# The probability, of all tokens, from which a tag alone says enough for a warning. Taken for English, the demo model
# named another language for 617 of 647 recordings that were not English, two with a wrong name, and for two of 248 that
# were; at 0.9 for 587 and one, at 0.5 for 639 and four. A share of the tags would not do: in checkpoints that were not
# trained with such prompts one often has most of it, but all together less than a fiftieth of the probability.
_SURE = 0.8
# Instead of the log-probability of a language in which nothing is heard.
_NOTHING = -100.0


@dataclass(frozen=True, slots=True)
class LanguageGuess:
    """What the two ways found.

    Attributes:
        by_tag: Share of each language's tag in the probability of all tags, from 0 to 1.
        by_text: Share of each language when the likelihoods of the short texts are compared, from 0 to 1.
    """

    by_tag: dict[str, float]
    by_text: dict[str, float]

    @property
    def language(self) -> str | None:
        """The language that both ways prefer, the first one clearly; or None."""
        tag, text = max(self.by_tag, key=self.by_tag.__getitem__), max(self.by_text, key=self.by_text.__getitem__)
        return tag if tag == text and self.by_tag[tag] >= _CLEAR else None


def guess_language(
    network: CanaryNetwork,
    encoded: EncoderOutput,
    tokenizer: CanaryTokenizer,
    template: str,
    languages: Sequence[str],
) -> LanguageGuess:
    """Compare the languages.

    Args:
        network: Computes; is not changed.
        encoded: Encoder states (1, S, W) of a stretch of speech.
        tokenizer: The checkpoint's.
        template: Of its prompts.
        languages: Those to choose from.
    """
    (tags,) = _tag_logprobs(network, encoded, tokenizer, template, languages)
    return LanguageGuess(
        dict(zip(languages, _shares(tags), strict=True)),
        dict(zip(languages, _shares(_text_scores(network, encoded, tokenizer, template, languages)), strict=True)),
    )


def languages_heard(
    network: CanaryNetwork,
    encoded: EncoderOutput,
    tokenizer: CanaryTokenizer,
    template: str,
    languages: Sequence[str],
) -> list[str | None]:
    """The language that the model itself would say for each item of encoder states (B, S, W); None if it is not sure.

    One step of the decoder. Enough for a warning, not for an answer; arguments as for `guess_language`.
    """
    found = _tag_logprobs(network, encoded, tokenizer, template, languages)
    return [languages[int(tags.argmax())] if np.exp(tags.max()) >= _SURE else None for tags in found]


def _tag_logprobs(
    network: CanaryNetwork,
    encoded: EncoderOutput,
    tokenizer: CanaryTokenizer,
    template: str,
    languages: Sequence[str],
) -> npt.NDArray[np.float32]:
    """The log-probability of each of L languages' tag after the beginning of a prompt, (B, L)."""
    B = len(encoded.lengths)
    beginning = mx.array([encode_beginning(template, tokenizer)] * B)
    logits = np.array(network.step(beginning, network.start(encoded, [0] * B))[:, -1].astype(mx.float32))  # (B, V)
    logits -= logits.max(axis=1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return logits[:, [tokenizer.special_id(f"<|{code}|>") for code in languages]]


def _text_scores(
    network: CanaryNetwork,
    encoded: EncoderOutput,
    tokenizer: CanaryTokenizer,
    template: str,
    languages: Sequence[str],
) -> list[float]:
    """The log-probability of the first words in each language."""
    B, S, W = len(languages), *encoded.states.shape[1:]
    repeated = EncoderOutput(mx.broadcast_to(encoded.states, (B, S, W)), encoded.lengths * B)
    prompts = [encode_prompt(Prompt(code, code), template, tokenizer) for code in languages]
    found = decode_greedy(network, repeated, prompts, [_N_TOKENS] * B, tokenizer.eos_id, tokenizer.size)
    return [sum(h.token_logprobs) if h.tokens else _NOTHING for h in found]


def _shares(scores: Sequence[float] | npt.NDArray[np.float32]) -> list[float]:
    powers = np.exp(np.array(scores) - max(scores))
    return [float(share) for share in powers / powers.sum()]
