"""The table of `benchmarks/peers`: what is compared with what, and that nobody is left out silently."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"peers_{name}", ROOT / "benchmarks" / "peers" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def table() -> ModuleType:
    return load("table")


def row(peer: str, seconds: list[float], batch_size: int = 1, precision: str = "float32") -> dict[str, object]:
    made = {"peer": peer, "precision": precision, "case": "10 s", "batch_size": batch_size, "peak_mb": 900}
    return made | {"audio_seconds": 10.0 * batch_size, "all_seconds": seconds, "note": f"{peer}'s note"}


def test_others_are_compared_with_our_best_batch(table):
    """By work for each second of sound: ours takes 1 s alone and 0.5 s in a batch, so 2 s are four times as long."""
    rows = table.summarised([row("mlx-canary", [1.0]), row("mlx-canary", [2.0], 4), row("other", [9.0, 2.0, 1.9])])
    assert [each["times_ours"] for each in rows] == [2.0, 1.0, 4.0]
    assert (rows[2]["seconds"], rows[2]["least"], rows[2]["most"]) == (2.0, 1.9, 9.0)


def test_ours_in_float32_is_what_others_are_compared_with(table):
    rows = table.summarised([row("mlx-canary", [1.0]), row("mlx-canary", [0.1], precision="bfloat16")])
    assert rows[1]["times_ours"] == pytest.approx(0.1)


def test_the_long_recording_is_heard_in_the_best_batch_of_the_short_one(table):
    rows = [row("other", [1.0]), row("other", [8.0], 4), row("other", [1.0], 2), row("broken", [])]
    assert table.best_batch(rows, "other", "float32") == 2
    assert table.best_batch(rows, "broken", "float32") == 1


def test_who_could_not_run_is_listed_with_the_reason(table):
    failed = row("broken", []) | {"error": "ValueError: 512 is not\n 1024"}
    text = table.markdown(table.summarised([row("slow", [3.0]), row("mlx-canary", [1.0]), failed]))
    assert text.index("| mlx-canary | float32 | 1 | 1.00 (1.00 to 1.00) | 10.0 | 1.00 | 900 |") < text.index(
        "| slow | float32 | 1 | 3.00 (3.00 to 3.00) | 3.3 | 3.00 | 900 |"
    )
    assert "- broken float32, 10 s: not run. ValueError: 512 is not 1024\n" in text
    assert "- slow: slow's note" in text
    assert "broken's note" not in text
