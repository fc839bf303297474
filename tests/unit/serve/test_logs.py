"""A line of the log is JSON, and text that a terminal can show."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

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


def test_what_others_log_is_json_too():
    """A form that is broken put a line into the log that was none."""
    code = """
import logging
from mlx_canary.serve.logs import log_to_stderr
log_to_stderr()
for name in ("python_multipart", "asyncio", "uvicorn.error", "mlx_canary.serve"):
    logging.getLogger(name).warning("from %s", name)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    messages = [json.loads(line)["message"] for line in ended.stderr.splitlines()]
    assert messages == ["from python_multipart", "from asyncio", "from uvicorn.error", "from mlx_canary.serve"]
