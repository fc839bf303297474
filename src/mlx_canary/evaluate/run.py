"""Let a model listen to a manifest's recordings, and score what it makes of them.

Uses what Python users have too. One recording that fails does not stop the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path

from mlx_canary.audio.load import load_audio
from mlx_canary.errors import AudioError, CanaryError
from mlx_canary.evaluate.journal import Heard, Journal
from mlx_canary.evaluate.manifest import Item, Manifest, Problem
from mlx_canary.model import CanaryModel
from mlx_canary.requests import TranscriptionOptions, is_auto
from mlx_canary.types import Audio, Transcript

# So many batches are handed over at once: enough to sort them by length, few enough for parts of files in memory.
_BATCHES_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All that was heard, and all that was not.

    Attributes:
        heard: Items with what the model made of them, in the manifest's order.
        problems: Lines and recordings that failed, in the manifest's order.
    """

    heard: tuple[tuple[Item, Heard], ...]
    problems: tuple[Problem, ...]


def evaluate(
    model: CanaryModel,
    manifest: Manifest,
    options: TranscriptionOptions,
    *,
    target_lang: str | None = None,
    batch_size: int = 8,
    journal: Journal | None = None,
    on_item: Callable[[Item, Heard | Problem], None] | None = None,
) -> Evaluation:
    """Listen to all items.

    Args:
        model: Does the work.
        manifest: What to listen to.
        options: For every item, transcription if nothing is said. A language that an item itself names goes before,
            and word times are asked for where an item has them.
        target_lang: Of the texts of items that do not name theirs; None for the language spoken.
        batch_size: Windows decoded at once, whichever recording they are of.
        journal: Items that stand in it are not heard again; the others are noted.
        on_item: Called with each item as soon as it is done, those from the journal included.
    """
    heard: dict[int, tuple[Item, Heard]] = {}
    problems = list(manifest.problems)
    for item, result in _results(model, manifest.items, (options, target_lang), batch_size, journal):
        if isinstance(result, Problem):
            problems.append(result)
        else:
            heard[item.line] = item, result
        if on_item is not None:
            on_item(item, result)
    in_order = tuple(heard[line] for line in sorted(heard))
    return Evaluation(in_order, tuple(sorted(problems, key=lambda problem: problem.line)))


_Wanted = tuple[TranscriptionOptions, str | None]


def _results(
    model: CanaryModel,
    items: Sequence[Item],
    wanted: _Wanted,
    batch_size: int,
    journal: Journal | None,
) -> Iterator[tuple[Item, Heard | Problem]]:
    left = []
    for item in items:
        known = journal.find(item) if journal is not None else None
        if known is None:
            left.append(item)
        else:
            yield item, known
    remaining = iter(left)
    while chunk := list(islice(remaining, batch_size * _BATCHES_AT_ONCE)):
        for item, result in _listen(model, chunk, wanted, batch_size):
            if journal is not None and isinstance(result, Heard):
                journal.note(item, result)
            yield item, result


def _listen(
    model: CanaryModel, items: Sequence[Item], wanted: _Wanted, batch_size: int
) -> Iterator[tuple[Item, Heard | Problem]]:
    """Some items together. The time since the last one is what an item took, so that the sum is right."""
    last = time.perf_counter()
    rate = model.config.preprocessor.sample_rate
    requests, ready = [], []

    @lru_cache(maxsize=1)  # a manifest often names one long file in many lines
    def whole(path: Path) -> Audio:
        return load_audio(path, sample_rate=rate)

    for item in items:
        try:
            options = options_for(item, *wanted, model)
            source = item.audio if item.offset is None else _part(item, whole(item.audio))
        except CanaryError as error:
            yield item, Problem(item.name, item.line, str(error))
        else:
            requests.append((source, options))
            ready.append(item)
    for outcome in model.transcribe_each(requests, batch_size=batch_size):
        item, now = ready[outcome.index], time.perf_counter()
        if outcome.transcript is None:
            yield item, Problem(item.name, item.line, str(outcome.error))
        else:
            yield item, _heard(outcome.transcript, now - last)
        last = now


def options_for(
    item: Item, options: TranscriptionOptions, target_lang: str | None, model: CanaryModel
) -> TranscriptionOptions:
    """What is wanted of an item.

    Raises:
        PromptError: The checkpoint does not have its language.
    """
    language, target = item.source_lang or options.language, item.target_lang or target_lang
    timestamps = "word" if item.words else options.timestamps
    wanted = replace(options, language=language, timestamps=timestamps)
    if is_auto(language):
        return wanted if target is None else replace(wanted, task="translate", target_lang=target)
    spoken = model.prompt(wanted).source_lang
    if target not in (None, spoken):
        wanted = replace(wanted, task="translate", target_lang=target)
        model.prompt(wanted)
    return wanted


def _part(item: Item, audio: Audio) -> Audio:
    """The part of a file that an item is about."""
    rate = audio.sample_rate
    start = round((item.offset or 0) * rate)
    end = None if item.duration is None else start + round(item.duration * rate)
    if start >= len(audio.samples):
        raise AudioError(f"{item.audio} is {audio.duration:.1f} s long; there is nothing at {item.offset} s.")
    return Audio(audio.samples[start:end].copy(), rate)  # a view would keep the whole file in memory


def _heard(transcript: Transcript, seconds: float) -> Heard:
    return Heard(
        transcript.text,
        transcript.source_lang,
        transcript.target_lang,
        transcript.duration,
        seconds,
        transcript.words,
    )
