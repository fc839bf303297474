"""What an interrupted run leaves, and what of it the next run may use."""

from __future__ import annotations

import json
import logging
import resource
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_canary import Alternative, Segment, Word
from mlx_canary.longform.journal import Journal, read_finished
from mlx_canary.longform.windows import Window

CONDITIONS = {"model": "m", "options": ("word", None, 1.5)}
FOUND = (Alternative("Eins zwei.", -0.2 / 3), Alternative("Eins, zwei.", -4.5))
TEXTS = (
    (
        Segment(
            "One two.", 0.08, 0.1 + 0.2, (Word("One", 0.08, 0.16, 0.25), Word("two.", 1 / 3, 2 / 3)), 0.5, ("loop",)
        ),
        Segment("", 1.0, 2.0),
    ),
    (Segment("Eins zwei.", 0.0, 2.0, (), None, ("loop", "too_long"), (7, 812), -0.1 / 3, 2e-7, FOUND),),
)


def window(start: float, sound: float = 0.5) -> Window:
    return Window(np.full(160, sound, np.float32), start, start + 0.01)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new folder" / "recording.jsonl"


@pytest.fixture
def interrupted(path):
    """The journal of a run that stopped after three windows."""
    journal = Journal(path, CONDITIONS, resume=False)
    for start in (0.0, 10.0, 20.0):
        journal.note(window(start), TEXTS)
    return journal


def test_everything_comes_back(interrupted, path):
    """Times to the last digit, words, confidences, flags, tokens and their probability, n best, and every text."""
    resumed = Journal(path, CONDITIONS, resume=True)
    assert resumed.n_windows == 3
    assert resumed.find(window(10.0)) == TEXTS
    assert asdict(resumed.find(window(10.0))[1][0]) == asdict(TEXTS[1][0])  # with what == leaves out


@given(text=st.text(), flag=st.text(), start=st.floats(0, 1e5), confidence=st.floats(0, 1))
def test_any_text_comes_back(tmp_path_factory, text, flag, start, confidence):
    """The characters that Unicode ends lines with (U+2028, U+0085) once cut a line in two, and the rest was lost."""
    path = tmp_path_factory.mktemp("journal") / "recording.jsonl"
    texts = ((Segment(text, start, start, (Word(text, start, start, confidence),), confidence, (flag,)),),)
    journal = Journal(path, {"file": text}, resume=False)
    journal.note(window(0.0), texts)
    journal.note(window(1.0), TEXTS)
    resumed = Journal(path, {"file": text}, resume=True)
    assert (resumed.find(window(0.0)), resumed.find(window(1.0))) == (texts, TEXTS)


@pytest.mark.parametrize("n_missing", [1, 2, 30, 200])
def test_a_line_that_was_cut_off_does_not_count(interrupted, path, n_missing):
    path.write_bytes(path.read_bytes()[:-n_missing])
    resumed = Journal(path, CONDITIONS, resume=True)
    # Without its line break a line is whole.
    assert resumed.n_windows == (3 if n_missing == 1 else 2)
    assert resumed.find(window(10.0)) == TEXTS


def test_the_first_note_of_a_resumed_run_mends_the_file(interrupted, path):
    """Appended to the remains of a line, the new one would be lost with them."""
    path.write_bytes(path.read_bytes()[:-20])
    resumed = Journal(path, CONDITIONS, resume=True)
    resumed.note(window(30.0), TEXTS)
    resumed.note(window(40.0), TEXTS)
    again = Journal(path, CONDITIONS, resume=True)
    assert [again.find(window(start)) is not None for start in (0, 10, 20, 30, 40)] == [True, True, False, True, True]
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_the_file_is_whole_while_it_is_mended(interrupted, path, monkeypatch):
    """Emptied first and then written, it lost everything to an interruption in between."""
    resumed = Journal(path, CONDITIONS, resume=True)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        resumed.note(window(30.0), TEXTS)
    monkeypatch.undo()
    assert Journal(path, CONDITIONS, resume=True).n_windows == 3


@pytest.mark.parametrize(
    "other", [{**CONDITIONS, "model": "n"}, {"model": "m"}, {**CONDITIONS, "options": ("word", None, 1.25)}]
)
def test_other_conditions_are_another_result(interrupted, path, other):
    assert Journal(path, other, resume=True).n_windows == 0


@pytest.mark.parametrize(
    "other", [window(10.0, sound=0.25), window(10.5), Window(np.full(161, 0.5, np.float32), 10.0, 10.0 + 161 / 16000)]
)
def test_other_sound_is_another_recording(interrupted, path, other):
    """What comes from standard input or an address may be another recording with pauses at the same places."""
    assert Journal(path, CONDITIONS, resume=True).find(other) is None


def test_it_makes_all_folders_that_are_missing(tmp_path):
    path = tmp_path / "texts" / "2026" / "recording.jsonl"
    Journal(path, CONDITIONS, resume=False).note(window(0.0), TEXTS)
    assert Journal(path, CONDITIONS, resume=True).n_windows == 1


def test_without_resume_it_starts_anew(interrupted, path):
    anew = Journal(path, CONDITIONS, resume=False)
    assert anew.find(window(0.0)) is None
    anew.note(window(50.0), TEXTS)
    assert Journal(path, CONDITIONS, resume=True).n_windows == 1


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"nonsense\n", b"[]\n", b'{"model": "m"', b"\xff\xfe\x00", b"null\nnull\n"]
)
def test_damage_is_as_if_there_were_none(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    journal = Journal(path, CONDITIONS, resume=True)
    assert journal.n_windows == 0
    journal.note(window(0.0), TEXTS)
    assert Journal(path, CONDITIONS, resume=True).n_windows == 1


@pytest.mark.parametrize("line", ["{}", "[]", "3", '{"window": [0], "texts": []}', '{"window": [0, 1, 2], "texts": 3}'])
def test_lines_of_another_form_do_not_count(interrupted, path, line):
    with path.open("a") as file:
        file.write(line + "\n")
    assert Journal(path, CONDITIONS, resume=True).n_windows == 3


def test_it_deletes_itself(interrupted, path):
    interrupted.delete()
    assert not path.exists()
    interrupted.delete()


def test_an_unwritable_place_stops_no_run(path, caplog):
    """Hours of work are not given up for notes about them; the user is told once."""
    path.parent.write_text("a file where the folder should be")
    journal = Journal(path, CONDITIONS, resume=False)
    with caplog.at_level(logging.WARNING, logger="mlx_canary"):
        journal.note(window(0.0), TEXTS)
        journal.note(window(10.0), TEXTS)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "cannot go on where it stopped" in caplog.text
    assert journal.n_windows == 0
    journal.delete()
    assert len(caplog.records) == 1


def test_a_full_disk_leaves_no_piece_behind(path):
    """A `.part` file stayed beside the outputs."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))  # fails like a full disk
    try:
        Journal(path, CONDITIONS, resume=False).note(window(0.0), TEXTS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(path.parent.iterdir()) == []


def test_what_a_full_disk_did_not_take_does_not_count(interrupted, path):
    """The program said that it was kept."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, limits[1]))
    try:
        interrupted.note(window(30.0), TEXTS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert interrupted.n_windows == Journal(path, CONDITIONS, resume=True).n_windows == 3


def test_a_journal_that_cannot_be_deleted_is_no_error(path, caplog):
    """The transcript is written by then. Here a folder has taken its place."""
    path.mkdir(parents=True)
    with caplog.at_level(logging.WARNING, logger="mlx_canary"):
        Journal(path, CONDITIONS, resume=False).delete()
    assert "recording.jsonl is not needed any more, but cannot be deleted" in caplog.text


def test_a_line_is_written_for_each_window(interrupted, path):
    conditions, *windows = [json.loads(line) for line in path.read_text().splitlines()]
    assert conditions["model"] == "m"
    assert [entry["window"][:2] for entry in windows] == [[0.0, 0.01], [10.0, 10.01], [20.0, 20.01]]


EDITS = {
    "a text that is a number": ('"text": "One two."', '"text": 5'),
    "a time that is a text": ('"start": 0.08', '"start": "x"'),
    "a time that is no number": ('"start": 0.08', '"start": NaN'),
    "an endless time": ('"end": 0.16', '"end": 1e999'),
    "a flag that is a number": ('["loop"]', "[1]"),
    "a segment that is a text": ('"texts": [[{', '"texts": [["x", {'),
    "words that are none": ('"words": []', '"words": null'),
    "a key more": ('"flags"', '"evil": 1, "flags"'),
    "a confidence in words": ('"confidence": 0.25', '"confidence": "high"'),
    "brackets": ('"texts": ', '"texts": ' + "[" * 100_000),
    "a list": ("{", "[{"),
}


@pytest.mark.parametrize("what", EDITS)
def test_an_edited_line_counts_as_cut_off(what, interrupted, path):
    """Such lines came back as transcripts, and the run ended in an error far from here."""
    conditions, *lines = path.read_text(encoding="ascii").splitlines()
    edited = [line.replace(*EDITS[what], 1) for line in lines]
    assert edited[0] != lines[0]
    path.write_text("\n".join([conditions, *edited]) + "\n", encoding="ascii")
    assert Journal(path, CONDITIONS, resume=True).n_windows == 0


def test_a_journal_that_cannot_be_read_is_none(path, caplog):
    path.mkdir(parents=True)
    assert Journal(path, CONDITIONS, resume=True).n_windows == 0
    assert "cannot be read" in caplog.text


def test_a_finished_recording_says_so(interrupted, path):
    """With the conditions and what came of it; one that goes on again is not finished."""
    assert read_finished(path) is None
    interrupted.finish({"outputs": ["größe.txt"]})
    conditions, result = read_finished(path)
    assert (conditions["model"], result) == ("m", {"outputs": ["größe.txt"]})
    resumed = Journal(path, CONDITIONS, resume=True)
    assert resumed.n_windows == 3
    resumed.note(window(30.0), TEXTS)
    assert read_finished(path) is None


def test_an_empty_recording_can_be_finished(path):
    Journal(path, CONDITIONS, resume=False).finish({})
    assert read_finished(path)[1] == {}


@pytest.mark.parametrize("content", ["", "[]\n", "{}\n7\n", '{}\n{"finished": []}\n', '{}\n{"finished": {}', "\xff"])
def test_what_is_no_journal_is_not_finished(content, path):
    path.parent.mkdir()
    path.write_text(content, encoding="latin-1")
    assert read_finished(path) is None
