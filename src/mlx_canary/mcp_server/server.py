"""The tools that an assistant sees. Requests of the protocol in, texts out; mirrors the command line's options.

Knows nothing about how recordings are found or who computes.
"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Annotated, Any, Literal, ParamSpec

from mcp.server.mcpserver import Context, MCPServer
from mcp.types import CallToolResult, TextContent, Tool, ToolAnnotations
from pydantic import Field

from mlx_canary.errors import CanaryError, PromptError
from mlx_canary.load_models import TimesFrom
from mlx_canary.mcp_server.folders import Folders, Found
from mlx_canary.mcp_server.worker import Worker
from mlx_canary.model import TranscriptionOptions
from mlx_canary.text.languages import describe_languages
from mlx_canary.transcriber import Timestamps
from mlx_canary.types import Transcript
from mlx_canary.version import __version__
from mlx_canary.writers import render

Format = Literal["txt", "json", "srt", "vtt", "tsv", "lrc", "ass"]
_MOST_LISTED = 200
_READS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
_INSTRUCTIONS = """\
Writes down what sound and video files on this computer say, and translates it, with a speech model that runs here.
Say which language is spoken; languages lists those that the model knows.
"""
P = ParamSpec("P")


class _Server(MCPServer[Any]):
    """Refuses arguments that a tool does not have: whoever guesses a name would believe that it was obeyed."""

    async def list_tools(self) -> list[Tool]:
        """The tools, whose schemas say so."""
        tools = await super().list_tools()
        closed = {"additionalProperties": False}
        return [tool.model_copy(update={"input_schema": tool.input_schema | closed}) for tool in tools]

    async def call_tool(self, name: str, arguments: dict[str, Any], context: Any = None) -> Any:
        """What the tool answers, or what is wrong with its arguments."""
        known = {tool.name: list(tool.input_schema["properties"]) for tool in await self.list_tools()}
        for argument in arguments if name in known else ():
            if argument not in known[name]:
                has = f"It has {', '.join(known[name])}." if known[name] else "It has none."
                return _said(f"{name} has no argument {argument!r}. {has}", failed=True)
        return await super().call_tool(name, arguments, context)


def make_server(folders: Folders, worker: Worker) -> MCPServer[Any]:
    """A server with three tools, not running yet."""
    server = _Server(
        "mlx-canary", title="Canary MLX", instructions=_INSTRUCTIONS, version=__version__, log_level="WARNING"
    )

    @server.tool(title="Transcribe a recording", annotations=_READS, structured_output=False)
    @_in_a_sentence
    async def transcribe(
        context: Context[Any, Any],
        file: Annotated[str, Field(description="Path of the recording, as list_recordings gives it.")],
        language: Annotated[
            str | None,
            Field(
                description="Language spoken, such as 'en'; 'auto' to find out, 'auto:en,de' among these. "
                "Without it the model's default."
            ),
        ] = None,
        translate_to: Annotated[
            str | None, Field(description="Write it down in this other language, such as 'de'.")
        ] = None,
        timestamps: Annotated[
            Literal["word", "segment"] | None,
            Field(description="Times of words or of sentences only; not for txt. Without it words, where they fit."),
        ] = None,
        times_from: Annotated[
            Literal["model", "attention"] | None,
            Field(
                description="Times from the model's own tokens, or from where it looks, which leaves the words alone. "
                "Without it what is best for the model."
            ),
        ] = None,
        format: Annotated[
            Format,
            Field(description="txt is the text alone; tsv a line with times for each sentence; json holds everything."),
        ] = "txt",
    ) -> list[str]:
        """Write down what a sound or video file says, in the language spoken or another one."""
        options = _options(language, translate_to, timestamps, times_from, format)
        path = await asyncio.to_thread(folders.find, file)

        async def report(seconds: float) -> None:
            await context.report_progress(seconds, message=f"{seconds:.0f} s of sound are done")

        transcript = await worker.transcribe(path, options, report)
        text = await asyncio.to_thread(_text, transcript, format)
        told = () if format == "json" else transcript.warnings  # which holds them itself
        return [text, *(f"Warning: {warning}" for warning in told)]

    @server.tool(title="List recordings", annotations=_READS, structured_output=False)
    @_in_a_sentence
    async def list_recordings(
        name_contains: Annotated[str, Field(description="Only those with this in their path.")] = "",
    ) -> str:
        """List the sound and video files that can be transcribed, the newest first: time, size, path."""
        found = await asyncio.to_thread(folders.recordings)
        wanted = [one for one in found if name_contains.casefold() in str(one.path).casefold()]
        return _listing(wanted, folders)

    @server.tool(title="List languages", annotations=_READS, structured_output=False)
    @_in_a_sentence
    async def languages() -> str:
        """List the languages that the model understands, and between which it translates."""
        config = await worker.config()
        return describe_languages(config.name, config.languages)

    return server


def _in_a_sentence(tool: Callable[P, Awaitable[str | list[str]]]) -> Callable[P, Awaitable[CallToolResult]]:
    """What goes wrong on purpose becomes its sentence and nothing else, for the assistant to read."""

    @wraps(tool)
    async def told(*arguments: P.args, **keywords: P.kwargs) -> CallToolResult:
        try:
            found, failed = await tool(*arguments, **keywords), False
        except CanaryError as error:
            found, failed = str(error), True
        return _said(found, failed)

    told.__annotations__ = {**tool.__annotations__, "return": "CallToolResult"}
    return told


def _said(found: str | list[str], failed: bool) -> CallToolResult:
    texts = [found] if isinstance(found, str) else found
    # They may hold a folder's name that is not UTF-8.
    sendable = [text.encode(errors="backslashreplace").decode() for text in texts]
    return CallToolResult(content=[TextContent(type="text", text=text) for text in sendable], is_error=failed)


def _options(
    language: str | None,
    translate_to: str | None,
    timestamps: Timestamps | None,
    times_from: TimesFrom | None,
    format: Format,
) -> TranscriptionOptions:
    for name, value in (("timestamps", timestamps), ("times_from", times_from)):
        if value is not None and format == "txt":
            raise PromptError(f"{name}={value!r} needs a format with a place for times, such as tsv; txt has none.")
    return TranscriptionOptions(
        language=language,
        task="transcribe" if translate_to is None else "translate",
        target_lang=translate_to,
        timestamps=timestamps or (None if format == "txt" else "word"),
        times_from=times_from,
    )


def _text(transcript: Transcript, format: str) -> str:
    if not transcript.text:
        return f"Nothing is heard in the recording, which has {transcript.duration:.1f} s."
    return render(transcript, format)


def _listing(found: list[Found], folders: Folders) -> str:
    if not found:
        return f"There is no recording of that name in {folders}."
    lines = [_line(one) for one in found[:_MOST_LISTED]]
    if len(found) > _MOST_LISTED:
        lines.append(f"... and {len(found) - _MOST_LISTED} older ones; name_contains finds them.")
    return "\n".join(lines)


def _line(one: Found) -> str:
    return f"{_moment(one.modified)}\t{one.n_bytes / 1e6:.1f} MB\t{one.path}"


def _moment(seconds: float) -> str:
    try:
        return datetime.datetime.fromtimestamp(seconds).isoformat(" ", "minutes")
    except (ValueError, OverflowError, OSError):  # a file's time may be any number, the year 33658 too
        return "time unknown"
