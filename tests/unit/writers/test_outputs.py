"""Names and files: nothing leaves the folder, nothing is replaced unasked, nothing is half written."""

from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from transcripts import spoken, transcript

from mlx_canary.errors import CanaryError
from mlx_canary.writers import (
    OutputError,
    OutputSource,
    OutputTarget,
    SubtitleOptions,
    name_outputs,
    plan_outputs,
    read_json,
    write_file,
    write_outputs,
)
from mlx_canary.writers.files import is_open_elsewhere

TALK = transcript(spoken("Good evening."), lang="en")
GERMAN = transcript(spoken("Guten Abend."), lang="de")
DAY = date(2026, 1, 31)


def planned(sources: list[OutputSource], formats: str, target: OutputTarget) -> list[str]:
    plans = plan_outputs(sources, formats, target)
    return [output.path.relative_to(target.folder).as_posix() for plan in plans for output in plan]


def one(template: str, folder: Path, recording: str = "some/where/talk.mp3", **more: object) -> str:
    [name] = planned([OutputSource(recording, ("de",), 3)], "srt", OutputTarget(folder, template, day=DAY, **more))
    return name


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{stem}.{ext}", "talk.srt"),
        ("{name}.{lang}.{format}", "talk.mp3.de.srt"),
        ("{parent}/{n}-{date}.{ext}", "where/3-2026-01-31.srt"),
        ("{{{stem}}}.{ext}", "{talk}.srt"),
    ],
)
def test_templates_fill_their_placeholders(template, name, tmp_path):
    assert one(template, tmp_path) == name


@pytest.mark.parametrize(
    ("recording", "name"),
    [
        ("-", "stdin.srt"),
        ("https://example.org/a/my%20talk.mp3?x=1", "my talk.srt"),
        ("https://example.org/a%2F..%2F..%2Fb.mp3", "b.srt"),
        ("https://example.org", "recording.srt"),
        ("..", f"{Path.cwd().parent.name or 'recording'}.srt"),
        ("talk.2026.wav", "talk.2026.srt"),
        ("a\\..\\b\n.wav", "a_.._b_.srt"),
    ],
)
def test_recordings_of_all_kinds_have_names(recording, name, tmp_path):
    assert one("{stem}.{ext}", tmp_path, recording) == name


@pytest.mark.parametrize(
    "placeholder", ["{}", "{what}", "{stem!r}", "{stem:>9}", "{stem.__class__}", "{0}", "{stem[0]}"]
)
def test_unknown_placeholders_are_named_with_the_known(placeholder, tmp_path):
    with pytest.raises(OutputError, match=rf"placeholder {re.escape(placeholder)}\. Known are: {{stem}}, .*{{date}}"):
        one(placeholder + ".{ext}", tmp_path)


@pytest.mark.parametrize("template", ["{stem", "stem}"])
def test_single_braces_are_explained(template, tmp_path):
    with pytest.raises(OutputError, match="single brace"):
        one(template, tmp_path)


@pytest.mark.parametrize("template", ["../{stem}.{ext}", "/tmp/{stem}.{ext}", "a/../../{stem}.{ext}", ".."])
def test_names_stay_in_the_folder(template, tmp_path):
    with pytest.raises(OutputError, match="outside the output folder"):
        one(template, tmp_path)


@pytest.mark.parametrize("template", ["", ".", "{stem}/", "a\0b", "a\nb"])
def test_what_is_no_file_name_is_refused(template, tmp_path):
    with pytest.raises(OutputError, match="no file name"):
        one(template or "./", tmp_path)


def test_links_do_not_lead_out_of_the_folder(tmp_path):
    folder, outside = tmp_path / "out", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (folder / "link").symlink_to(outside)
    with pytest.raises(OutputError, match="through a link"):
        one("link/{stem}.{ext}", folder)


def test_names_too_long_are_noticed_before_the_work(tmp_path):
    with pytest.raises(OutputError, match="longer than 255 bytes"):
        one("{stem}.{ext}", tmp_path, "ö" * 126 + ".mp3")
    assert len(one("{stem}.{ext}", tmp_path, "ö" * 125 + "o.mp3").encode()) == 255


@pytest.mark.parametrize(
    "recordings",
    [
        ("a/talk.mp3", "b/talk.mp3"),
        ("talk.mp3", "talk.wav"),
        ("Talk.mp3", "talk.wav"),
        ("Z\u00fcrich.mp3", "Zu\u0308rich.wav"),
        ("talk.mp3", "talk.mp3"),
    ],
)
def test_recordings_that_would_share_a_name_are_noticed(recordings, tmp_path):
    sources = [OutputSource(name, ("en",), n) for n, name in enumerate(recordings, 1)]
    with pytest.raises(OutputError, match=r"would be both .* Tell them apart"):
        plan_outputs(sources, "srt", OutputTarget(tmp_path))
    assert len(plan_outputs(sources, "srt", OutputTarget(tmp_path, "{n}-{stem}.{ext}"))) == 2


def test_formats_and_languages_that_would_share_a_name_are_noticed(tmp_path):
    with pytest.raises(OutputError, match="would be both"):
        plan_outputs([OutputSource("talk.mp3", ("en",))], "srt,vtt", OutputTarget(tmp_path, "{stem}"))
    with pytest.raises(OutputError, match="would be both"):
        plan_outputs([OutputSource("talk.mp3", ("en", "de"))], "srt", OutputTarget(tmp_path, "{stem}.{ext}"))


def test_a_recording_is_never_replaced(tmp_path):
    """`{name}` alone would write the subtitles over the recording."""
    recording = tmp_path / "talk.mp3"
    with pytest.raises(OutputError, match="would be both the recording"):
        one("{name}", tmp_path, str(recording), overwrite=True)


def test_languages_that_are_not_known_yet_are_no_excuse(tmp_path):
    """Two recordings may turn out to be in one language; their names must differ in more."""
    target = OutputTarget(tmp_path, "{stem}.{lang}.{ext}")
    sources = [OutputSource("a/talk.mp3", (None,)), OutputSource("b/talk.mp3", ("de",))]
    with pytest.raises(OutputError, match="would be both"):
        plan_outputs(sources, "srt", target)
    assert planned(sources[:1], "srt", target) == ["talk.und.srt"]


def test_several_languages_get_a_file_each_or_share_subtitles(tmp_path):
    source = OutputSource("talk.mp3", ("en", "de"))
    assert planned([source], "srt,txt", OutputTarget(tmp_path)) == [
        "talk.en.srt", "talk.de.srt", "talk.en.txt", "talk.de.txt",
    ]  # fmt: skip
    assert planned([source], "srt,txt", OutputTarget(tmp_path, bilingual=True)) == [
        "talk.en-de.srt", "talk.en.txt", "talk.de.txt",
    ]  # fmt: skip


def test_outputs_are_written_where_planned(tmp_path):
    target = OutputTarget(tmp_path / "new" / "folder", bilingual=True)
    [plan] = plan_outputs([OutputSource("talk.mp3", ("en", "de"))], "all", target)
    written = write_outputs([TALK, GERMAN], "all", target, "talk.mp3", subtitles=SubtitleOptions(max_lines=1))
    assert written == [output.path for output in plan]
    assert sorted(path.name for path in target.folder.iterdir()) == sorted(path.name for path in written)
    assert (target.folder / "talk.de.txt").read_text("utf-8") == "Guten Abend.\n"
    assert "Guten Abend." in (target.folder / "talk.en-de.srt").read_text("utf-8")


def test_a_transcript_brings_its_translations(tmp_path):
    """They were left out where a program gave the transcript as the model made it."""
    both, target = replace(TALK, translations=(GERMAN,)), OutputTarget(tmp_path, bilingual=True)
    written = write_outputs(both, "json,srt", target, "talk.mp3")
    assert [path.name for path in written] == ["talk.en.json", "talk.de.json", "talk.en-de.srt"]
    assert [read_json(path.read_text("utf-8")) for path in written[:2]] == [TALK, GERMAN]
    assert "Guten Abend." in written[2].read_text("utf-8")
    assert write_outputs([both], "txt", target, "talk.mp3") == [tmp_path / "talk.txt"]


def test_what_exists_is_replaced_only_when_told(tmp_path):
    path = tmp_path / "talk.txt"
    path.write_text("mine")
    with pytest.raises(OutputError, match=r"talk.txt exists\..*overwrite"):
        plan_outputs([OutputSource("talk.mp3", ("en",))], "txt", OutputTarget(tmp_path))
    with pytest.raises(OutputError, match="exists"):
        write_outputs(TALK, "srt,txt", OutputTarget(tmp_path), "talk.mp3")
    assert [child.name for child in tmp_path.iterdir()] == ["talk.txt"]
    assert path.read_text() == "mine"
    write_outputs(TALK, "txt", OutputTarget(tmp_path, overwrite=True), "talk.mp3")
    assert path.read_text() == "Good evening.\n"


def test_what_appears_during_the_work_is_not_replaced(tmp_path):
    path = tmp_path / "talk.txt"
    path.write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        write_file(path, "new", overwrite=False)
    assert path.read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("exists", [True, False])
def test_folders_without_hard_links_work_too(tmp_path, monkeypatch, exists):
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    path = tmp_path / "talk.txt"
    if exists:
        path.write_text("mine")
        with pytest.raises(OutputError, match="exists"):
            write_file(path, "new", overwrite=False)
    else:
        write_file(path, "new", overwrite=False)
    assert path.read_text() == ("mine" if exists else "new")
    assert len(list(tmp_path.iterdir())) == 1


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "talk.txt"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(CanaryError, match=r"talk.txt cannot be written: No space left on device\.$"):
        write_file(path, "new", overwrite=True)
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_file(path, "text", overwrite=True)
        assert os.read(reader, 99) == b"text"
    finally:
        os.close(reader)
    assert path.is_fifo()
    assert all(map(is_open_elsewhere, (path, Path("/dev/stdout"), Path("/dev/fd/1"))))
    assert not any(map(is_open_elsewhere, (tmp_path, tmp_path / "a.txt", Path("/dev/shm/a.txt"))))


def test_a_folder_that_is_a_file_is_noticed_before_the_work(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputError, match="not a folder that may be written to"):
        plan_outputs([OutputSource("talk.mp3", ("en",))], "txt", OutputTarget(tmp_path / "out"))
    with pytest.raises(OutputError, match="cannot be written"):
        write_file(tmp_path / "out" / "talk.txt", "new", overwrite=False)


def test_a_closed_folder_is_noticed_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OutputError, match="not a folder that may be written to"):
        plan_outputs([OutputSource("talk.mp3", ("en",))], "txt", OutputTarget(tmp_path))


def test_a_folder_in_the_place_of_a_file_is_noticed(tmp_path):
    (tmp_path / "talk.txt").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        plan_outputs([OutputSource("talk.mp3", ("en",))], "txt", OutputTarget(tmp_path, overwrite=True))


def test_files_have_the_usual_permissions(tmp_path):
    """Temporary files are often closed to others; the finished file must not inherit that."""
    write_file(tmp_path / "talk.txt", "text", overwrite=False)
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "talk.txt").stat().st_mode) == 0o666 & ~mask


def test_nothing_is_written_where_one_format_fails(tmp_path):
    with pytest.raises(OutputError, match="not known"):
        write_outputs(TALK, "txt,doc", OutputTarget(tmp_path), "talk.mp3")
    assert list(tmp_path.iterdir()) == []


def test_outputs_lie_in_the_subfolder_of_their_recording(tmp_path):
    target = OutputTarget(tmp_path)
    sources = [OutputSource(f"{name}/talk.mp3", ("de",), subfolder=Path(name)) for name in ("a", "b")]
    assert planned(sources, "srt", target) == ["a/talk.srt", "b/talk.srt"]
    [path] = write_outputs(GERMAN, "srt", target, "b/talk.mp3", subfolder=Path("b"))
    assert path == tmp_path / "b/talk.srt"
    assert path.exists()


def test_names_can_be_asked_for_whether_or_not_they_are_taken(tmp_path):
    (tmp_path / "talk.srt").touch()
    [[output]] = name_outputs([OutputSource("talk.mp3", ("de",))], "srt", OutputTarget(tmp_path))
    assert output.path == tmp_path / "talk.srt"
