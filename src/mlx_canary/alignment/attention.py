"""Word times from where the decoder looks: for checkpoints without time tokens or aligner, and for translations.

The text is read once more, teacher-forced, and the cross-attention of a few heads is the evidence for which frames
belong to which word. Which heads is decided anew for each text: those whose attention moves forward through the
recording. Less exact than the other methods, and for translations only as true as the order of words is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlx_canary.alignment.layout import Float64s, Int64s, expected_lengths, lay_words
from mlx_canary.alignment.pauses import pause_odds
from mlx_canary.alignment.words import settle_times
from mlx_canary.backend import mx
from mlx_canary.network.canary import CanaryNetwork
from mlx_canary.network.cross_attention import cross_attention
from mlx_canary.text.tokenizer import CanaryTokenizer
from mlx_canary.types import Audio, EncoderOutput, Word

_HEADS = 8  # at most
_WORSE = 0.5  # heads with less than this share of the best head's score are left out
_FLOOR = 0.05  # attention below it means nothing; it bounds what one frame can say
_LONGEST_CHARACTER = 0.16  # seconds


def attention_words(
    network: CanaryNetwork,
    encoded: EncoderOutput,
    prompt: Sequence[int],
    tokens: Sequence[int],
    tokenizer: CanaryTokenizer,
    audio: Audio,
    frame_duration: float,
) -> tuple[Word, ...]:
    """When each word of a decoded text was spoken.

    Args:
        network: The model that heard the recording.
        encoded: Its encoder states (1, S, W) of one recording.
        prompt: Ids that stood before the text.
        tokens: Ids of the text, without the end-of-text; with the prompt they fit the position table but for the last.
        tokenizer: The checkpoint's.
        audio: The recording (N,), for its pauses.
        frame_duration: Seconds of one encoder frame.

    Returns:
        The words of the text without special tokens. Their times rise and stay inside the recording.
    """
    texts, word_of = words_of_tokens(tokens, tokenizer)
    return place_words(texts, word_of, network, encoded, prompt, tokens, audio, frame_duration)


def place_words(
    texts: list[str],
    word_of: Int64s,
    network: CanaryNetwork,
    encoded: EncoderOutput,
    prompt: Sequence[int],
    tokens: Sequence[int],
    audio: Audio,
    frame_duration: float,
) -> tuple[Word, ...]:
    """The same for words that are already known.

    Args:
        texts: The words.
        word_of: Which of them each token (U,) belongs to, -1 for none.
        network: As for `attention_words`, like all that follow.
        encoded: (1, S, W).
        prompt: Before the text.
        tokens: Of the text.
        audio: (N,).
        frame_duration: In seconds.
    """
    (n_frames,) = encoded.lengths
    spoken = word_of >= 0
    if not spoken.any() or len(texts) > n_frames:
        return settle_times(texts, [None] * len(texts), [None] * len(texts), audio.duration)
    # The row before a token's own is the one that predicts it: it looks where the token is spoken. Nobody needs the
    # last one's own, and after a text as long as it may be there is no position for it.
    layers = cross_attention(network, encoded, mx.array([[*prompt, *tokens[:-1]]]))
    weights = np.stack([np.array(layer[0, :, len(prompt) - 1 :, :n_frames], np.float64) for layer in layers])
    evidence = word_evidence(_used_heads(weights[:, :, spoken]), word_of[spoken], len(texts))
    pauses = pause_odds(audio.samples, n_frames, round(frame_duration * audio.sample_rate))
    expected = expected_lengths(texts, int((pauses < 0).sum()), _LONGEST_CHARACTER / frame_duration)
    firsts, ends = lay_words(evidence, pauses, expected)
    starts = [float(frame) * frame_duration for frame in firsts]
    return settle_times(texts, starts, [float(frame) * frame_duration for frame in ends], audio.duration)


def words_of_tokens(tokens: Sequence[int], tokenizer: CanaryTokenizer) -> tuple[list[str], Int64s]:
    """The words of a text, and for each token (U,) which of them it belongs to, -1 for special tokens.

    A special token parts words, as in the texts with time tokens that some checkpoints write, but for the unknown one.
    """
    words: list[str] = []
    word_of = np.full(len(tokens), -1)
    first = 0  # word since the last special token
    begun: list[int] = []  # ids that are not in `words` yet: since the last piece with a space before it
    for u, token in enumerate(tokens):
        if token in tokenizer.unknown_ids:
            continue
        piece, special = tokenizer.piece(token), token in tokenizer.special_ids
        if special or piece.startswith("▁"):
            words += tokenizer.decode(begun).split()
            begun = []
        if special:
            first = len(words)
            continue
        begun.append(token)
        n_words = len(words) + len(tokenizer.decode(begun).split()) + (piece == "▁")
        word_of[u] = max(n_words - 1, first)
    words += tokenizer.decode(begun).split()
    return words, np.minimum(word_of, len(words) - 1)


def _used_heads(weights: Float64s) -> Float64s:
    """Attention (layers, H, U, S) -> of the used heads (h, U, S), each times its share in the sum."""
    flat = weights.reshape(-1, *weights.shape[2:])
    shares = head_shares(flat)
    return flat[shares > 0] * shares[shares > 0, None, None]


def head_shares(weights: Float64s) -> Float64s:
    """How much each head is to count, from attention (h, U, S) alone: (h,), summing to one.

    A head's score is the attention along its best way forward through the recording, on which every frame belongs to
    one token and every token has a frame. It is high only for a head that is both sharp and moves with the speech.
    """
    h, U, S = weights.shape
    if U > S:
        return np.full(h, 1 / h)
    best = np.full((h, U), -np.inf)
    best[:, 0] = weights[:, 0, 0]
    for s in range(1, S):
        best[:, 1:] = np.maximum(best[:, 1:], best[:, :-1])
        best += weights[:, :, s]
    score = best[:, -1]
    score = np.where(score >= max(_WORSE * score.max(), np.sort(score)[-min(_HEADS, h)]), score, 0.0)
    shares: Float64s = score / score.sum()
    return shares


def word_evidence(weights: Float64s, word_of: Int64s, n_words: int) -> Float64s:
    """Attention (h, U, S) whose heads are weighted by their shares -> log-probability of each word at a frame, (W, S).

    Of a word's tokens the one that looks at a frame hardest counts, so that words of many tokens have no advantage.
    """
    attention = np.full((n_words, weights.shape[-1]), _FLOOR)
    for word in np.unique(word_of):
        attention[word] += weights[:, word_of == word].max(axis=1).sum(axis=0)
    evidence: Float64s = np.log(attention / attention.sum(axis=0))
    return evidence
