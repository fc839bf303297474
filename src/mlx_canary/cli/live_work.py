"""The work of `live`: sound in, captions while it goes on, files at the end."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace
from types import FrameType
from typing import Any

import click

from mlx_canary.cli.captions import Captions, captions
from mlx_canary.cli.live_sources import microphone, raw_stdin, recording
from mlx_canary.errors import AudioError
from mlx_canary.model import CanaryModel
from mlx_canary.streaming.options import StreamingOptions
from mlx_canary.streaming.session import StreamingSession, Update
from mlx_canary.types import Audio, Transcript
from mlx_canary.writers import OutputSource, OutputTarget, Provenance, parse_formats, plan_outputs, write_outputs


def run(given: dict[str, Any]) -> None:
    """Do it, until the sound ends or somebody presses Ctrl-C."""
    _check(given)
    settings = StreamingOptions(policy=given["policy"], chunk=given["chunk"])
    click.echo(f"Loading {given['model']}", err=True)
    model = CanaryModel.from_pretrained(given["model"])
    streams = _streams(model, given, settings)
    if given["language"] is None:
        click.echo(f"Language: {streams[0].target_lang} (say another with --language)", err=True)
    formats = parse_formats(given["formats"])
    target = None if given["output_dir"] is None else OutputTarget(given["output_dir"], None, given["overwrite"], False)
    name = "live" if given["file"] is None else given["file"]
    if target is not None:  # a name that is taken is noticed before anybody speaks
        plan_outputs([OutputSource(name, tuple(s.target_lang for s in streams), 1)], formats, target)
    source = _source(given, model)
    with captions([stream.target_lang for stream in streams]) as shown:
        click.echo("Listening. Ctrl-C ends it.", err=True)
        error = _listen(source, streams, shown)
        first, *others = _finish(streams, shown)
    transcript = replace(first, translations=tuple(others))
    # A source that failed before anything was said leaves nothing to save.
    if target is not None and (error is None or transcript.duration):
        provenance = Provenance(model.config.name, {"policy": given["policy"], "chunk": given["chunk"]})
        paths = write_outputs([transcript, *others], formats, target, name, provenance=provenance)
        click.echo(f"Saved {', '.join(map(str, paths))}", err=True)
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


def _streams(model: CanaryModel, given: dict[str, Any], settings: StreamingOptions) -> list[StreamingSession]:
    """One for the text, and one for its translation."""
    targets = [None] if given["target_lang"] is None else [None, given["target_lang"]]
    streams = [
        model.stream(language=given["language"], target_lang=target, pnc=not given["no_pnc"], options=settings)
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
    """Ctrl-C, kept until a block of sound is done: a session must not be left in the middle of one.

    While nothing but the next block is waited for, and when it is pressed again, it interrupts at once.
    """

    def __init__(self) -> None:
        self.waiting = self.asked = False

    def __enter__(self) -> _Interruption:
        self._before = signal.signal(signal.SIGINT, self._pressed)
        return self

    def __exit__(self, *error: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _pressed(self, number: int, frame: FrameType | None) -> None:
        if self.waiting or self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def next_block(self, source: Iterator[Audio]) -> Audio | None:
        """The next block; None at the end of the sound, or where it is ended."""
        if self.asked:
            return None
        self.waiting = True
        try:
            return next(source, None)
        except KeyboardInterrupt:
            return None
        finally:
            self.waiting = False


def _listen(source: Iterator[Audio], streams: list[StreamingSession], shown: Captions) -> AudioError | None:
    """Until the sound ends or is ended; or fails, which is no reason to lose what was said before."""
    with _Interruption() as interruption:
        try:
            while (block := interruption.next_block(source)) is not None:
                shown.show([stream.add_audio(block) for stream in streams], [stream.segments for stream in streams])
        except AudioError as error:
            return error
    return None


def _finish(streams: list[StreamingSession], shown: Captions) -> list[Transcript]:
    """The texts, whole."""
    transcripts = [stream.finish() for stream in streams]
    shown.show([Update(t.text, "") for t in transcripts], [stream.segments for stream in streams])
    return transcripts
