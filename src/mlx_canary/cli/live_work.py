"""The work of `live`: sound in, captions while it goes on, files at the end."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from types import FrameType
from typing import Any

import click

from mlx_canary.audio.sources import describe as describe_source
from mlx_canary.cli.captions import Captions, captions
from mlx_canary.cli.doubts import doubts, reader_warnings
from mlx_canary.cli.live_sources import microphone, raw_stdin, recording
from mlx_canary.cli.options import usage_errors
from mlx_canary.cli.progress import loading_progress
from mlx_canary.cli.terminal import abandon_stdout, tell
from mlx_canary.errors import AudioError
from mlx_canary.model import CanaryModel
from mlx_canary.streaming.options import StreamingOptions
from mlx_canary.streaming.session import StreamingSession, Update
from mlx_canary.types import Audio, Transcript
from mlx_canary.writers import OutputSource, OutputTarget, Provenance, parse_formats, plan_outputs, write_outputs

# Ctrl-C, `kill` and a shutdown, a closed terminal.
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(given: dict[str, Any]) -> None:
    """Do it, until the sound ends, somebody presses Ctrl-C, or nobody reads the output any more."""
    _check(given)
    settings = StreamingOptions(policy=given["policy"], chunk=given["chunk"])
    with usage_errors():
        formats = parse_formats(given["formats"])
    with loading_progress(given["model"]) as loading:
        model = CanaryModel.from_pretrained(given["model"], dtype=given["dtype"], progress=loading)
    streams = _streams(model, given, settings)
    if given["language"] is None:
        click.echo(f"Language: {streams[0].target_lang} (say another with --language)", err=True)
    target = None if given["output_dir"] is None else OutputTarget(given["output_dir"], overwrite=given["overwrite"])
    name = "live" if given["file"] is None else given["file"]
    if target is not None:  # a name that is taken is noticed before anybody speaks
        plan_outputs([OutputSource(name, tuple(s.target_lang for s in streams))], formats, target)
    source = _source(given, model)
    with reader_warnings() as warnings, _Interruption() as interruption:
        (first, *others), error = _write_down(source, streams, interruption)
        transcript = replace(first, translations=tuple(others))
        # A source that failed before anything was said leaves nothing to save.
        if error is None or transcript.duration:
            failure = [str(error)] if isinstance(error, AudioError) else []
            doubtful = list(doubts(_title(given), transcript))
            for doubt in doubtful:
                tell(f"Warning: {doubt}")
            told = (*warnings.about(_title(given)), *failure, *doubtful)
            provenance = Provenance(model.config.name, _asked(given), told)
            if target is not None:
                paths = write_outputs(transcript, formats, target, name, provenance=provenance)
                with suppress(OSError):  # the terminal may be gone
                    click.echo(f"Saved {', '.join(map(str, paths))}", err=True)
    if interruption.exit_code:
        if isinstance(error, OSError):
            abandon_stdout()
        sys.exit(interruption.exit_code)
    if error is not None:
        raise error


def _check(given: dict[str, Any]) -> None:
    if given["file"] is not None and given["device"] is not None:
        raise click.UsageError("--device is for the microphone: give it or --file, not both.")
    if given["file"] in (None, "-") and given["fast"]:
        raise click.UsageError("--fast is for a recording: --file FILE.")
    source = click.get_current_context().get_parameter_source("formats")
    if given["output_dir"] is None and source is click.core.ParameterSource.COMMANDLINE:
        raise click.UsageError("--format says how to save the text; say where with --output-dir.")
    if given["output_dir"] is None and given["overwrite"]:
        raise click.UsageError("--overwrite is for files; say where they are with --output-dir.")


def _title(given: dict[str, Any]) -> str:
    """What to call the sound in messages."""
    return "the microphone" if given["file"] is None else describe_source(given["file"])


def _asked(given: dict[str, Any]) -> dict[str, object]:
    """What was asked of the model, by the names that `transcribe` has for it."""
    named = {name: given[name] for name in ("language", "target_lang", "policy", "chunk") if given[name] is not None}
    changed = {name: given[name] for name in ("itn", "context") if given[name]}
    return {"file": _title(given), **named, **({"pnc": False} if given["no_pnc"] else {}), **changed}


def _streams(model: CanaryModel, given: dict[str, Any], settings: StreamingOptions) -> list[StreamingSession]:
    """One for the text, and one for its translation."""
    targets = [None] if given["target_lang"] is None else [None, given["target_lang"]]
    streams = [
        model.stream(
            language=given["language"],
            target_lang=target,
            pnc=not given["no_pnc"],
            itn=given["itn"],
            context=given["context"],
            options=settings,
        )
        for target in targets
    ]
    if len({stream.target_lang for stream in streams}) < len(streams):
        raise click.UsageError(f"--to {given['target_lang']} is the language spoken.")
    return streams


def _source(given: dict[str, Any], model: CanaryModel) -> Iterator[Audio]:
    if given["file"] is None:
        return microphone(given["device"])
    if given["file"] == "-":
        return raw_stdin()
    return recording(given["file"], model.config.preprocessor.sample_rate, not given["fast"])


class _Interruption:
    """Ctrl-C, or another wish that it ends, kept until a block of sound is done and what was said is saved.

    While nothing but the next block is waited for it interrupts at once; so does a second Ctrl-C.
    """

    def __init__(self) -> None:
        self.waiting = self.asked = False
        self.exit_code = 0
        """By convention, of a process that was asked to end by anything but Ctrl-C."""

    def __enter__(self) -> _Interruption:
        # `nohup` has a closed terminal ignored.
        numbers = [n for n in _ENDINGS if n == signal.SIGINT or signal.getsignal(n) is not signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._end) for number in numbers}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _end(self, number: int, frame: FrameType | None) -> None:
        is_repeated, self.asked = self.asked, True
        if number != signal.SIGINT:
            self.exit_code = 128 + number
        if self.waiting or (is_repeated and number == signal.SIGINT):
            self.waiting = False
            raise KeyboardInterrupt

    def next_block(self, source: Iterator[Audio]) -> Audio | None:
        """The next block; None at the end of the sound, or where it is ended."""
        if self.asked:
            return None
        try:
            self.waiting = True
            return next(source, None)
        except KeyboardInterrupt:
            return None
        finally:
            self.waiting = False


def _write_down(
    source: Iterator[Audio], streams: list[StreamingSession], interruption: _Interruption
) -> tuple[list[Transcript], Exception | None]:
    """The whole texts, and what went wrong, which is no reason to lose what was said before."""
    transcripts: list[Transcript] = []
    error: Exception | None = None
    try:
        with captions([stream.target_lang for stream in streams]) as shown:
            click.echo("Listening. Ctrl-C ends it.", err=True)
            error = _listen(source, streams, shown, interruption)
            transcripts = [stream.finish() for stream in streams]
            shown.show([Update(t.text, "") for t in transcripts], [stream.segments for stream in streams])
    except OSError as unwritable:  # nobody reads the output any more
        error = error or unwritable
    return transcripts or [stream.finish() for stream in streams], error


def _listen(
    source: Iterator[Audio], streams: list[StreamingSession], shown: Captions, interruption: _Interruption
) -> AudioError | None:
    """Until the sound ends or is ended; or fails."""
    try:
        while (block := interruption.next_block(source)) is not None:
            shown.show([stream.add_audio(block) for stream in streams], [stream.segments for stream in streams])
    except AudioError as error:
        return error
    return None
