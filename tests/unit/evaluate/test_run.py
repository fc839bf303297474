"""Items are heard as transcription hears them, in their languages; what was heard is not heard again."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from conftest import DATA, WAVS, loaded

from mlx_canary import Audio, CanaryModel, EvaluationError, PromptError, TranscriptionOptions, Word
from mlx_canary.evaluate.journal import Heard, Journal
from mlx_canary.evaluate.manifest import Item, Manifest, Problem
from mlx_canary.evaluate.report import make_report
from mlx_canary.evaluate.report_text import render_report
from mlx_canary.evaluate.run import Evaluation, evaluate, options_for

SPEECH, CHIRP = (DATA / "audio" / WAVS[name] for name in ("speech", "chirp"))
ENGLISH = TranscriptionOptions(language="en")


def manifest(*items: Item) -> Manifest:
    return Manifest(items, ())


def item(line: int = 1, audio: Path = CHIRP, **known: object) -> Item:
    return replace(Item(audio.name, line, audio, "Hello, the weather is old."), **known)


def heard(text: str, source: str = "en", target: str = "en", **more: object) -> Heard:
    return replace(Heard(text, source, target, 2.0, 0.5), **more)


def report_of(evaluation: Evaluation, n_worst: int = 5):
    return make_report(evaluation, model="m", manifest="x.jsonl", options={}, n_worst=n_worst)


def test_items_are_heard_as_transcription_hears_them(flash: CanaryModel) -> None:
    evaluation = evaluate(flash, manifest(item(1, SPEECH), item(2)), ENGLISH)
    expected = [flash.transcribe(audio, language="en") for audio in (SPEECH, CHIRP)]
    assert [h.text for _, h in evaluation.heard] == [transcript.text for transcript in expected]
    assert [h.duration for _, h in evaluation.heard] == [transcript.duration for transcript in expected]
    assert all(h.seconds >= 0 for _, h in evaluation.heard)


def test_part_of_a_file(flash: CanaryModel) -> None:
    """From its offset for its duration, and only what is there."""
    parts = [item(1, SPEECH, offset=1.0, duration=2.5), item(2, SPEECH, offset=5.0), item(3, SPEECH, offset=99.0)]
    evaluation = evaluate(flash, manifest(*parts), ENGLISH)
    assert [h.duration for _, h in evaluation.heard] == pytest.approx([2.5, 2.01])
    (problem,) = evaluation.problems
    assert problem.line == 3
    assert "there is nothing at 99.0 s" in problem.error


def test_parts_do_not_keep_their_file(flash: CanaryModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Views of it did: one second of each of sixteen long files held all sixteen in memory."""
    asked: list[Audio] = []
    real = CanaryModel.transcribe_each

    def noted(self, requests, **more):
        asked.extend(source for source, _ in requests)
        return real(self, requests, **more)

    monkeypatch.setattr(CanaryModel, "transcribe_each", noted)
    evaluate(flash, manifest(item(1, SPEECH, offset=1.0, duration=1.0)), ENGLISH)
    (part,) = asked
    assert part.samples.base is None


def test_failures_do_not_stop_the_others(flash: CanaryModel, tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF nothing")
    items = [item(1, broken), item(2, tmp_path / "missing.wav"), item(3, source_lang="pl"), item(5)]
    lines = Manifest(tuple(items), (Problem("line 4", 4, "not JSON"),))
    told: list[int] = []
    evaluation = evaluate(flash, lines, ENGLISH, on_item=lambda item, result: told.append(item.line))
    assert [i.line for i, _ in evaluation.heard] == [5]
    assert [problem.line for problem in evaluation.problems] == [1, 2, 3, 4]
    assert "'pl'" in evaluation.problems[2].error
    assert sorted(told) == [1, 2, 3, 5]


def test_languages_of_the_item_go_before(flash: CanaryModel) -> None:
    german = options_for(item(source_lang="de", target_lang="en"), ENGLISH, None, flash)
    assert (german.language, german.task, german.target_lang) == ("de", "translate", "en")
    same = options_for(item(source_lang="de", target_lang="de"), ENGLISH, "en", flash)
    assert (same.language, same.task, same.target_lang) == ("de", "transcribe", None)
    default = options_for(item(), ENGLISH, "fr", flash)
    assert (default.language, default.task, default.target_lang) == ("en", "translate", "fr")
    unsaid = options_for(item(target_lang="en"), TranscriptionOptions(), None, flash)
    assert unsaid.task == "transcribe"
    with pytest.raises(PromptError, match="does not know"):
        options_for(item(target_lang="pl"), ENGLISH, None, flash)


def test_word_times_are_asked_for_where_they_are_known() -> None:
    model = CanaryModel(loaded("canary2-unified"))
    known = item(1, SPEECH, words=(Word("x", 0, 1),))
    evaluation = evaluate(model, manifest(known, item(2, SPEECH)), ENGLISH)
    with_times, without = (h for _, h in evaluation.heard)
    assert with_times.words == model.transcribe(SPEECH, language="en", timestamps="word").words
    assert without.words == ()


def test_what_was_heard_is_not_heard_again(flash: CanaryModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second run needs the model only for what failed, and reports the same."""
    path, items = tmp_path / "notes/x.jsonl", [item(1, SPEECH), item(2), item(3, tmp_path / "late.wav")]
    first = evaluate(flash, manifest(*items), ENGLISH, journal=Journal(path, {"a": 1}, resume=False))
    (tmp_path / "late.wav").write_bytes(CHIRP.read_bytes())
    asked: list[int] = []
    real = CanaryModel.transcribe_each
    monkeypatch.setattr(
        CanaryModel, "transcribe_each", lambda self, r, **more: asked.append(len(r)) or real(self, r, **more)
    )
    second = evaluate(flash, manifest(*items), ENGLISH, journal=Journal(path, {"a": 1}, resume=True))
    assert asked == [1]
    assert second.heard[:2] == first.heard
    assert not second.problems


def test_journal_of_other_conditions_or_files_does_not_count(tmp_path: Path) -> None:
    path, file = tmp_path / "x.jsonl", tmp_path / "a.wav"
    file.write_bytes(b"1")
    one = item(1, file)
    journal = Journal(path, {"model": "a"}, resume=False)
    journal.note(one, heard("Hi.", words=(Word("Hi.", 0.0, 0.5),)))
    assert Journal(path, {"model": "a"}, resume=True).find(replace(one, line=7)) == heard(
        "Hi.", words=(Word("Hi.", 0.0, 0.5),)
    )
    assert Journal(path, {"model": "a"}, resume=True).find(replace(one, text="Ho.")) is None
    file.write_bytes(b"12")
    assert Journal(path, {"model": "a"}, resume=True).find(one) is None
    assert Journal(path, {"model": "b"}, resume=True).find(one) is None
    file.write_bytes(b"1")
    assert Journal(path, {"model": "a"}, resume=True).find(one) is None, "the run with another model began anew"


def test_line_that_was_cut_off_does_not_count(tmp_path: Path) -> None:
    path, one, two = tmp_path / "x.jsonl", item(1, SPEECH), item(2)
    journal = Journal(path, {}, resume=False)
    journal.note(one, heard("one"))
    journal.note(two, heard("two"))
    path.write_bytes(path.read_bytes()[:-9])
    resumed = Journal(path, {}, resume=True)
    assert resumed.find(one) == heard("one")
    assert resumed.find(two) is None


@pytest.mark.parametrize(
    "edit",
    ['{"key": "a", "heard": 3}', '{"key": "a"}', "3", '{"key": ' + "[" * 100_000, '{"text": "of an older form"}'],
)
def test_line_of_another_form_does_not_count(tmp_path: Path, edit: str) -> None:
    path, one, two = tmp_path / "x.jsonl", item(1, SPEECH), item(2)
    journal = Journal(path, {}, resume=False)
    journal.note(one, heard("one"))
    with path.open("a") as file:
        file.write(edit + "\n")
    journal.note(two, heard("two"))
    resumed = Journal(path, {}, resume=True)
    assert resumed.find(one) == heard("one")
    assert resumed.find(two) is None


def test_journal_in_whose_place_something_else_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Here a folder: each ended in a traceback."""
    path = tmp_path / "x.jsonl"
    path.mkdir()
    with pytest.raises(EvaluationError, match=r"cannot be read .Is a directory.*without resuming"):
        Journal(path, {}, resume=True)
    with pytest.raises(EvaluationError, match=r"cannot be written .Is a directory"):
        Journal(path, {}, resume=False)
    assert list(tmp_path.iterdir()) == [path]
    path.rmdir()
    journal = Journal(path, {}, resume=False)
    path.unlink()
    path.mkdir()
    with pytest.raises(EvaluationError, match=r"cannot be written .Is a directory"):
        journal.note(item(), heard("one"))
    journal.delete()  # the scores are written by then
    assert "x.jsonl is not needed any more, but cannot be deleted" in caplog.text


def test_names_that_no_file_can_have(flash: CanaryModel, tmp_path: Path) -> None:
    """With notes, a null character ended the whole evaluation."""
    impossible = manifest(item(1, tmp_path / "a\0.wav"), item(2, tmp_path / "\ud800.wav"))
    evaluation = evaluate(flash, impossible, ENGLISH, journal=Journal(tmp_path / "x.jsonl", {}, resume=False))
    assert [problem.line for problem in evaluation.problems] == [1, 2]


SPOKEN = (
    (item(1, text="red green blue white"), heard("red green blue wide")),
    (item(2, text="eins zwei"), heard("Eins, zwei!", "de", "de")),
    (item(3, text="black grey"), heard("black grey brown pink")),
    (item(4, text="Guten Abend."), heard("Guten Abend.", "en", "de")),
)


def test_groups_are_languages_and_directions() -> None:
    """English: one substitution and two insertions in six words. German is right but for its punctuation."""
    report = report_of(Evaluation(SPOKEN, ()))
    assert list(report.languages) == ["de", "en", "en->de"]
    english, german, translated = (report.languages[name] for name in ("en", "de", "en->de"))
    assert english.wer.raw == pytest.approx(3 / 6)
    assert german.wer.raw == 1.0
    assert german.wer.normalised == 0.0
    assert translated.wer is None
    assert translated.translation.chrf == pytest.approx(100)
    assert report.transcripts.n_files == 3
    assert report.transcripts.wer.raw == pytest.approx(5 / 8)
    assert (report.audio_seconds, report.seconds, report.rtfx) == (8.0, 2.0, 4.0)


def test_worst_files_come_first_and_right_ones_never() -> None:
    report = report_of(Evaluation(SPOKEN, ()))
    assert [file.line for file in report.worst] == [3, 1]
    assert [file.line for file in report_of(Evaluation(SPOKEN, ()), n_worst=1).worst] == [3]


def test_words_where_nothing_is_said_are_wrong() -> None:
    report = report_of(Evaluation(((item(1, text=""), heard("Thank you.")),), ()))
    assert report.languages["en"].wer.raw is None
    assert report.files[0].wer is None
    assert [file.line for file in report.worst] == [1]
    assert "Thank you." in render_report(report)


def test_time_scores() -> None:
    words, found = (Word("a", 0.0, 1.0), Word("b", 1.0, 2.0)), (Word("A", 0.5, 1.0), Word("c", 1.0, 2.0))
    report = report_of(Evaluation(((item(1, text="a b", words=words), heard("A c", words=found)),), ()))
    times = report.languages["en"].times
    assert (times.n_reference, times.n_compared) == (2, 1)
    assert (times.starts.median, times.ends.percentile_90) == (0.5, 0.0)
    assert "500 ms" in render_report(report)


def test_json_keeps_its_form() -> None:
    """Programs read it: a change here needs another report_version and a line in the changelog."""
    values = json.loads(json.dumps(asdict(report_of(Evaluation(SPOKEN, (Problem("line 9", 9, "not JSON"),))))))
    assert values["report_version"] == 1
    assert list(values) == [
        *("report_version", "mlx_canary", "model", "manifest", "options", "n_files", "n_failed", "audio_seconds"),
        *("seconds", "rtfx", "transcripts", "languages", "worst", "files", "problems"),
    ]
    group = values["languages"]["en"]
    assert list(group) == ["n_files", "audio_seconds", "wer", "cer", "translation", "times"]
    assert list(group["wer"]) == ["raw", "normalised", "n_reference", "n_reference_normalised"]
    translation = values["languages"]["en->de"]["translation"]
    assert list(translation) == ["bleu", "chrf", "bleu_signature", "chrf_signature"]
    assert list(values["files"][0]) == [
        *(
            "name",
            "line",
            "source_lang",
            "target_lang",
            "audio_seconds",
            "reference",
            "hypothesis",
            "wer",
            "cer",
            "chrf",
        ),
    ]
    assert values["problems"] == [{"name": "line 9", "line": 9, "error": "not JSON"}]
