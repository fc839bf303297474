"""Times of many rounds in, a summary and a Markdown table out. Knows nothing of how they were measured."""

from __future__ import annotations

import statistics
from typing import Any

Row = dict[str, Any]
"""A peer's case: `peer`, `precision`, `case`, `batch_size`, `note`; `audio_seconds`, `all_seconds` or `error`."""

OURS = "mlx-canary"


def summarised(rows: list[Row]) -> list[Row]:
    """With the median, the spread, the speed, and how much longer it takes than ours in the same case.

    The ratio is to our fastest batch size in float32, or to all of ours where float32 was not measured.
    """
    rows = [row | times(row) for row in rows]
    return [row | {"times_ours": ratio(row, rows)} for row in rows]


def times(row: Row) -> Row:
    if not row.get("all_seconds"):
        return {}
    middle = statistics.median(row["all_seconds"])
    return {
        "seconds": middle,
        "least": min(row["all_seconds"]),
        "most": max(row["all_seconds"]),
        "times_real_time": row["audio_seconds"] / middle,
    }


def ratio(row: Row, rows: list[Row]) -> float | None:
    """By seconds of work for each second of sound, since a batch hears more of it."""
    ours = [other for other in rows if other["peer"] == OURS and other["case"] == row["case"] and "seconds" in other]
    ours = [other for other in ours if other["precision"] == "float32"] or ours
    if "seconds" not in row or not ours:
        return None
    return max(other["times_real_time"] for other in ours) / row["times_real_time"]


def best_batch(rows: list[Row], peer: str, precision: str) -> int:
    """The batch size with which a peer was fastest so far; 1 where it was never measured."""
    found = [row for row in rows if (row["peer"], row["precision"]) == (peer, precision) and row.get("all_seconds")]
    if not found:
        return 1
    fastest: Row = min(found, key=lambda row: statistics.median(row["all_seconds"]) / row["audio_seconds"])
    return int(fastest["batch_size"])


def markdown(rows: list[Row]) -> str:
    """A table for each case, the fastest first, and below it what to know about the peers and why some are missing."""
    parts = []
    for case in dict.fromkeys(row["case"] for row in rows):
        done = [row for row in rows if row["case"] == case and "seconds" in row]
        if not done:
            continue
        done.sort(key=lambda row: -row["times_real_time"])
        lines = ["| peer | precision | batch | seconds (least to most) | x real time | time, ours = 1 | peak MB |"]
        lines.append("|---|---|---|---|---|---|---|")
        parts.append("\n".join([f"**{case}**\n", *lines, *map(line, done)]))
    notes = {f"- {row['peer']}: {row['note']}" for row in rows if row.get("note") and "seconds" in row}
    failed = {f"- {row['peer']} {row['precision']}, {row['case']}: {reason(row)}" for row in rows if "error" in row}
    return "\n\n".join([*parts, *("\n".join(sorted(some)) for some in (notes, failed) if some)]) + "\n"


def line(row: Row) -> str:
    spread = f"{row['seconds']:.2f} ({row['least']:.2f} to {row['most']:.2f})"
    compared = "" if row["times_ours"] is None else f"{row['times_ours']:.2f}"
    cells = [row["peer"], row["precision"], row["batch_size"], spread, f"{row['times_real_time']:.1f}", compared]
    return "| " + " | ".join(map(str, [*cells, row["peak_mb"]])) + " |"


def reason(row: Row) -> str:
    return "not run. " + " ".join(str(row["error"]).split())
