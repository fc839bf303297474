"""What every list of cues keeps to, whatever the transcript and the options."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from transcripts import broken_transcripts, options, spoken, transcript, transcripts

from mlx_canary.types import Segment, Transcript
from mlx_canary.writers import OutputError, SubtitleOptions
from mlx_canary.writers.cues import Cue, make_cues
from mlx_canary.writers.lines import break_lines
from mlx_canary.writers.tokens import split_text

TICK = 0.0011  # times on screen are whole milliseconds


def texts(cues: list[Cue], number: int = 0) -> list[str]:
    return [cue.texts[number].text for cue in cues if cue.texts[number].lines]


def assert_times_rise(cues: list[Cue], duration: float) -> None:
    assert all(cue.start < cue.end for cue in cues)
    assert all(before.end <= after.start for before, after in pairwise(cues))
    latest = max(duration, 0.01 * len(cues)) + 0.0005  # cues begin and end at whole milliseconds
    assert not cues or (cues[0].start >= 0 and cues[-1].end <= latest)


@given(transcripts(), options())
def test_no_word_is_lost_or_doubled(given_transcript, chosen):
    cues = make_cues([given_transcript], chosen)
    assert " ".join(texts(cues)) == given_transcript.text


@given(transcripts(), options())
def test_cues_rise_do_not_overlap_and_stay_inside(given_transcript, chosen):
    assert_times_rise(make_cues([given_transcript], chosen), given_transcript.duration)


@given(broken_transcripts(), options())
def test_any_times_give_cues_that_rise(given_transcript, chosen):
    cues = make_cues([given_transcript], chosen)
    assert_times_rise(cues, given_transcript.duration or 50)
    assert " ".join(texts(cues)) == given_transcript.text


@given(transcripts(), options())
def test_lines_and_words_keep_their_limits(given_transcript, chosen):
    for cue in make_cues([given_transcript], chosen):
        [text] = cue.texts
        assert 1 <= len(text.lines) <= chosen.max_lines
        assert sum(map(len, text.lines)) <= (chosen.max_words or 10**9)
        for line, words in zip(text.line_texts, text.lines, strict=True):
            assert len(line) <= chosen.max_line_chars or len(words) == 1


@given(transcripts(), options())
def test_durations_keep_their_limits(given_transcript, chosen):
    """A cue is shorter than asked only where the next one or the end comes, longer never."""
    cues = make_cues([given_transcript], chosen)
    borders = [*(cue.start for cue in cues), given_transcript.duration + chosen.min_gap][1:]
    for cue, border in zip(cues, borders, strict=True):
        assert cue.end - cue.start <= chosen.max_duration + TICK
        room = max(border - chosen.min_gap - cue.start, (border - cue.start) / 2)
        room = min(room, given_transcript.duration - cue.start)
        assert cue.end - cue.start >= min(chosen.min_duration, room) - 2 * TICK


@given(transcripts(), options())
def test_gaps_keep_their_limit(given_transcript, chosen):
    for before, after in pairwise(make_cues([given_transcript], chosen)):
        gap, slot = after.start - before.end, after.start - before.start
        assert gap >= min(chosen.min_gap, slot / 2, slot - 0.01) - TICK


@given(transcripts(), options())
def test_words_lie_within_their_cue(given_transcript, chosen):
    for cue in make_cues([given_transcript], chosen):
        times = [time for line in cue.texts[0].lines for token in line for time in (token.start, token.end)]
        assert times == sorted(times)
        assert cue.start <= times[0] <= times[-1] <= cue.end


@given(transcripts(), transcripts("de"), options())
@settings(max_examples=60)
def test_two_languages_keep_all_their_words(spoken_text, translation, chosen):
    cues = make_cues([spoken_text, translation], chosen)
    assert_times_rise(cues, spoken_text.duration or translation.duration)
    assert " ".join(texts(cues, 0)) == spoken_text.text
    assert " ".join(texts(cues, 1)) == translation.text
    for cue in cues:
        for text in cue.texts:
            assert len(text.lines) <= chosen.max_lines
            assert all(len(s) <= chosen.max_line_chars or " " not in s for s in text.line_texts)


def test_sentences_begin_cues():
    talk = transcript(spoken("We came early that day. Nobody was there yet. The doors were closed."))
    assert texts(make_cues([talk], SubtitleOptions())) == [
        "We came early that day.",
        "Nobody was there yet.",
        "The doors were closed.",
    ]


def test_sentences_too_short_to_read_stay_together():
    talk = transcript(spoken("Yes. No. Well.", word_duration=0.2))
    assert texts(make_cues([talk], SubtitleOptions())) == ["Yes. No. Well."]


def test_sentences_may_share_a_cue_when_asked():
    talk = transcript(spoken("We came early that day. Nobody was there yet."))
    assert len(make_cues([talk], SubtitleOptions(split_sentences=False))) == 1


def test_long_sentences_are_cut_at_commas():
    talk = transcript(
        spoken("When the rain had stopped at last, the children of the village ran down to the river again", pause=0.0)
    )
    assert texts(make_cues([talk], SubtitleOptions()))[0] == "When the rain had stopped at last,"
    halves = texts(make_cues([talk], SubtitleOptions(split_clauses=False)))
    assert halves[0] == "When the rain had stopped at last, the", "unless they are not asked for"


def test_what_is_said_slowly_stays_until_it_is_said():
    """The longest duration cuts the text, not the time of a text that takes longer."""
    slow = spoken("we are all so very tired now", word_duration=1.9)
    cues = make_cues([transcript(slow)], SubtitleOptions())
    ends = [token.end for cue in cues for line in cue.texts[0].lines for token in line]
    assert ends == pytest.approx([word.end for word in slow.words])


def test_silence_begins_a_cue():
    first, second = spoken("and then he said"), spoken("nothing at all", start=5.0)
    assert texts(make_cues([transcript(first, second)], SubtitleOptions())) == ["and then he said", "nothing at all"]


def test_lines_are_even():
    talk = transcript(spoken("one two three four five six seven eight nine"))
    [cue] = make_cues([talk], SubtitleOptions(max_line_chars=40))
    assert cue.texts[0].line_texts == ["one two three four five", "six seven eight nine"]


def test_of_equal_choices_the_first_line_is_the_shorter():
    assert break_lines([3, 2, 3], [False] * 3, 6) == [range(1), range(1, 3)]


def test_lines_end_with_clauses_rather_than_anywhere():
    assert break_lines([8, 2, 5, 5], [False] * 4, 20) == [range(2), range(2, 4)]
    assert break_lines([8, 2, 5, 5], [True, False, False, False], 20) == [range(1), range(1, 4)]


def test_abbreviations_and_ordinals_do_not_end_sentences():
    talk = transcript(spoken("Am 3. Oktober kam Dr. Weber nach Bonn und blieb."))
    assert len(make_cues([talk], SubtitleOptions())) == 1


def test_no_break_spaces_hold():
    talk = transcript(spoken("exactly 10\u00a0000\u00a0000 people"))
    lines = make_cues([talk], SubtitleOptions(max_line_chars=12))[0].texts[0].line_texts
    assert "10\u00a0000\u00a0000" in " ".join(lines).split(" ")
    assert split_text("a\u00a0b\u202fc d\te") == ["a\u00a0b\u202fc", "d", "e"]


def test_a_word_longer_than_the_line_stands_alone():
    compound = "Donaudampfschifffahrtsgesellschaftskapitän"
    [cue] = make_cues([transcript(spoken(f"der {compound} kam"))], SubtitleOptions(max_line_chars=20, max_lines=3))
    assert cue.texts[0].line_texts == ["der", compound, "kam"]


def test_text_without_word_times_is_spread_by_its_letters():
    """30 letters and 6 spaces in 10 s: the second half of the letters begins at 5 s."""
    segment = Segment("aaaaa bbbbb ccccc ddddd eeeee fffff", 10.0, 20.0)
    cues = make_cues([transcript(segment)], SubtitleOptions(max_words=3, min_gap=0))
    assert [(cue.start, cue.end) for cue in cues] == [(10.0, 15.0), (15.0, 20.0)]


def test_a_short_answer_in_a_long_segment_is_one_cue_at_its_start():
    cues = make_cues([transcript(Segment("Good evening everyone.", 0.0, 30.0))], SubtitleOptions())
    assert texts(cues) == ["Good evening everyone."]
    assert cues[0].end <= 7.0


def test_segments_whose_words_do_not_match_keep_their_text():
    segment = Segment("The text counts.", 0.0, 3.0, spoken("Other words").words)
    assert texts(make_cues([transcript(segment)], SubtitleOptions())) == ["The text counts."]


def test_translations_stand_with_their_sentences():
    """The translation's first sentence ends half a second after the spoken one; both languages begin anew together."""
    german = transcript(spoken("Guten Abend. Wir beginnen jetzt mit der Sendung."), lang="de", source="de")
    english = transcript(
        Segment("Good evening, everybody.", 0.0, 1.5), Segment("We now start the show.", 1.5, 4.0), source="de"
    )
    cues = make_cues([german, english], SubtitleOptions(min_duration=0))
    assert texts(cues, 0) == ["Guten Abend.", "Wir beginnen jetzt mit der Sendung."]
    assert texts(cues, 1) == ["Good evening, everybody.", "We now start the show."]
    assert [(cue.start, cue.end) for cue in cues] == [(0.0, 0.9), (1.0, 3.9)], "the times are those of the spoken text"


def test_times_that_are_no_numbers_are_refused():
    with pytest.raises(OutputError, match="finite"):
        make_cues([transcript(Segment("a", float("nan"), 1.0), duration=1.0)], SubtitleOptions())
    with pytest.raises(OutputError, match="the duration nan"):
        make_cues([transcript(spoken("a"), duration=float("nan"))], SubtitleOptions())


def test_a_recording_of_unknown_duration_ends_with_its_last_segment():
    cues = make_cues([transcript(spoken("Good evening."), spoken("Bye.", 5.0), duration=0.0)], SubtitleOptions())
    assert [cue.start for cue in cues] == [0.0, 5.0]
    assert cues[-1].end == 5.4


def test_an_empty_transcript_has_no_cues():
    assert make_cues([Transcript((), "en", "en", 3.0)], SubtitleOptions()) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"max_line_chars": 0}, "max_line_chars=0"),
        ({"max_words": 0}, "max_words=0"),
        ({"min_gap": -1.0}, "min_gap=-1"),
        ({"max_duration": float("nan")}, "max_duration=nan"),
        ({"min_duration": 8.0}, "min_duration=8 is above max_duration=7"),
    ],
)
def test_options_out_of_range_are_refused(wrong, message):
    with pytest.raises(OutputError, match=message):
        SubtitleOptions(**wrong)
