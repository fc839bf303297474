"""What an evaluation found, as values that become JSON.

The JSON's keys are fixed by `EvaluationReport` and what it holds; `report_version` changes when they do. Rates are
fractions, times are seconds, BLEU and chrF go from 0 to 100. What cannot be said is null.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

from mlx_canary.evaluate.journal import Heard
from mlx_canary.evaluate.manifest import Item, Problem
from mlx_canary.evaluate.run import Evaluation
from mlx_canary.evaluate.scores import (
    Edits,
    Spread,
    TimeErrors,
    TranslationScores,
    character_edits,
    normalise,
    spread,
    time_errors,
    translation_scores,
    word_edits,
)
from mlx_canary.version import __version__

REPORT_VERSION = 1


@dataclass(frozen=True, slots=True)
class ErrorRates:
    """Word or character errors, of the texts as they are and with Whisper's normalisers.

    Attributes:
        raw, normalised: Errors by words (or characters) of the references; None where those are empty.
        n_reference: Words or characters of the references, as they are.
        n_reference_normalised: The same after normalising.
    """

    raw: float | None
    normalised: float | None
    n_reference: int
    n_reference_normalised: int


@dataclass(frozen=True, slots=True)
class TimeScores:
    """How far word times are off, of the words that were heard correctly.

    Attributes:
        n_reference: Words whose times were known.
        n_compared: Of them, those that were heard correctly.
        starts, ends: Absolute differences in seconds.
    """

    n_reference: int
    n_compared: int
    starts: Spread
    ends: Spread


@dataclass(frozen=True, slots=True)
class FileScores:
    """One recording.

    Attributes:
        name, line: As in the manifest.
        source_lang, target_lang: Spoken and written.
        audio_seconds: Its length.
        reference, hypothesis: The text that was expected, and what the model wrote.
        wer, cer: Of the normalised texts for a transcript; None for a translation, or where there is no reference.
        chrf: For a translation; None for a transcript.
    """

    name: str
    line: int
    source_lang: str
    target_lang: str
    audio_seconds: float
    reference: str
    hypothesis: str
    wer: float | None
    cer: float | None
    chrf: float | None


@dataclass(frozen=True, slots=True)
class GroupScores:
    """Several recordings together.

    Attributes:
        n_files, audio_seconds: How many, and how long together.
        wer, cer: For transcripts; None for translations.
        translation: For translations; None for transcripts.
        times: None where no word times were known.
    """

    n_files: int
    audio_seconds: float
    wer: ErrorRates | None
    cer: ErrorRates | None
    translation: TranslationScores | None
    times: TimeScores | None


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """The whole of it.

    Attributes:
        report_version: Of this form.
        mlx_canary: The version of this package.
        model, manifest, options: What was asked.
        n_files, n_failed: How many were scored, and how many could not be.
        audio_seconds, seconds: Sound that was heard, and how long that took.
        rtfx: Their ratio.
        transcripts: All transcripts together; None if there are only translations.
        languages: Groups by the language spoken ("de") or the direction of translation ("de->en").
        worst: The files with most to be said about: highest WER, then lowest chrF.
        files: All that were scored.
        problems: What could not be scored.
    """

    report_version: int
    mlx_canary: str
    model: str
    manifest: str
    options: Mapping[str, Any]
    n_files: int
    n_failed: int
    audio_seconds: float
    seconds: float
    rtfx: float | None
    transcripts: GroupScores | None
    languages: Mapping[str, GroupScores]
    worst: Sequence[FileScores]
    files: Sequence[FileScores]
    problems: Sequence[Problem]


_Pair = tuple[Item, Heard]


def make_report(
    evaluation: Evaluation, *, model: str, manifest: str, options: Mapping[str, Any], n_worst: int
) -> EvaluationReport:
    """Score what was heard."""
    pairs = evaluation.heard
    files = [_file(item, heard) for item, heard in pairs]
    spoken = [pair for pair in pairs if not _is_translation(pair[1])]
    audio_seconds, seconds = sum(h.duration for _, h in pairs), sum(h.seconds for _, h in pairs)
    return EvaluationReport(
        report_version=REPORT_VERSION,
        mlx_canary=__version__,
        model=model,
        manifest=manifest,
        options=options,
        n_files=len(pairs),
        n_failed=len(evaluation.problems),
        audio_seconds=audio_seconds,
        seconds=seconds,
        rtfx=audio_seconds / seconds if seconds else None,
        transcripts=_group(spoken) if spoken else None,
        languages={name: _group([p for p in pairs if _group_name(p[1]) == name]) for name in _group_names(pairs)},
        worst=sorted((file for file in files if _badness(file) > (0, 0)), key=_badness, reverse=True)[:n_worst],
        files=files,
        problems=evaluation.problems,
    )


def _is_translation(heard: Heard) -> bool:
    return heard.source_lang != heard.target_lang


def _group_name(heard: Heard) -> str:
    return f"{heard.source_lang}->{heard.target_lang}" if _is_translation(heard) else heard.source_lang


def _group_names(pairs: Iterable[_Pair]) -> list[str]:
    return sorted({_group_name(heard) for _, heard in pairs})


def _group(pairs: Sequence[_Pair]) -> GroupScores:
    times = [time_errors(item.words, heard.words) for item, heard in pairs if item.words]
    translated = _is_translation(pairs[0][1])
    return GroupScores(
        n_files=len(pairs),
        audio_seconds=sum(heard.duration for _, heard in pairs),
        wer=None if translated else _rates(pairs, word_edits),
        cer=None if translated else _rates(pairs, character_edits),
        translation=translation_scores([i.text for i, _ in pairs], [h.text for _, h in pairs]) if translated else None,
        times=_times(reduce(add, times)) if times else None,
    )


def _rates(pairs: Sequence[_Pair], count: Callable[[str, str], Edits]) -> ErrorRates:
    raw = reduce(add, (count(item.text, heard.text) for item, heard in pairs), Edits())
    normal = reduce(add, (count(*_normalised(item, heard)) for item, heard in pairs), Edits())
    return ErrorRates(raw.rate, normal.rate, raw.n_reference, normal.n_reference)


def _normalised(item: Item, heard: Heard) -> tuple[str, str]:
    return normalise(item.text, heard.target_lang), normalise(heard.text, heard.target_lang)


def _times(errors: TimeErrors) -> TimeScores:
    return TimeScores(errors.n_reference, len(errors.starts), spread(errors.starts), spread(errors.ends))


def _file(item: Item, heard: Heard) -> FileScores:
    translated, texts = _is_translation(heard), _normalised(item, heard)
    return FileScores(
        name=item.name,
        line=item.line,
        source_lang=heard.source_lang,
        target_lang=heard.target_lang,
        audio_seconds=heard.duration,
        reference=item.text,
        hypothesis=heard.text,
        wer=None if translated else word_edits(*texts).rate,
        cer=None if translated else character_edits(*texts).rate,
        chrf=translation_scores([item.text], [heard.text]).chrf if translated else None,
    )


def _badness(file: FileScores) -> tuple[float, float]:
    """Sorts transcripts by their errors before translations by what they lack of a full score."""
    if file.chrf is not None:
        return 0.0, 100.0 - file.chrf
    if file.wer is None:  # nothing was said, so any word is wrong
        return (1.0 if file.hypothesis else 0.0), 0.0
    return file.wer, 0.0
