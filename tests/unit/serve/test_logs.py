"""A line of the log is JSON, and text that a terminal can show."""

from __future__ import annotations

import json
import logging

from mlx_canary.serve.logs import JsonLines


def test_no_control_characters_reach_a_terminal():
    """Some terminals take U+009B for the beginning of a command, and JSON does not ask that it be escaped."""
    path = "/\x1b[2J\x9b2J\x7f\x85/Größe/é/\N{REPLACEMENT CHARACTER}"
    record = logging.LogRecord("mlx_canary", logging.INFO, "", 0, "GET %s", (path,), None)
    record.facts = {"path": path}
    line = JsonLines().format(record)
    assert json.loads(line)["message"] == f"GET {path}"
    assert json.loads(line)["path"] == path
    assert line.isprintable()
    assert "Größe" in line
