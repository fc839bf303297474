"""What a caller wants of a recording, and what that means for a checkpoint.

Options in, prompts out; everything that the checkpoint cannot do is refused here, before any sound is read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeGuard, TypeVar

from mlx_canary.audio.load import Channel
from mlx_canary.config import ModelConfig
from mlx_canary.decoding.options import DecodingOptions
from mlx_canary.errors import PromptError
from mlx_canary.load_models import TimesFrom
from mlx_canary.text.languages import check_languages
from mlx_canary.text.prompt import Prompt, Task, encode_prompt
from mlx_canary.text.tokenizer import CanaryTokenizer
from mlx_canary.transcriber import Request, Timestamps

Longform = Literal["quiet", "nemo"]
_Spoken = TypeVar("_Spoken", bound=str | None)
AUTO = "auto"
_LONGEST_WINDOW = 35.0


@dataclass(frozen=True, slots=True)
class TranscriptionOptions:
    """What is wanted of one recording.

    Attributes:
        language: The language spoken, such as "en"; "auto" to let the model tell, "auto:en,de" to have it choose among
            these; None for the checkpoint's default.
        task: "transcribe", or "translate" into `target_lang`.
        target_lang: The language of a translation; None for English.
        also_translate: More languages; the recording is listened to once. They become the transcript's translations.
        pnc: Punctuation and capitals.
        itn: Numbers as digits.
        context: Text that came before, or that holds names to expect.
        timestamps: "word" for times of words and sentences, "segment" for sentences only, None for neither.
        times_from: What tells them: "model" for the model's own time tokens (flash models) or its aligner
            (canary-1b-v2), "attention" for where the decoder looks, which is all that other models have. Time tokens
            are part of what a model writes and can change its words; looking changes nothing. None for "model", but
            "attention" with the demo model, whose time tokens cost words.
        decoding: Beam search, boosting, confidence and the like; None for what the checkpoint itself says (greedy
            search in the published ones).
        guards: Decode windows again whose text loops, ends early or is too much for its sound.
        longform: "quiet" cuts long recordings at quiet places; "nemo" does what NeMo does, to reproduce it.
        shortest_window: Seconds of a window of a long recording, at least; None for four sevenths of the longest.
        longest_window: Seconds of a window, at most; None for 35, or less if the checkpoint was trained on less (the
            published ones were trained on up to 40).
        channel: "mix" for the mean of all channels, or the number of one, from 0.
        track: Which of several sound tracks, from 0; None for the one marked as default, else the first.
    """

    language: str | None = None
    task: Task = "transcribe"
    target_lang: str | None = None
    also_translate: tuple[str, ...] = ()
    pnc: bool = True
    itn: bool = False
    context: str = ""
    timestamps: Timestamps | None = None
    times_from: TimesFrom | None = None
    decoding: DecodingOptions | None = None
    guards: bool = True
    longform: Longform = "quiet"
    shortest_window: float | None = None
    longest_window: float | None = None
    channel: Channel = "mix"
    track: int | None = None

    def __post_init__(self) -> None:
        self._check_types()
        if is_auto(self.language):
            named_candidates(self.language)
        if self.task not in ("transcribe", "translate"):
            raise PromptError(f"task={self.task!r} is neither 'transcribe' nor 'translate'.")
        if self.timestamps not in (None, "word", "segment"):
            raise PromptError(f"timestamps={self.timestamps!r} is not one of: 'word', 'segment', None.")
        if self.times_from not in (None, "model", "attention"):
            raise PromptError(f"times_from={self.times_from!r} is not one of: 'model', 'attention', None.")
        shortest = 1 if self.shortest_window is None else self.shortest_window
        longest = 60 if self.longest_window is None else self.longest_window
        if not 1 <= longest <= 60:
            raise PromptError(f"The longest window is {longest:g} s; expected 1 to 60 s.")
        if not 1 <= shortest <= longest:
            raise PromptError(f"The shortest window is {shortest:g} s; expected 1 to {longest:g} s, the longest.")
        if self.longform not in ("quiet", "nemo"):
            raise PromptError(f"longform={self.longform!r} is not one of: 'quiet', 'nemo'.")
        if self.longform == "nemo":
            self._check_nemo()
        if self.timestamps is not None and self.decoding is not None and self.decoding.n_best > 1:
            raise PromptError(
                f"n_best={self.decoding.n_best} texts are those of whole windows, which timestamps={self.timestamps!r} "
                "would part: ask for no timestamps."
            )

    def _check_types(self) -> None:
        """Wrong types would be noticed late, or never: pnc="no" is true."""
        for name in ("language", "target_lang"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and value):
                raise PromptError(f"{name}={value!r} is not the code of a language, such as 'en'.")
        codes = self.also_translate
        if not isinstance(codes, tuple | list) or not all(isinstance(code, str) for code in codes):
            raise PromptError(f"also_translate={codes!r} is not a tuple of codes of languages, such as ('de',).")
        for name in ("pnc", "itn", "guards"):
            if not isinstance(getattr(self, name), bool):
                raise PromptError(f"{name}={getattr(self, name)!r} is neither True nor False.")
        if not isinstance(self.context, str) or not _is_unicode(self.context):
            raise PromptError(f"context={self.context!r:.100} is not a text.")
        for name in ("shortest_window", "longest_window"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, int | float):
                raise PromptError(f"{name}={value!r} is not a number of seconds.")
        if self.decoding is not None and not isinstance(self.decoding, DecodingOptions):
            raise PromptError(f"decoding is a {type(self.decoding).__name__}; expected DecodingOptions or None.")

    def _check_nemo(self) -> None:
        for name in ("decoding", "also_translate", "shortest_window", "longest_window", "times_from"):
            if getattr(self, name):
                raise PromptError(f"longform='nemo' does what NeMo does: {name} cannot be chosen with it.")
        if is_auto(self.language):
            raise PromptError("longform='nemo' does what NeMo does: the language must be said.")


def is_auto(language: str | None) -> TypeGuard[str]:
    """Whether a language is to be found out: "auto", or "auto:en,de" for one of these."""
    return language is not None and language.partition(":")[0] == AUTO


def named_candidates(language: str) -> tuple[str, ...] | None:
    """The codes in "auto:en,de"; None for "auto", which is all languages that a checkpoint has.

    Raises:
        PromptError: They leave nothing to choose.
    """
    _, colon, listed = language.partition(":")
    if not colon:
        return None
    codes = tuple(dict.fromkeys(code.strip() for code in listed.split(",")))
    if len(codes) < 2 or not all(codes):
        raise PromptError(f"language={language!r} leaves no choice; name two languages or more, such as 'auto:en,de'.")
    return codes


def _is_unicode(text: str) -> bool:
    """Whether a text has none of the lone surrogates that stand for bytes of no text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def prompts_for(options: TranscriptionOptions, config: ModelConfig, tokenizer: CanaryTokenizer) -> tuple[Prompt, ...]:
    """The prompts of all texts that the options ask for; the first language spoken must be known.

    Raises:
        PromptError: The checkpoint does not have that language, task or option.
    """
    if is_auto(options.language):
        raise PromptError(
            f"language={options.language!r} is for recordings that are to be written down; "
            "a stream, or a text to align, needs its language named, such as 'en'."
        )
    spoken = options.language or default_language(config)
    if options.task == "transcribe" and options.target_lang not in (None, spoken):
        raise PromptError(f"target_lang={options.target_lang!r} is for task='translate'.")
    target = language_of_text(options, spoken)
    if options.task == "translate" and target == spoken:
        raise PromptError(f"Translating needs two languages; both are {spoken!r}. Say another for the text.")
    targets = (target, *options.also_translate)
    if len(set(targets)) < len(targets):
        raise PromptError(f"The same text is asked for twice: {', '.join(targets)}.")
    return tuple(_prompt(options, spoken, text, config, tokenizer) for text in targets)


def language_of_text(options: TranscriptionOptions, spoken: _Spoken) -> str | _Spoken:
    """In which language the first text is, where that one is spoken; a translation is English if nothing is said."""
    return (options.target_lang or "en") if options.task == "translate" else spoken


def with_language(options: TranscriptionOptions, language: str) -> TranscriptionOptions:
    """The options once the language spoken is found out: what would be translated into that one is written down."""
    options = replace(options, language=language)
    if options.task == "translate" and language_of_text(options, language) == language:
        return replace(options, task="transcribe", target_lang=None)
    return options


def request_for(options: TranscriptionOptions, config: ModelConfig, tokenizer: CanaryTokenizer) -> Request:
    """The same, with how it is to be done."""
    prompts = prompts_for(options, config, tokenizer)
    decoding = options.decoding or own_decoding(config)
    return Request(prompts, options.timestamps, options.times_from, decoding, options.guards)


def own_decoding(config: ModelConfig) -> DecodingOptions:
    """How the checkpoint's configuration wants it to be decoded."""
    decoding = config.decoding
    if decoding.strategy != "beam" or decoding.beam_size == 1:
        return DecodingOptions()
    return DecodingOptions(beam_size=decoding.beam_size, length_penalty=decoding.length_penalty)


def window_lengths(
    options: TranscriptionOptions, config: ModelConfig, reach: float | None = None
) -> tuple[float, float]:
    """The shortest and the longest window in seconds.

    Args:
        reach: How far into a window the model can tell times, where it is to write them itself.
    """
    usual = min(config.longest_training_item or _LONGEST_WINDOW, _LONGEST_WINDOW, reach or _LONGEST_WINDOW)
    longest = options.longest_window or max(usual, options.shortest_window or 0)
    return min(longest, options.shortest_window or longest * 4 / 7), longest


def default_language(config: ModelConfig) -> str:
    """The language that the checkpoint's own prompt names, where it knows it, or its only one.

    Raises:
        PromptError: It has several others.
    """
    languages = config.languages
    default = config.prompt.defaults.get("source_lang", "en").removeprefix("<|").removesuffix("|>")
    if languages is None or default in languages.spoken:
        return default
    if len(languages.spoken) == 1:
        return languages.spoken[0]
    raise PromptError(f"Say which language is spoken; {config.name} knows: {', '.join(languages.spoken)}.")


def candidates(language: str, config: ModelConfig, tokenizer: CanaryTokenizer) -> tuple[str, ...]:
    """The languages among which the spoken one is looked for: those that "auto:en,de" names, or all.

    Raises:
        PromptError: The checkpoint does not know one of them, or does not say which it was trained on.
    """
    named = named_candidates(language)
    if named is not None:
        for code in named:
            prompts_for(TranscriptionOptions(language=code), config, tokenizer)
        return named
    if config.languages is None:
        raise PromptError(
            f"{config.name} does not say which languages it knows, so it cannot choose; say which is spoken, or among "
            "which it is, such as 'auto:en,de'."
        )
    return config.languages.spoken


def _prompt(
    options: TranscriptionOptions, spoken: str, target: str, config: ModelConfig, tokenizer: CanaryTokenizer
) -> Prompt:
    prompt = Prompt(
        source_lang=spoken,
        target_lang=target,
        task="transcribe" if spoken == target else "translate",
        pnc=options.pnc,
        itn=options.itn,
        decodercontext=options.context,
        romanized=config.prompt.defaults.get("romanized") == "<|romanized|>",
    )
    check_languages(prompt, config.name, config.languages)
    encode_prompt(prompt, config.prompt.format, tokenizer)
    return prompt
