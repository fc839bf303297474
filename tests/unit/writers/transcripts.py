"""Makes the transcripts that the tests of writers use: by hand, and any that hypothesis can think of."""

from __future__ import annotations

from hypothesis import strategies as st

from mlx_canary.types import Alternative, Segment, Transcript, Word
from mlx_canary.writers import SubtitleOptions

LETTERS = "abcdefghijklmnopqrstuvwxyzäöüßéñčžαβγабв'&<>{}[]\\-0123456789\u00a0\u202f"
ENDS = ["", "", "", "", ",", ".", "?", "!", ":", ".“", "…"]


def spoken(text: str, start: float = 0.0, word_duration: float = 0.4, pause: float = 0.1) -> Segment:
    """A segment whose words all last as long."""
    words = []
    for number, word in enumerate(text.split(" ")):
        begin = start + number * (word_duration + pause)
        words.append(Word(word, round(begin, 3), round(begin + word_duration, 3), 0.9))
    return Segment(text, start, words[-1].end, tuple(words), 0.9)


def transcript(*segments: Segment, duration: float | None = None, lang: str = "en", source: str = "en") -> Transcript:
    """A transcript that ends a second after its last segment."""
    return Transcript(segments, source, lang, segments[-1].end + 1 if duration is None else duration)


words_of_text = st.builds(
    lambda body, end: body + end,
    st.text(LETTERS, min_size=1, max_size=18).map(str.strip).filter(bool),
    st.sampled_from(ENDS),
)
long_words = st.integers(30, 70).map("ö".__mul__)
word_texts = st.one_of(
    words_of_text, words_of_text, words_of_text, st.sampled_from(["-->", "1984", "...", "{\\an8}"]), long_words
)
seconds = st.floats(0.0, 4.0).map(lambda value: round(value, 3)) | st.sampled_from([0.0, 0.08, 0.24])


@st.composite
def segments(draw: st.DrawFn, start: float) -> Segment:
    """With words or without."""
    texts = draw(st.lists(word_texts, max_size=25))
    words, time = [], start
    for text in texts:
        begin = time + draw(seconds) / 4
        time = begin + draw(seconds) / 2
        words.append(Word(text, begin, time))
    kept = tuple(words) if draw(st.booleans()) else ()
    tokens, average = tuple(draw(st.lists(st.integers(0, 16383), max_size=5))), draw(st.none() | st.floats(-9, 0))
    nobody = draw(st.none() | st.floats(0, 1))
    found = tuple(draw(st.lists(st.builds(Alternative, word_texts, st.floats(-99, 9)), max_size=2)))
    return Segment(
        " ".join(texts),
        start,
        time,
        kept,
        tokens=tokens,
        avg_logprob=average,
        no_speech_prob=nobody,
        n_best=found,
    )


@st.composite
def transcripts(draw: st.DrawFn, lang: str = "en") -> Transcript:
    """With times that rise, as the model promises."""
    made: list[Segment] = []
    for _ in range(draw(st.integers(0, 4))):
        start = (made[-1].end if made else 0.0) + draw(seconds)
        made.append(draw(segments(start)))
    end = made[-1].end if made else 0.0
    n_words = sum(len(segment.text.split()) for segment in made)
    return Transcript(tuple(made), "en", lang, end + draw(seconds) + 0.01 * n_words)


@st.composite
def broken_transcripts(draw: st.DrawFn) -> Transcript:
    """With any times at all."""
    time = st.floats(-5, 50)
    texts = draw(st.lists(word_texts, min_size=1, max_size=30))
    words = tuple(Word(text, draw(time), draw(time)) for text in texts)
    segment = Segment(" ".join(texts), draw(time), draw(time), words if draw(st.booleans()) else ())
    return Transcript((segment,), "en", "en", draw(st.floats(0, 40)))


@st.composite
def options(draw: st.DrawFn) -> SubtitleOptions:
    least = draw(st.floats(0, 2))
    return SubtitleOptions(
        max_line_chars=draw(st.integers(5, 60)),
        max_lines=draw(st.integers(1, 4)),
        max_words=draw(st.none() | st.integers(1, 8)),
        min_duration=least,
        max_duration=draw(st.floats(max(least, 0.1), 10)),
        min_gap=draw(st.floats(0, 0.5)),
        max_pause=draw(st.floats(0, 3)),
        split_sentences=draw(st.booleans()),
        split_clauses=draw(st.booleans()),
        highlight_words=draw(st.booleans()),
    )
