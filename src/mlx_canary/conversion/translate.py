"""NeMo's model_config.yaml in, our ModelConfig out.

Whatever the file says is honoured, refused by name, or on a list of keys that cannot change a transcript. Where a key
is absent, NeMo 3.0's own constructor default holds, because that is what NeMo would build.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mlx_canary.config import (
    DecoderConfig,
    DecodingConfig,
    EncoderConfig,
    PreprocessorConfig,
    PromptConfig,
)
from mlx_canary.errors import ConversionError
from mlx_canary.text.prompt import TEMPLATES

_Config = TypeVar("_Config", bound=BaseModel)
_REQUIRED = object()

# Keys that only act in training, only change memory or speed, or are set by NeMo itself when it loads a model.
_INERT = {
    "preprocessor": {"_target_", "dither", "pad_to", "pad_value", "rng", "nb_augmentation_prob", "nb_max_freq",
                     "use_torchaudio", "stft_exact_pad", "stft_conv"},
    "encoder": {"_target_", "subsampling_conv_chunking_factor", "att_context_probs", "att_chunk_context_size",
                "pos_emb_max_len", "dropout", "dropout_pre_encoder", "dropout_emb", "dropout_att",
                "stochastic_depth_drop_prob", "stochastic_depth_mode", "stochastic_depth_start_layer",
                "global_tokens_spacing", "global_attn_separate", "use_pytorch_sdpa", "use_pytorch_sdpa_backends",
                "sync_max_audio_length", "reduction_position", "reduction_factor"},
    "transf_decoder": {"_target_", "encoder", "model_name", "pretrained", "library"},
    "transf_decoder.config_dict": {"embedding_dropout", "ffn_dropout", "attn_score_dropout", "attn_layer_dropout",
                                   "vocab_size", "num_token_types", "library", "model_name", "pretrained",
                                   "_target_", "pre_ln_final_layer_norm"},
    "head": {"_target_", "activation", "hidden_size", "num_classes", "dropout", "use_transformer_init"},
    # What a search returns beside its text, what NeMo never reads, and what the other kind of search would do.
    "decoding": {"_target_", "beam", "greedy", "compute_hypothesis_token_set", "preserve_alignments", "confidence_cfg",
                 "compute_langs", "temperature", "return_xattn_scores", "return_best_hypothesis",
                 "compute_timestamps", "word_seperator", "segment_seperators", "segment_gap_threshold"},
    # What decoding_notes is about is here too.
    "decoding.beam": {"search_type", "len_pen", "max_generation_delta", "return_best_hypothesis",
                      "preserve_alignments", "ngram_lm_model", "ngram_lm_alpha", "boosting_tree",
                      "boosting_tree_alpha"},
    "decoding.greedy": {"temperature", "n_samples", "max_generation_delta", "preserve_alignments",
                        "preserve_token_confidence", "preserve_frame_confidence", "confidence_method_cfg"},
}  # fmt: skip
_SEARCHES = ("beam", "greedy")
_MAX_BEAM_SIZE = 64
# Where NeMo's BoostingTreeModelConfig takes its phrases from.
_PHRASES = ("model_path", "key_phrases_file", "key_phrases_list", "key_phrase_items_list")


@dataclass
class Section:
    """A section of the YAML whose keys are taken one by one; what is left over is an error."""

    name: str
    values: Mapping[str, Any]
    _taken: set[str] = field(default_factory=set)

    def take(self, key: str, default: Any = _REQUIRED) -> Any:
        """The value of a key, or NeMo's default."""
        self._taken.add(key)
        value = self.values.get(key, default)
        if value is _REQUIRED:
            raise ConversionError(f"The checkpoint's configuration lacks {self.name}.{key}.")
        return value

    def only(self, key: str, supported: tuple[Any, ...], default: Any) -> Any:
        """The value of a key that we support in some forms only."""
        value = self.take(key, default)
        if value not in supported or isinstance(value, bool) != isinstance(supported[0], bool):
            wanted = " or ".join(map(repr, supported))
            raise ConversionError(f"{self.name}.{key}={value!r} is not supported; only {wanted} is.")
        return value

    def finish(self) -> None:
        """Refuse keys that nobody took: they might change the result."""
        unknown = set(self.values) - self._taken - _INERT[self.name]
        if unknown:
            raise ConversionError(
                f"The checkpoint's configuration has unknown keys in {self.name}: {', '.join(sorted(unknown))}. "
                "They may change the model's output, so they are not ignored."
            )


def section(config: Mapping[str, Any], name: str, under: str = "") -> Section:
    """A mapping within the YAML."""
    values = config.get(name)
    full = f"{under}.{name}" if under else name
    if not isinstance(values, Mapping):
        raise ConversionError(f"The checkpoint's configuration lacks the section {full!r}.")
    return Section(full, values)


def preprocessor_config(config: Mapping[str, Any]) -> PreprocessorConfig:
    """Translate `preprocessor` (AudioToMelSpectrogramPreprocessor)."""
    source = section(config, "preprocessor")
    rate = source.take("sample_rate", 16000)
    source.only("window", ("hann",), "hann")
    source.only("normalize", ("per_feature",), "per_feature")
    source.only("log", (True,), True)
    source.only("log_zero_guard_type", ("add",), "add")
    source.only("frame_splicing", (1,), 1)
    source.only("exact_pad", (False,), False)
    source.only("mel_norm", ("slaney",), "slaney")
    for key in ("lowfreq", "highfreq"):  # already in the stored filterbank
        source.take(key, None)
    window = _samples(source, "window_size", 0.02, "n_window_size", rate)
    hop = _samples(source, "window_stride", 0.01, "n_window_stride", rate)
    n_fft = source.take("n_fft", None)
    guard = source.take("log_zero_guard_value", 2**-24)
    translated = dict(
        sample_rate=rate,
        features=source.take("features", 64),
        n_fft=n_fft if n_fft is not None else 1 << (window - 1).bit_length(),
        window_length=window,
        hop_length=hop,
        preemph=_float(source.take("preemph", 0.97) or 0.0),
        log_zero_guard_value=_float(guard),
        mag_power=_float(source.take("mag_power", 2.0)),
    )
    source.finish()
    return validated(PreprocessorConfig, translated, "preprocessor")


def _samples(source: Section, seconds_key: str, default: float, samples_key: str, rate: Any) -> int:
    """A length given in seconds or, instead, in samples."""
    samples, seconds = source.take(samples_key, None), source.take(seconds_key, default)
    value = _float(samples) if samples is not None else _float(seconds) * _float(rate)
    if not 0 < value < 1 << 20:
        raise ConversionError(f"{source.name}.{seconds_key}={seconds!r} gives a window of {value} samples.")
    return int(value)


def encoder_config(config: Mapping[str, Any]) -> EncoderConfig:
    """Translate `encoder` (ConformerEncoder)."""
    source = section(config, "encoder")
    source.only("subsampling", ("dw_striding",), "striding")
    source.only("causal_downsampling", (False,), False)
    source.only("reduction", (None,), None)
    source.only("untie_biases", (True,), True)
    source.only("att_context_style", ("regular",), "regular")
    source.only("conv_context_style", ("regular",), "regular")
    source.only("global_tokens", (0,), 0)
    width, kernel = source.take("d_model"), source.take("conv_kernel_size", 31)
    source.only("feat_out", (-1, None, width), -1)
    even = (kernel - 1) // 2 if isinstance(kernel, int) else None
    source.only("conv_context_size", (None, [even, even]), None)
    channels = source.take("subsampling_conv_channels", -1)
    translated = dict(
        feat_in=source.take("feat_in"),
        n_layers=source.take("n_layers"),
        d_model=width,
        n_heads=source.take("n_heads", 4),
        d_ff=_product(width, source.take("ff_expansion_factor", 4)),
        subsampling_factor=source.take("subsampling_factor", 4),
        subsampling_conv_channels=width if channels == -1 else channels,
        conv_kernel_size=kernel,
        conv_norm_type=source.only("conv_norm_type", ("batch_norm", "layer_norm"), "batch_norm"),
        self_attention_model=source.only("self_attention_model", ("rel_pos", "rel_pos_local_attn"), "rel_pos"),
        att_context_size=_context(source.take("att_context_size", None)),
        xscaling=source.only("xscaling", (True, False), True),
        use_bias=source.only("use_bias", (True, False), True),
    )
    source.finish()
    return validated(EncoderConfig, translated, "encoder")


def _product(width: Any, factor: Any) -> Any:
    return width * factor if isinstance(width, int) and isinstance(factor, int) else None


def _context(value: Any) -> Any:
    """NeMo takes the first of several contexts when it does not train."""
    if value is None:
        return (-1, -1)
    return value[0] if isinstance(value, list) and value and isinstance(value[0], list) else value


def decoder_config(config: Mapping[str, Any], output_size: int) -> DecoderConfig:
    """Translate `transf_decoder` and `head`. The output size is that of the head's tensor."""
    if (encoder := config.get("transf_encoder")) is not None:
        layers = encoder.get("num_layers", 0) if isinstance(encoder, Mapping) else encoder
        if layers != 0:
            raise ConversionError(f"transf_encoder.num_layers={layers!r} is not supported; only 0 is.")
    outer = section(config, "transf_decoder")
    outer.take("config_dict")
    final_norm = outer.only("pre_ln_final_layer_norm", (True, False), True)
    outer.finish()
    source = section(outer.values, "config_dict", under="transf_decoder")
    source.only("pre_ln", (True,), False)
    translated = dict(
        n_layers=source.take("num_layers"),
        hidden_size=source.take("hidden_size"),
        inner_size=source.take("inner_size"),
        n_heads=source.take("num_attention_heads"),
        max_sequence_length=source.take("max_sequence_length", 512),
        hidden_act=source.only("hidden_act", ("relu", "gelu"), "relu"),
        final_layer_norm=final_norm,
        learned_positions=source.only("learn_positional_encodings", (True, False), False),
        output_size=output_size,
    )
    source.finish()
    head = section(config, "head")
    head.only("num_layers", (1,), 1)
    head.only("log_softmax", (True,), True)
    head.finish()
    return validated(DecoderConfig, translated, "transf_decoder")


def prompt_config(config: Mapping[str, Any], override: str | None) -> PromptConfig:
    """The prompt's template and the checkpoint's own values for a user's turn."""
    known, template = ("canary", "canary2"), config.get("prompt_format")
    if override and template in known and template != override:
        raise ConversionError(
            f"The checkpoint's prompt_format is {template!r}, so {override!r} would ask it in words that it does not "
            "know. Leave --prompt-format out."
        )
    template = override or template
    if template not in known:
        raise ConversionError(
            f"prompt_format={template!r} is not supported; only 'canary' and 'canary2' are. "
            "If the checkpoint follows one of them under another name, say which with --prompt-format."
        )
    turns = config.get("prompt_defaults") or []
    slots: Mapping[str, Any] = {}
    for turn in turns if isinstance(turns, list) else []:
        if isinstance(turn, Mapping) and turn.get("role") == "user" and isinstance(turn.get("slots"), Mapping):
            slots = turn["slots"]
    defaults = {str(slot): str(value) for slot, value in slots.items() if value is not None}
    if template == "canary2" and "romanized" in slots:
        template = "canary2-romanized"
    _check_slots(template, slots)
    return validated(PromptConfig, dict(format=template, defaults=defaults), "prompt")


def _check_slots(template: str, slots: Mapping[str, Any]) -> None:
    """NeMo too refuses slots that the template does not have: the model was trained with another prompt."""
    if unknown := sorted({str(slot) for slot in slots} - set(TEMPLATES[template])):
        raise ConversionError(
            f"The checkpoint's prompt_defaults have the slot {unknown[0]!r:.100}, for which {template!r} has no place: "
            "it was trained with another prompt, which is not supported."
        )
    romanized, values = slots.get("romanized"), (None, "<|romanized|>", "<|noromanized|>")
    if romanized not in values:
        raise ConversionError(
            f"prompt_defaults.romanized={romanized!r:.100} is not supported; only {values[1]!r} or {values[2]!r} is."
        )


def longest_training_item(config: Mapping[str, Any]) -> float | None:
    """Seconds of the longest recordings that the checkpoint was trained on, where its training data section is kept."""
    training = config.get("train_ds")
    value = training.get("max_duration") if isinstance(training, Mapping) else None
    return value * 1.0 if isinstance(value, int | float) and 1 <= value < float("inf") else None


def decoding_config(config: Mapping[str, Any]) -> DecodingConfig:
    """The parts of `decoding` that change a result; the defaults are those of NeMo's MultiTaskDecodingConfig.

    NeMo reads the length penalty from `length_penalty` and ignores the `len_pen` that published files have.
    """
    source = Section("decoding", _optional(config, "decoding"))
    strategy = source.take("strategy", "beam")
    beam, greedy = (Section(f"decoding.{name}", _optional(source.values, name, "decoding.")) for name in _SEARCHES)
    greedy.only("ngram_lm_model", (None,), None)
    translated = dict(
        strategy=strategy,
        beam_size=beam.take("beam_size", 1),
        length_penalty=_float(beam.take("length_penalty", 0.0)),
        max_generation_delta=(beam if strategy == "beam" else greedy).take("max_generation_delta", -1),
    )
    for part in (source, beam, greedy):
        part.finish()
    decoding = validated(DecodingConfig, translated, "decoding")
    if decoding.beam_size > _MAX_BEAM_SIZE:
        raise ConversionError(f"decoding.beam.beam_size={decoding.beam_size} is too many; at most {_MAX_BEAM_SIZE} is.")
    if not math.isfinite(decoding.length_penalty):
        raise ConversionError(f"decoding.beam.length_penalty={decoding.length_penalty} is no finite number.")
    return decoding


def decoding_notes(config: Mapping[str, Any]) -> list[str]:
    """What the checkpoint wants of its decoding and does not get unless it is asked for."""
    source = _optional(config, "decoding")
    beam, greedy = (_optional(source, name, "decoding.") for name in _SEARCHES)
    wanted: list[tuple[str, str]] = []
    if source.get("strategy", "beam") != "beam":
        if greedy.get("temperature") is not None:
            wanted.append(("greedy.temperature", "--temperature"))
    else:
        if beam.get("ngram_lm_model") is not None:
            wanted.append(("beam.ngram_lm_model", "--lm"))
        tree = _optional(beam, "boosting_tree", "decoding.beam.")
        if any(tree.get(key) for key in _PHRASES):
            wanted.append(("beam.boosting_tree", "--boost"))
    return [f"Its decoding.{key} is not followed; ask for it with {option} if you want it." for key, option in wanted]


def _optional(config: Mapping[str, Any], name: str, under: str = "") -> Mapping[str, Any]:
    """A section that may be absent or null."""
    values = config.get(name)
    if values is not None and not isinstance(values, Mapping):
        raise ConversionError(f"{under}{name}={values!r:.100} in the checkpoint's configuration is no section.")
    return values or {}


def _float(value: Any) -> float:
    """YAML reads 1e-5 as text."""
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise ConversionError(f"The checkpoint's configuration has {value!r} where a number belongs.") from error


def validated(schema: type[_Config], values: dict[str, Any], name: str) -> _Config:
    """Values as a part of our configuration."""
    try:
        return schema(**values)
    except ValidationError as error:
        raise ConversionError(f"The checkpoint's {name} configuration: {describe(error)}.") from error


def describe(error: ValidationError) -> str:
    """A validation error in one line: each key, what was found, what was expected."""
    found = []
    for problem in error.errors():
        where = ".".join(map(str, problem["loc"]))
        message = problem["msg"].removeprefix("Value error, ")
        given = f" (found {problem['input']!r:.60})" if where else ""
        found.append(f"{where}: {message}{given}" if where else message)
    return "; ".join(found)
