"""A NeMo checkpoint as a model of ours, before a byte of its weights is read.

In: an opened checkpoint. Out: our configuration, the tokenizer, the tensors and the recipes that turn them into ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlx_canary.config import (
    AlignerConfig,
    LanguageConfig,
    ModelConfig,
    SourceConfig,
    SubTokenizer,
    TokenizerConfig,
    WeightsConfig,
)
from mlx_canary.conversion.nemo import NemoCheckpoint
from mlx_canary.conversion.rename import Recipe, Tensor, aligner_recipes, check_sources, network_recipes
from mlx_canary.conversion.translate import (
    decoder_config,
    decoding_config,
    decoding_notes,
    encoder_config,
    longest_training_item,
    preprocessor_config,
    prompt_config,
    validated,
)
from mlx_canary.errors import CanaryError, ConversionError
from mlx_canary.registry import CANARY_MODELS, DEMO_LICENSE, DEMO_SIZES, PublishedModel
from mlx_canary.text.tokenizer import SPECIAL, CanaryTokenizer

_HEAD = "log_softmax.mlp.layer0.weight"
_EMBEDDING = "transf_decoder._embedding.token_embedding.weight"
_NEEDED_TOKENS = ("<|startoftranscript|>", "<|endoftext|>", "<pad>")
_MAX_PARTS, _MAX_TOKENIZERS = 256, 32 << 20  # the published ones have up to 26 parts of less than 1 MiB
_KNOWN_TOKENIZERS = ("CanaryTokenizer", "CanaryBPETokenizer", "CanaryMultilingualTokenizer")


@dataclass(frozen=True, slots=True)
class TensorGroup:
    """The tensors of one network.

    Attributes:
        tensors: By NeMo's names.
        recipes: How ours are made.
        ignored: Tensors without use, with the reason.
    """

    tensors: Mapping[str, Tensor]
    recipes: list[Recipe]
    ignored: dict[str, str]


@dataclass(frozen=True, slots=True)
class SourceModel:
    """Everything that a conversion needs.

    Attributes:
        config: Ours, with float32 weights in our own layout.
        tokenizer: The checkpoint's own.
        groups: Tensors of the model, then of the auxiliary CTC model where there is one.
        notes: What the user should know.
    """

    config: ModelConfig
    tokenizer: CanaryTokenizer
    groups: tuple[TensorGroup, ...]
    notes: list[str]


def read_source(
    nemo: NemoCheckpoint, prompt_format: str | None = None, languages: tuple[str, ...] | None = None
) -> SourceModel:
    """Understand a checkpoint.

    Args:
        nemo: Stays open as long as tensors are read.
        prompt_format: "canary" or "canary2" where the checkpoint calls its template something else.
        languages: What it was trained on, where that is known better than by its tokenizer.

    Raises:
        ConversionError: Something in the checkpoint is not supported, missing or contradictory.
    """
    notes: list[str] = []
    tokenizer = _tokenizer(nemo, notes)
    config = _model_config(nemo, tokenizer, prompt_format, languages, notes)
    if config.languages is None:
        notes.append(
            "It does not say which languages it was trained on, so any that its tokenizer has a tag for is accepted: "
            "--languages names them."
        )
    groups = [tensor_group(nemo.tensors, network_recipes(config))]
    if config.aligner is not None:
        groups.append(tensor_group(nemo.timestamps_tensors or {}, aligner_recipes(config.aligner)))
    return SourceModel(
        config=config,
        tokenizer=tokenizer,
        groups=tuple(groups),
        notes=notes + decoding_notes(nemo.config) + _tied(nemo.tensors),
    )


def _model_config(
    nemo: NemoCheckpoint,
    tokenizer: CanaryTokenizer,
    prompt_format: str | None,
    languages: tuple[str, ...] | None,
    notes: list[str],
) -> ModelConfig:
    stem = nemo.path.name.removesuffix(".nemo")
    encoder = encoder_config(nemo.config)
    decoder = decoder_config(nemo.config, _output_size(nemo))
    sizes = (encoder.n_layers, encoder.d_model, decoder.n_layers, tokenizer.size)
    published = _published(stem, sizes)
    if stem in CANARY_MODELS and published is None:
        notes.append(f"It is called {stem} but has other sizes, so it is treated as a model of its own.")
    return validated(
        ModelConfig,
        dict(
            format_version=1,
            name=stem,
            weights=WeightsConfig(layout="mlx", dtype="float32", quantization=None),
            preprocessor=preprocessor_config(nemo.config),
            encoder=encoder,
            decoder=decoder,
            tokenizer=_tokenizer_config(tokenizer),
            prompt=prompt_config(nemo.config, prompt_format),
            decoding=decoding_config(nemo.config),
            languages=_languages(tokenizer, languages, published),
            longest_training_item=longest_training_item(nemo.config),
            aligner=_aligner_config(nemo, tokenizer, notes),
            writes_times=not nemo.has_timestamps_model,
            source=SourceConfig(
                file=nemo.path.name,
                nemo_version=_text(nemo.config.get("nemo_version")),
                license=_license(stem, sizes),
            ),
        ),
        "whole",
    )


def _published(stem: str, sizes: tuple[int, int, int, int]) -> PublishedModel | None:
    """The published checkpoint that this is, by its name and its sizes; fine-tunes share the sizes alone."""
    model = CANARY_MODELS.get(stem)
    return model if model is not None and model.sizes == sizes else None


def _license(stem: str, sizes: tuple[int, int, int, int]) -> str | None:
    """As an SPDX identifier, where it is known: no checkpoint says it."""
    published = _published(stem, sizes)
    if published is not None:
        return published.license
    return DEMO_LICENSE if (stem, sizes) == ("demo", DEMO_SIZES) else None


def _languages(
    tokenizer: CanaryTokenizer, named: tuple[str, ...] | None, published: PublishedModel | None
) -> LanguageConfig | None:
    """Those that the user names. An aggregate tokenizer has one model for each language. Otherwise nobody can tell."""
    if published is not None and named:
        raise ConversionError(
            f"It is {published.repository}, whose languages are known ({', '.join(published.languages.spoken)}): "
            "naming languages is for fine-tunes."
        )
    if published is not None:
        return published.languages
    tags = set(tokenizer.special_tokens)
    names = dict.fromkeys(named or (name for name in tokenizer.sub_tokenizers if name != SPECIAL))
    spoken = tuple(name for name in names if f"<|{name}|>" in tags)
    if named and (unknown := [name for name in names if name not in spoken]):
        raise ConversionError(
            f"The checkpoint's tokenizer has no tag {f'<|{unknown[0]}|>'!r}, so {unknown[0]!r} is no language of it."
        )
    if not spoken or len(spoken) < len(names):
        return None
    return LanguageConfig(
        spoken=spoken, translation="any" if len(spoken) > 1 else "none", translated=spoken, pnc_switch=True
    )


def _tokenizer(nemo: NemoCheckpoint, notes: list[str]) -> CanaryTokenizer:
    models, aggregate = _tokenizer_models(nemo, nemo.config)
    custom = nemo.config["tokenizer"].get("custom_tokenizer")
    target = str(custom.get("_target_", "")).rsplit(".", 1)[-1] if isinstance(custom, Mapping) else ""
    if target and target not in _KNOWN_TOKENIZERS:
        notes.append(f"Its tokenizer class {target} is read as NeMo's own Canary tokenizer.")
    try:
        tokenizer = CanaryTokenizer.from_models(models, aggregate)
        for token in _NEEDED_TOKENS:
            tokenizer.special_id(token)
        return tokenizer
    except CanaryError as error:
        raise ConversionError(f"The checkpoint's tokenizer cannot be used: {error}") from error


def _tokenizer_models(nemo: NemoCheckpoint, config: Mapping[str, Any]) -> tuple[list[tuple[str, bytes]], bool]:
    """Names and SentencePiece models in the order of their ids, and whether they form an aggregate."""
    section = config.get("tokenizer")
    if not isinstance(section, Mapping):
        raise ConversionError("The checkpoint's configuration lacks the section 'tokenizer'.")
    kind = section.get("type")
    if str(kind).lower() not in ("agg", "bpe"):  # as NeMo compares it
        raise ConversionError(f"tokenizer.type={kind!r} is not supported; only 'agg' and 'bpe' are.")
    if str(kind).lower() == "bpe":
        return [("tokenizer", nemo.artifact(_reference(section, "tokenizer")))], False
    langs = section.get("langs")
    if not isinstance(langs, Mapping) or not langs:
        raise ConversionError("tokenizer.langs is missing or empty in the checkpoint's configuration.")
    if len(langs) > _MAX_PARTS:
        raise ConversionError(f"tokenizer.langs has {len(langs)} parts; more than {_MAX_PARTS} make no sense.")
    references = {str(name): _reference(part, f"tokenizer.langs.{name}") for name, part in langs.items()}
    files = {reference: nemo.artifact(reference) for reference in dict.fromkeys(references.values())}
    models = [(name, files[reference]) for name, reference in references.items()]
    if (n_bytes := sum(len(model) for _, model in models)) > _MAX_TOKENIZERS:
        raise ConversionError(
            f"The checkpoint's tokenizers have {n_bytes} bytes; more than {_MAX_TOKENIZERS} make no sense. "
            "Do not trust this file."
        )
    return models, True


def _reference(section: Any, where: str) -> str:
    reference = section.get("model_path") if isinstance(section, Mapping) else None
    if not isinstance(reference, str):
        raise ConversionError(f"{where}.model_path is missing in the checkpoint's configuration.")
    return reference


def _tokenizer_config(tokenizer: CanaryTokenizer) -> TokenizerConfig:
    parts = tokenizer.sub_tokenizers.items() if tokenizer.aggregate else ()
    values = dict(
        type="agg" if tokenizer.aggregate else "bpe",
        size=tokenizer.size,
        sub_tokenizers=tuple(validated(SubTokenizer, dict(name=n, size=s), "tokenizer") for n, s in parts),
    )
    return validated(TokenizerConfig, values, "tokenizer")


def _aligner_config(nemo: NemoCheckpoint, tokenizer: CanaryTokenizer, notes: list[str]) -> AlignerConfig | None:
    config = nemo.timestamps_config
    if config is None:
        return None
    if _pieces(_tokenizer_models(nemo, config)[0]) != [tokenizer.piece(i) for i in range(tokenizer.size)]:
        notes.append(
            "Its auxiliary CTC model has another vocabulary than the model itself, so it is left out: words' times "
            "come from where the decoder looks instead of forced alignment."
        )
        return None
    values = dict(
        preprocessor=preprocessor_config(config),
        encoder=encoder_config(config),
        tokenizer=_tokenizer_config(tokenizer),
    )
    return validated(AlignerConfig, values, "auxiliary CTC model's")


def _pieces(models: list[tuple[str, bytes]]) -> list[str]:
    """All pieces by their ids. A CTC model's tokenizer needs no special tokens."""
    try:
        tokenizer = CanaryTokenizer.from_models(models, aggregate=False)
        return [tokenizer.piece(i) for i in range(tokenizer.size)]
    except CanaryError as error:
        raise ConversionError(f"The auxiliary CTC model's tokenizer cannot be used: {error}") from error


def _output_size(nemo: NemoCheckpoint) -> int:
    head = nemo.tensors.get(_HEAD)
    if head is None or len(head.shape) != 2:
        raise ConversionError(f"The checkpoint lacks the matrix {_HEAD!r}.")
    return head.shape[0]


def tensor_group(tensors: Mapping[str, Tensor], recipes: list[Recipe]) -> TensorGroup:
    """Tensors by NeMo's names with their recipes, every one of them accounted for."""
    return TensorGroup(tensors, recipes, check_sources(recipes, tensors))


def _tied(tensors: Mapping[str, Any]) -> list[str]:
    head, embedding = tensors.get(_HEAD), tensors.get(_EMBEDDING)
    if head is None or embedding is None or head.storage_key == embedding.storage_key:
        return []
    if head.shape != embedding.shape:
        raise ConversionError(f"{_HEAD} is {head.shape} and {_EMBEDDING} {embedding.shape}; they are one matrix.")
    return ["The head and the token embedding are stored twice; the head's values are used, as NeMo does."]


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
