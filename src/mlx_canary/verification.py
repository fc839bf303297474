"""Is a converted checkpoint whole? A folder in, a list of checks out; with its source, every weight is compared.

Each check stands for a stage of loading and using the model, in order; one that cannot run because an earlier
one failed has failed too.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from mlx_canary.backend import mx
from mlx_canary.config import ModelConfig, WeightsConfig
from mlx_canary.conversion import safetensors
from mlx_canary.conversion.files import weights_files
from mlx_canary.conversion.nemo import open_nemo
from mlx_canary.conversion.source import read_source, tensor_group
from mlx_canary.conversion.weights import tensors_of
from mlx_canary.errors import CanaryError, CheckpointError
from mlx_canary.load_models import LoadedModel, check_tensors, load_folder, read_config
from mlx_canary.network.build import build_network, parameters
from mlx_canary.network.canary import CanaryNetwork
from mlx_canary.network.ctc import CTCNetwork
from mlx_canary.requests import default_language
from mlx_canary.text.prompt import TEMPLATES, Prompt, encode_prompt
from mlx_canary.text.tokenizer import CanaryTokenizer


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the result.

    Attributes:
        name: What was checked.
        passed: Whether it holds.
        detail: What was found, or why it failed.
    """

    name: str
    passed: bool
    detail: str


def verify(folder: str | Path, nemo_file: str | Path | None = None) -> list[Check]:
    """Check a converted checkpoint.

    Args:
        folder: Made by `convert`.
        nemo_file: What it was made from; then every weight is compared with it.

    Returns:
        The checks in order. Problems are failed checks, never exceptions.
    """
    checks = _Checks(Path(folder))
    steps: list[tuple[str, Callable[[], str]]] = [
        ("Model creation", checks.model_creation),
        ("Key mapping", checks.key_mapping),
        ("Weight loading", checks.weight_loading),
        ("Forward pass", checks.forward_pass),
        ("Tokenizer round trip", checks.tokenizer_round_trip),
        ("Prompt", checks.prompt),
    ]
    if nemo_file is not None:
        steps.append(("Equality with the source", lambda: checks.equality(Path(nemo_file))))
    return [_run(name, step) for name, step in steps]


def _run(name: str, step: Callable[[], str]) -> Check:
    try:
        return Check(name, True, step())
    except CanaryError as error:
        return Check(name, False, str(error))
    except OSError as error:
        return Check(name, False, f"{error.filename} cannot be read: {error.strerror}")
    except (ValueError, RuntimeError) as error:  # MLX's, for numbers that each alone are possible
        return Check(name, False, f"computing ended with: {error}")


class _Checks:
    """The steps; each returns what it found or raises a CanaryError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._config: ModelConfig | None = None
        self._loaded: LoadedModel | None = None

    @property
    def config(self) -> ModelConfig:
        if self._config is None:
            raise CheckpointError("not reached: the model could not be created")
        return self._config

    @property
    def loaded(self) -> LoadedModel:
        if self._loaded is None:
            raise CheckpointError("not reached: the weights could not be loaded")
        return self._loaded

    def model_creation(self) -> str:
        try:
            is_folder = self.folder.is_dir()
        except OSError as error:
            raise CheckpointError(f"the folder cannot be looked at: {error}") from error
        if not is_folder:
            raise CheckpointError(f"{self.folder} is not a folder")
        config = read_config(self.folder)
        plain = config.model_copy(update={"weights": config.weights.model_copy(update={"quantization": None})})
        n_weights = sum(value.size for _, value in parameters(build_network(plain)))
        self._config = config
        encoder, decoder = config.encoder, config.decoder
        return (
            f"{encoder.n_layers} encoder layers of {encoder.d_model}, "
            f"{decoder.n_layers} decoder layers of {decoder.hidden_size}, {n_weights / 1e6:.1f} M weights"
        )

    def key_mapping(self) -> str:
        found = []
        for file in weights_files(self.config):
            path = _existing(self.folder / file.name)
            tensors = safetensors.read(path)
            if self.config.weights.layout == "nemo":
                tensor_group(tensors, file.recipes)
            else:
                check_tensors(path, tensors, file.expected)
            found.append(f"{len(tensors)} tensors in {file.name}")
        return ", ".join(found) + ", each used once"

    def weight_loading(self) -> str:
        _ = self.config
        loaded = load_folder(self.folder)
        for network in _networks(loaded):
            for name, value in parameters(network):
                if mx.issubdtype(value.dtype, mx.floating) and not mx.isfinite(value).all().item():
                    raise CheckpointError(f"{name} has values that are not finite")
        self._loaded = loaded
        return "every parameter filled once, all values finite"

    def forward_pass(self) -> str:
        """Two noises of different length: finite numbers, and the shorter the same as alone."""
        model, n_samples = self.loaded, self.config.preprocessor.sample_rate // 2
        if self.config.weights.quantization is not None and mx.default_device() == mx.Device(mx.cpu):
            # MLX's CPU multiplies by quantized matrices in float16 some 40 times slower: minutes instead of seconds.
            for network in _networks(model):
                network.set_dtype(mx.float32)
        noise = np.random.default_rng(0).standard_normal(n_samples).astype(np.float32) * 0.1
        both = model.network.encode(model.preprocessor([noise, noise[: n_samples // 2]]))
        alone = model.network.encode(model.preprocessor([noise[: n_samples // 2]]))
        n = alone.lengths[0]
        difference = float(mx.abs(both.states[1, :n] - alone.states[0, :n]).max())
        prompt = mx.array([[model.tokenizer.bos_id]] * 2)
        logits = model.network.step(prompt, model.network.start(both, [0, 0]))
        if not mx.isfinite(logits).all().item():
            raise CheckpointError("the logits are not finite")
        # Half precision and quantization round differently in a batch; anything larger means a leak between items.
        allowed = 1e-3 if model.network.dtype == mx.float32 else 0.2
        if not difference <= allowed * max(1.0, float(mx.abs(alone.states).max())):
            raise CheckpointError(f"an item in a batch differs by {difference:.2g} from the same item alone")
        if model.aligner is not None:
            log_probs, _ = model.aligner.network(model.aligner.preprocessor([noise]))
            if not mx.isfinite(log_probs).all().item():
                raise CheckpointError("the auxiliary CTC model's log-probabilities are not finite")
        return f"finite logits over {logits.shape[-1]} outputs; batch and single differ by {difference:.1g}"

    def tokenizer_round_trip(self) -> str:
        """Every piece of vocab.txt, and its own text encoded and decoded again."""
        _ = self.config
        tokenizer = CanaryTokenizer(self.folder)
        pieces = [tokenizer.piece(i) for i in range(tokenizer.size)]
        written = _existing(self.folder / "vocab.txt").read_text(encoding="utf-8")
        if written != "".join(f"{piece}\n" for piece in pieces):
            raise CheckpointError("vocab.txt does not list the tokenizer's pieces")
        languages = (
            [name for name in tokenizer.sub_tokenizers if name != "spl_tokens"] if tokenizer.aggregate else [None]
        )
        for language in languages:
            ids = tokenizer.encode(_sample(tokenizer, language), language)
            if tokenizer.encode(tokenizer.decode(ids).strip(), language) != ids:
                raise CheckpointError(f"the text of {ids} does not encode to the same ids ({language})")
        return f"{len(pieces)} pieces"

    def prompt(self) -> str:
        tokenizer, languages = self.loaded.tokenizer, self.config.languages
        spoken = languages.spoken if languages is not None else (_some_language(self.config, tokenizer),)
        for code in spoken:
            ids = encode_prompt(Prompt(code, code), self.config.prompt.format, tokenizer)
            if max(ids) >= self.config.decoder.output_size:
                raise CheckpointError(f"the prompt for {code} has ids beyond the decoder's outputs")
        return f"{self.config.prompt.format}, {len(ids)} tokens, for {', '.join(spoken)}"

    def equality(self, nemo_file: Path) -> str:
        """Convert again in memory and compare every number."""
        weights, n_compared = self.config.weights, 0
        self._loaded = None  # or the weights would be in memory twice
        with open_nemo(nemo_file) as nemo:
            own = nemo.config.get("prompt_format") in TEMPLATES
            source = read_source(nemo, None if own else self.config.prompt.nemo_format)
            if _without_names(source.config) != _without_names(self.config):
                raise CheckpointError(f"config.json does not say what {nemo_file.name} says; is it another checkpoint?")
            pairs = zip(CanaryTokenizer(self.folder).model_protos(), source.tokenizer.model_protos(), strict=True)
            for (name, ours), (_, theirs) in pairs:
                if ours != theirs:
                    raise CheckpointError(f"the SentencePiece model {name!r} is not that of {nemo_file.name}")
            for file, group in zip(weights_files(self.config), source.groups, strict=True):
                stored = mx.load(str(_existing(self.folder / file.name)))
                assert isinstance(stored, dict)
                for name, value in tensors_of(group, file.expected, weights):
                    found = stored.pop(name, None)
                    if found is None or not mx.array_equal(found, value).item():
                        raise CheckpointError(f"{name} differs from what {nemo_file.name} gives")
                    n_compared += 1
                    nemo.release_pages()
        return f"{n_compared} tensors and the tokenizer are what {nemo_file.name} gives"


def _without_names(config: ModelConfig) -> ModelConfig:
    """What does not follow from a checkpoint's file name, nor from how it was converted."""
    source = config.source.model_copy(update=dict(file="", license=None))
    dtype = WeightsConfig(layout="mlx", dtype="float32", quantization=None)
    return config.model_copy(update=dict(name="", source=source, languages=None, weights=dtype))


def _some_language(config: ModelConfig, tokenizer: CanaryTokenizer) -> str:
    """A language for the prompt of a checkpoint that does not say which it knows: its default, or any with a tag."""
    tags = (re.fullmatch(r"<\|([a-z]{2})\|>", token) for token in tokenizer.special_tokens)
    codes = [tag[1] for tag in tags if tag]
    if not codes:
        raise CheckpointError("the tokenizer has no tag of a language, such as <|en|>")
    default = default_language(config)
    return default if default in codes else codes[0]


def _networks(loaded: LoadedModel) -> list[CanaryNetwork | CTCNetwork]:
    return [loaded.network, *([loaded.aligner.network] if loaded.aligner else [])]


def _sample(tokenizer: CanaryTokenizer, language: str | None) -> str:
    """Words that a tokenizer surely knows: some of its own pieces. Not every alphabet has digits or Latin letters."""
    sizes, offset = tokenizer.sub_tokenizers, 0
    for name, size in sizes.items():
        if language in (name, None):
            pieces = (tokenizer.piece(i) for i in range(offset, offset + size))
            words = (piece[1:] for piece in pieces if piece.startswith("▁") and len(piece) > 1)
            return " ".join(islice(words, 20))
        offset += size
    return ""


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise CheckpointError(f"{path.parent} lacks {path.name}")
    return path
