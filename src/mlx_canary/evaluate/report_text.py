"""What an evaluation found, as a table for people."""

from __future__ import annotations

from mlx_canary.evaluate.columns import table
from mlx_canary.evaluate.report import EvaluationReport, GroupScores


def render_report(report: EvaluationReport) -> str:
    """A row for each language or direction, the worst files, and what could not be scored."""
    head = ("", "files", "sound", "WER", "raw", "CER", "raw", "BLEU", "chrF", "starts", "90 %", "ends", "90 %")
    groups = dict(report.languages)
    if report.transcripts is not None and sum(group.wer is not None for group in groups.values()) > 1:
        groups["all transcripts"] = report.transcripts
    rows = [head, *(_row(name, group) for name, group in groups.items())]
    used = [column for column in range(len(head)) if column < 2 or any(row[column] for row in rows[1:])]
    lines = table([[row[column] for column in used] for row in rows])
    speed = "" if report.rtfx is None else f", {report.rtfx:.1f} x real time"
    lines += ["", f"{report.n_files} files, {report.audio_seconds:.0f} s of sound in {report.seconds:.1f} s{speed}"]
    if report.worst:
        lines += ["", "Worst files:"]
    for file in report.worst:
        score = f"chrF {file.chrf:.1f}" if file.chrf is not None else f"WER {_percent(file.wer) or 'of nothing'}"
        lines += [f"  {file.name}: {score}", f"    expected: {file.reference}", f"    heard:    {file.hypothesis}"]
    if report.problems:
        lines += ["", f"Not scored: {report.n_failed}"]
    lines += [f"  {problem}" for problem in report.problems]
    return "\n".join(lines)


def _row(name: str, group: GroupScores) -> tuple[str, ...]:
    wer, cer, translation, times = group.wer, group.cer, group.translation, group.times
    rates = [rate for each in (wer, cer) for rate in ((each.normalised, each.raw) if each else (None, None))]
    quality = (f"{translation.bleu:.1f}", f"{translation.chrf:.1f}") if translation else ("", "")
    spreads = (times.starts, times.ends) if times else ()
    seconds = [value for each in spreads for value in (each.median, each.percentile_90)] or [None] * 4
    return (
        name,
        str(group.n_files),
        f"{group.audio_seconds:.0f} s",
        *map(_percent, rates),
        *quality,
        *("" if value is None else f"{value * 1000:.0f} ms" for value in seconds),
    )


def _percent(rate: float | None) -> str:
    return "" if rate is None else f"{rate:.2%}"
