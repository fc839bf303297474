"""Transcripts as files: plain text, tables, subtitles and JSON.

`render` writes any format as text, `plan_outputs` names the files of a run before the work begins, `write_outputs`
writes them. Knows nothing about models and recordings.
"""

from mlx_canary.writers.errors import OutputError
from mlx_canary.writers.files import write_file, write_outputs
from mlx_canary.writers.json_file import SCHEMA_VERSION, read_json
from mlx_canary.writers.options import Provenance, SubtitleOptions
from mlx_canary.writers.plan import OutputSource, OutputTarget, PlannedOutput, name_outputs, plan_outputs
from mlx_canary.writers.registry import WRITERS, parse_formats, render

__all__ = [
    "SCHEMA_VERSION",
    "WRITERS",
    "OutputError",
    "OutputSource",
    "OutputTarget",
    "PlannedOutput",
    "Provenance",
    "SubtitleOptions",
    "name_outputs",
    "parse_formats",
    "plan_outputs",
    "read_json",
    "render",
    "write_file",
    "write_outputs",
]
