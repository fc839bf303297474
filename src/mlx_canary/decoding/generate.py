"""Decoding as the options say: encoder states and prompts in, hypotheses out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from mlx_canary.backend import mx
from mlx_canary.decoding.batch import Entry
from mlx_canary.decoding.beam import Beam
from mlx_canary.decoding.boosting import BoostingTree, encode_phrases
from mlx_canary.decoding.fusion import Fusion, Scorer
from mlx_canary.decoding.greedy import Greedy
from mlx_canary.decoding.ngram import NGramModel
from mlx_canary.decoding.options import DecodingOptions
from mlx_canary.decoding.rows import Chooser, Symbols
from mlx_canary.decoding.sampling import Sampler
from mlx_canary.decoding.search import search_each
from mlx_canary.errors import PromptError
from mlx_canary.network.canary import CanaryNetwork
from mlx_canary.text.tokenizer import CanaryTokenizer
from mlx_canary.types import EncoderOutput, Hypothesis

_NO_SPEECH = "<|nospeech|>"


class Decoder:
    """A checkpoint's decoder with its options: what must be read or built for them is kept.

    Args:
        network: Computes; is not changed.
        tokenizer: The checkpoint's.
        options: How to search.

    Raises:
        PromptError: The language model cannot be used, or there are more beams than tokens.
    """

    def __init__(self, network: CanaryNetwork, tokenizer: CanaryTokenizer, options: DecodingOptions) -> None:
        self._network = network
        self._tokenizer = tokenizer
        self._options = options
        self._symbols = symbols_of(tokenizer)
        if options.beam_size > self._symbols.size:
            raise PromptError(
                f"beam_size={options.beam_size} is more than this checkpoint's {self._symbols.size} tokens."
            )
        self._model: list[tuple[Scorer, float]] = []
        model = options.language_model
        if model is not None and model.alpha > 0:
            self._model = [(NGramModel(model.path, self._symbols.size, self._symbols.eos_id), model.alpha)]
        self._fusions: dict[tuple[str, bool], Fusion | None] = {}

    def __call__(
        self,
        encoded: EncoderOutput,
        prompts: Sequence[Sequence[int]],
        limits: Sequence[int],
        languages: Sequence[str],
        pnc: Sequence[bool] | None = None,
    ) -> list[tuple[Hypothesis, ...]]:
        """Decode a batch.

        Args:
            encoded: Encoder states (B, S, W).
            prompts: Token ids for each item, not empty; lengths may differ.
            limits: How many tokens each item may have at most; with its prompt they must fit the position table.
            languages: Of each item's text; phrases are encoded in it.
            pnc: Whether each item has punctuation and capitals, as phrases are written; None for all.

        Returns:
            For each item `n_best` hypotheses, best first.
        """
        capitals = [True] * len(prompts) if pnc is None else pnc
        rows = zip(encoded.states, encoded.lengths, prompts, limits, languages, capitals, strict=True)
        entries = [
            self.entry(states[:length], prompt, limit, language, pnc)
            for states, length, prompt, limit, language, pnc in rows
        ]
        found = dict(self.each(entries, len(entries)))
        return [found[n] for n in range(len(entries))]

    def entry(self, states: mx.array, prompt: Sequence[int], limit: int, language: str, pnc: bool) -> Entry:
        """An item for `each`; states are (S, W), the rest as for a batch."""
        return Entry(states, prompt, limit, self._fusion(language, pnc))

    def each(
        self, entries: Iterable[Entry], batch_size: int, refill: bool | None = None
    ) -> Iterator[tuple[int, tuple[Hypothesis, ...]]]:
        """Decode items, several at once; they are taken when there is room for them.

        Args:
            entries: From `entry`.
            batch_size: Items at once.
            refill: As for `search_each`.

        Yields:
            The number of an item and its `n_best` hypotheses, best first, when it is done.
        """
        options = self._options
        found = search_each(
            self._network,
            entries,
            batch_size,
            self._symbols,
            chooser_for(options),
            options.confidence,
            options.guards_loops,
            refill,
        )
        for number, item in found:
            yield number, tuple(item.hypotheses()[: options.n_best])

    def _fusion(self, language: str, pnc: bool) -> Fusion | None:
        """What is added to the scores of a text in this language."""
        key = (language, pnc)
        if key not in self._fusions:
            scorers = self._model + self._boosting(language, pnc)
            self._fusions[key] = Fusion(scorers) if scorers else None
        return self._fusions[key]

    def _boosting(self, language: str, pnc: bool) -> list[tuple[Scorer, float]]:
        boosting = self._options.boosting
        if boosting is None or boosting.alpha == 0:
            return []
        phrases = encode_phrases(boosting.phrases, self._tokenizer, language, pnc)
        if not phrases:
            return []
        tree = BoostingTree(
            phrases,
            self._symbols.size,
            self._symbols.eos_id,
            boosting.depth_scaling,
            boosting.final_eos_score,
            self._options.nemo_faults,
        )
        return [(tree, boosting.alpha)]


def symbols_of(tokenizer: CanaryTokenizer) -> Symbols:
    """What a search must know about a tokenizer."""
    try:
        no_speech = tokenizer.special_id(_NO_SPEECH)
    except PromptError:
        no_speech = None
    return Symbols(tokenizer.eos_id, tokenizer.size, tokenizer.pad_id, no_speech)


def chooser_for(options: DecodingOptions) -> Chooser:
    """The way of decoding that the options name."""
    if options.temperature > 0:
        return Sampler(options.n_best, options.temperature, options.seed or 0)
    if options.beam_size == 1 and not options.nemo_faults:
        return Greedy()
    # NeMo goes on until every beam has ended, and its penalties can reorder even those that have.
    n_wanted = options.beam_size if options.nemo_faults else options.n_best
    return Beam(options.beam_size, n_wanted, options.length_penalty, options.nemo_faults)
