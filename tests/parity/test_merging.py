"""NeMo's windows and its merge of their texts, over all recorded cases."""

from __future__ import annotations

import json

import pytest
from conftest import DATA

from mlx_canary.longform.merging import merge
from mlx_canary.longform.nemo_windows import plan_chunks

RECORDED = json.loads((DATA / "longform/chunking.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("plan", RECORDED["plans"], ids=lambda plan: f"{plan['samples'] / 16000:g}s")
def test_windows_are_nemo_s(plan):
    chunks = plan_chunks(plan["samples"], 16000)
    assert chunks.chunk_size == plan["chunk_size"]
    assert list(chunks.starts) == plan["starts"]
    assert list(chunks.lengths) == plan["lengths"]


def test_merges_are_nemo_s():
    assert len(RECORDED["lcs"]) > 150
    for case in RECORDED["lcs"]:
        merged = merge(case["buffer"], case["data"], case["delay"], case["parallel_chunking"])
        assert merged == case["merged"], (case["buffer"], case["data"])
