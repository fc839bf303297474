"""Subtitles as parsers that others maintain read them."""

from __future__ import annotations

import html
import io
import re
from itertools import pairwise

import pysubs2
import pytest
import srt
import webvtt
from hypothesis import given
from transcripts import options, spoken, transcript, transcripts

from mlx_canary.types import Segment, Transcript
from mlx_canary.writers import WRITERS, OutputError, SubtitleOptions, parse_formats, render
from mlx_canary.writers.clock import ass_time, centiseconds, lrc_time, srt_time, vtt_time
from mlx_canary.writers.cues import Cue, make_cues
from mlx_canary.writers.options import Provenance

PLAIN = SubtitleOptions()
HIGHLIGHT = SubtitleOptions(highlight_words=True)
TALK = transcript(spoken("Good evening everyone, we are glad. You came early tonight, did you not?"), lang="en")
GERMAN = transcript(spoken("Guten Abend, wir freuen uns. Sie kamen heute früh, oder nicht?"), lang="de")
NASTY = transcript(
    Segment("He wrote <i>x</i> & {\\an8} --> 00:00:01,000 --> 00:00:02,000\nand\t1984 \\N [00:01.00]", 0.0, 6.0)
)


def cue_texts(cues: list[Cue]) -> list[str]:
    return ["\n".join(line for text in cue.texts for line in text.line_texts) for cue in cues]


def parse_vtt(text: str) -> list[tuple[str, str, str]]:
    return [(cue.start, cue.end, cue.raw_text) for cue in webvtt.from_buffer(io.StringIO(text))]


@given(transcripts(), options())
def test_srt_reads_back(given_transcript, chosen):
    chosen = plain(chosen)
    cues = make_cues([given_transcript], chosen)
    parsed = list(srt.parse(render(given_transcript, "srt", chosen)))
    assert [entry.index for entry in parsed] == list(range(1, len(cues) + 1))
    times = [(entry.start.total_seconds(), entry.end.total_seconds()) for entry in parsed]
    assert times == [(cue.start, cue.end) for cue in cues]
    swap = str.maketrans({"<": "‹", ">": "›", "{": "(", "}": ")"})
    expected = [text.replace("-->", "→").translate(swap) for text in cue_texts(cues)]
    assert [entry.content.replace("\u2060", "") for entry in parsed] == expected


@given(transcripts(), options())
def test_vtt_reads_back(given_transcript, chosen):
    chosen = plain(chosen)
    cues = make_cues([given_transcript], chosen)
    parsed = parse_vtt(render(given_transcript, "vtt", chosen))
    assert [(start, end) for start, end, _ in parsed] == [(vtt_time(cue.start), vtt_time(cue.end)) for cue in cues]
    assert [html.unescape(text) for _, _, text in parsed] == cue_texts(cues)


@given(transcripts(), options())
def test_ass_reads_back(given_transcript, chosen):
    cues = make_cues([given_transcript], chosen)
    parsed = pysubs2.SSAFile.from_string(render(given_transcript, "ass", chosen), "ass")
    assert [(event.start, event.end) for event in parsed] == [
        (centiseconds(cue.start) * 10, centiseconds(cue.end) * 10) for cue in cues
    ]
    assert all(event.start < event.end for event in parsed)
    expected = [text.replace("{", "(").replace("}", ")") for text in cue_texts(cues)]
    assert [event.plaintext.replace("\u2060", "") for event in parsed] == expected


@given(transcripts(), transcripts("de"), options())
def test_every_format_writes_anything(first, second, chosen):
    for name in ("srt", "vtt", "ass", "lrc"):
        text = render([first, second], name, chosen)
        assert text.endswith("\n") or not text
        assert "\r" not in text


@pytest.mark.parametrize("format", ["srt", "vtt", "ass"])
def test_pysubs2_reads_what_it_was_told(format):
    parsed = pysubs2.SSAFile.from_string(render(TALK, format), format)
    assert [event.plaintext for event in parsed] == cue_texts(make_cues([TALK], PLAIN))


@pytest.mark.parametrize("format", ["srt", "ass"])
def test_text_that_looks_like_markup_stays_text(format):
    """Players read srt as they read ass: `{x}` would not be seen, `\\N` would begin a line. pysubs2 does likewise."""
    parsed = pysubs2.SSAFile.from_string(render(NASTY, format), format)
    assert len(parsed) == len(make_cues([NASTY], PLAIN))
    text = " ".join(event.plaintext for event in parsed).replace("\n", " ").replace("\u2060", "")
    for word in ("He", "wrote", "x", "1984", "[00:01.00]", "\\N", "(\\an8)"):
        assert word in text


def test_vtt_keeps_markup_as_text():
    assert html.unescape(" ".join(text for _, _, text in parse_vtt(render(NASTY, "vtt")))).split() == NASTY.text.split()


def test_srt_numbers_alone_stay_text():
    talk = transcript(spoken("1984", 0.0), spoken("2001", 5.0))
    assert [entry.content for entry in srt.parse(render(talk, "srt"))] == ["1984", "2001"]


def test_srt_underlines_one_word_after_the_other():
    parsed = list(srt.parse(render(transcript(spoken("one two three")), "srt", HIGHLIGHT)))
    assert [entry.content for entry in parsed] == [
        "<u>one</u> two three",
        "one <u>two</u> three",
        "one two <u>three</u>",
    ]
    assert all(before.end == after.start for before, after in pairwise(parsed))


def test_vtt_words_carry_their_times():
    [(_, _, text)] = parse_vtt(render(transcript(spoken("one two & three")), "vtt", HIGHLIGHT))
    assert text == "one <00:00:00.500><c>two</c> <00:00:01.000><c>&amp;</c> <00:00:01.500><c>three</c>"


def test_vtt_says_which_lines_are_which_language():
    [first, *_] = parse_vtt(render([TALK, GERMAN], "vtt"))
    assert first[2].startswith("<lang en>Good evening")
    assert "<lang de>Guten Abend" in first[2]


@given(transcripts(), options())
def test_ass_syllables_fill_the_cue(given_transcript, chosen):
    text = render(given_transcript, "ass", SubtitleOptions(highlight_words=True, max_line_chars=chosen.max_line_chars))
    for event in pysubs2.SSAFile.from_string(text, "ass"):
        assert sum(map(int, re.findall(r"\{\\k(\d+)\}", event.text))) * 10 == event.duration
        assert "\\k0" not in event.text


def test_ass_translations_have_their_own_style():
    parsed = pysubs2.SSAFile.from_string(render([TALK, GERMAN], "ass"), "ass")
    assert "Translation" in parsed.styles
    assert all("{\\rTranslation}" in event.text for event in parsed)


def test_lrc_has_a_line_per_cue_and_clears_the_screen():
    talk = transcript(spoken("one [00:99.00] <two>"), spoken("three", start=3700.0))
    assert render(talk, "lrc").splitlines() == [
        "[re:mlx-canary]",
        "[00:00.00]one (00:99.00) ‹two›",
        "[00:01.40]",
        "[61:40.00]three",
        "[61:41.00]",
    ]


def test_lrc_words_carry_their_times():
    assert "[00:00.00]<00:00.00>one <00:00.50>two\n" in render(transcript(spoken("one two")), "lrc", HIGHLIGHT)


def test_tsv_keeps_its_columns():
    rows = [line.split("\t") for line in render(NASTY, "tsv").splitlines()]
    assert rows[0] == ["start", "end", "text"]
    assert rows[1][:2] == ["0", "6000"]
    assert [len(row) for row in rows] == [3, 3]


def test_txt_has_a_line_per_segment():
    talk = transcript(spoken("One two."), Segment(" ", 2.0, 3.0), spoken("10\u00a0000 three.", start=4.0))
    assert render(talk, "txt") == "One two.\n10\u00a0000 three.\n"


def test_an_empty_transcript_can_be_written():
    """A recording of silence is no error, and its files can be read."""
    silence = Transcript((), "en", "en", 10.0)
    assert render(silence, "txt") == ""
    assert list(srt.parse(render(silence, "srt"))) == []
    assert parse_vtt(render(silence, "vtt", HIGHLIGHT)) == []
    assert len(pysubs2.SSAFile.from_string(render(silence, "ass"), "ass")) == 0
    assert all(isinstance(render(silence, name), str) for name in WRITERS)


@pytest.mark.parametrize(
    ("time", "as_srt", "as_ass", "as_lrc"),
    [
        (0.0, "00:00:00,000", "0:00:00.00", "00:00.00"),
        (59.9996, "00:01:00,000", "0:01:00.00", "01:00.00"),
        (59.996, "00:00:59,996", "0:01:00.00", "01:00.00"),
        (3599.9999, "01:00:00,000", "1:00:00.00", "60:00.00"),
        (3723.456, "01:02:03,456", "1:02:03.46", "62:03.46"),
        (0.0005, "00:00:00,001", "0:00:00.00", "00:00.00"),
        (360_000.5, "100:00:00,500", "100:00:00.50", "6000:00.50"),
    ],
)
def test_times_round_before_they_are_divided(time, as_srt, as_ass, as_lrc):
    assert srt_time(time) == as_srt
    assert vtt_time(time) == as_srt.replace(",", ".")
    assert ass_time(time) == as_ass
    assert lrc_time(time) == as_lrc


def test_recordings_over_99_hours_read_back():
    talk = transcript(spoken("late words", start=360_000.0))
    [entry] = srt.parse(render(talk, "srt"))
    assert entry.start.total_seconds() == 360_000
    assert parse_vtt(render(talk, "vtt"))[0][0] == "100:00:00.000"


def test_formats_come_as_lists_names_and_all():
    assert parse_formats("srt, VTT") == ("srt", "vtt")
    assert parse_formats(["srt", "json,srt"]) == ("srt", "json")
    assert parse_formats("all") == tuple(WRITERS)
    assert set(WRITERS) == {"txt", "srt", "vtt", "tsv", "json", "lrc", "ass"}


@pytest.mark.parametrize("formats", ["doc", "srt,doc"])
def test_unknown_formats_are_named_with_the_known(formats):
    with pytest.raises(OutputError, match=r"'doc' is not known. Known are: txt, srt, .*, all"):
        parse_formats(formats)


def test_no_format_is_an_error():
    with pytest.raises(OutputError, match="No format"):
        parse_formats(" , ")


def test_two_languages_fit_only_subtitles():
    with pytest.raises(OutputError, match="txt holds one transcript, not 2"):
        render([TALK, GERMAN], "txt")
    with pytest.raises(OutputError, match="srt holds one transcript, not 0"):
        render([], "srt")


def test_provenance_reaches_json():
    assert '"model": "tiny"' in render(TALK, "json", provenance=Provenance("tiny"))


def plain(chosen: SubtitleOptions) -> SubtitleOptions:
    return SubtitleOptions(chosen.max_line_chars, chosen.max_lines, chosen.max_words)
