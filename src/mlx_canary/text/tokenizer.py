"""Text to token ids and back, with the checkpoint's own SentencePiece models.

Mirrors NeMo's CanaryTokenizer (several models whose ids follow each other) and CanaryBPETokenizer (one model).
Knows nothing about prompts.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path

import sentencepiece

from mlx_canary.config import TokenizerConfig
from mlx_canary.errors import CheckpointError, PromptError

SPECIAL = "spl_tokens"
_SPECIAL_PIECE = re.compile(r"<\|[^|]*\|>|<pad>|<unk>")
# NeMo renames a two-letter language for checkpoints whose sub-tokenizers carry a region.
_REGIONS = {"en": "en-US", "es": "es-ES", "fr": "fr-FR", "de": "de-DE"}


@dataclass(frozen=True, slots=True)
class _SubTokenizer:
    name: str
    offset: int
    processor: sentencepiece.SentencePieceProcessor

    @property
    def size(self) -> int:
        return int(self.processor.get_piece_size())


class CanaryTokenizer:
    """The tokenizer of a checkpoint, single or aggregate.

    Args:
        model_path: A SentencePiece `.model` file, or the folder of a converted checkpoint.

    Raises:
        CheckpointError: The files are missing or are not SentencePiece models.
    """

    def __init__(self, model_path: str | Path) -> None:
        models, aggregate = _read_models(Path(model_path))
        self._build(models, aggregate)

    @classmethod
    def from_models(cls, models: Sequence[tuple[str, bytes]], aggregate: bool) -> CanaryTokenizer:
        """From serialized SentencePiece models with their names, in the order of their ids."""
        tokenizer = cls.__new__(cls)
        tokenizer._build(models, aggregate)
        return tokenizer

    def _build(self, models: Sequence[tuple[str, bytes]], aggregate: bool) -> None:
        self.aggregate = aggregate
        self._parts: list[_SubTokenizer] = []
        self._pieces: list[str] = []  # by id
        for name, proto in models:
            processor, pieces = _read_model(name, proto)
            self._parts.append(_SubTokenizer(name, len(self._pieces), processor))
            self._pieces += pieces
        self.size = len(self._pieces)
        if aggregate and SPECIAL not in self.sub_tokenizers:
            raise CheckpointError(
                f"The aggregate tokenizer has no sub-tokenizer {SPECIAL!r}; it has: {', '.join(self.sub_tokenizers)}."
            )

    @cached_property
    def bos_id(self) -> int:
        """The token that begins a transcript."""
        return self.special_id("<|startoftranscript|>")

    @cached_property
    def eos_id(self) -> int:
        """The token that ends a text."""
        return self.special_id("<|endoftext|>")

    @cached_property
    def pad_id(self) -> int:
        """The token that fills up."""
        return self.special_id("<pad>")

    @property
    def sub_tokenizers(self) -> dict[str, int]:
        """Names of the sub-tokenizers and their sizes, in the order of their ids."""
        return {part.name: part.size for part in self._parts}

    @cached_property
    def special_tokens(self) -> list[str]:
        """All special tokens that a prompt may contain."""
        return list(dict.fromkeys(self.piece(i) for i in sorted(self.special_ids)))

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """Ids of all special tokens, the unknown ones included."""
        special = self._special
        ids = range(special.offset, special.offset + special.size)
        return self.unknown_ids | {i for i in ids if _SPECIAL_PIECE.fullmatch(self.piece(i))}

    @cached_property
    def unknown_ids(self) -> frozenset[int]:
        """What stands for characters that a tokenizer does not have; each sub-tokenizer has its own."""
        return frozenset(part.offset + int(part.processor.unk_id()) for part in self._parts)

    @property
    def _special(self) -> _SubTokenizer:
        return next((part for part in self._parts if part.name == SPECIAL), self._parts[0])

    def has_special(self, token: str) -> bool:
        """Whether the checkpoint has this special token."""
        processor = self._special.processor
        return bool(processor.id_to_piece(processor.piece_to_id(token)) == token)

    @cached_property
    def n_times(self) -> int:
        """How many time tokens there are: `<|0|>`, `<|1|>` and so on, one for each encoder frame."""
        return next(n for n in count() if not self.has_special(f"<|{n}|>"))

    def special_id(self, token: str) -> int:
        """The id of a special token.

        Ordinary pieces occur in several sub-tokenizers, so only the special one is searched.

        Raises:
            PromptError: The checkpoint has no such token.
        """
        if not self.has_special(token):
            raise PromptError(f"This checkpoint's tokenizer has no token {token!r}.")
        return self._special.offset + int(self._special.processor.piece_to_id(token))

    def encode(self, text: str, language: str | None = None) -> list[int]:
        """Ids of a text.

        Args:
            text: Any text. A single model also recognises special tokens in it; an aggregate one does not.
            language: Which sub-tokenizer to use; aggregate tokenizers need it.

        Raises:
            PromptError: An aggregate tokenizer got no language, or one that it does not have.
        """
        part = self._sub_tokenizer(language) if self.aggregate else self._parts[0]
        return [part.offset + int(i) for i in part.processor.encode(text)]

    def encode_pieces(self, text: str, language: str | None = None) -> list[str]:
        """The pieces of a text, one for each id of `encode`; an unknown one keeps the text's own characters."""
        part = self._sub_tokenizer(language) if self.aggregate else self._parts[0]
        return [str(piece) for piece in part.processor.encode(text, out_type=str)]

    def decode(self, ids: Iterable[int], skip_special: bool = False) -> str:
        """The text of these ids, as NeMo makes it.

        An aggregate tokenizer's text keeps the space before its first word. With `skip_special`, special tokens are
        left out (NeMo has no such filter).

        Raises:
            IndexError: An id is outside the vocabulary.
        """
        ids = list(ids)
        for i in ids:
            self._check(i)
        if skip_special:
            ids = [i for i in ids if i not in self.special_ids]
        if self.aggregate:
            return "".join(map(self.piece, ids)).replace("▁", " ")
        return str(self._parts[0].processor.decode(ids))

    def piece(self, token_id: int) -> str:
        """The piece of one id."""
        self._check(token_id)
        return self._pieces[token_id]

    def _check(self, token_id: int) -> None:
        if not 0 <= token_id < self.size:
            raise IndexError(f"Token id {token_id} is outside the vocabulary of {self.size} pieces.")

    def model_protos(self) -> list[tuple[str, bytes]]:
        """Names and serialized models, as `from_models` takes them."""
        return [(part.name, part.processor.serialized_model_proto()) for part in self._parts]

    @cached_property
    def _of_all_languages(self) -> _SubTokenizer | None:
        """The only part for text where it is no language's own, as in AI4Bharat's CanaryMultilingualTokenizer."""
        parts = [part for part in self._parts if part.name != SPECIAL]
        alone = len(parts) == 1 and not self.has_special(f"<|{parts[0].name.partition('-')[0]}|>")
        return parts[0] if alone else None

    def _sub_tokenizer(self, language: str | None) -> _SubTokenizer:
        parts = {part.name: part for part in self._parts}
        name = language if language in parts else _REGIONS.get(str(language))
        if name in parts:
            return parts[name]
        if self._of_all_languages is not None and self.has_special(f"<|{language}|>"):
            return self._of_all_languages
        languages = ", ".join(name for name in parts if name != SPECIAL)
        raise PromptError(f"Encoding text needs one of this tokenizer's languages, not {language!r}: {languages}.")


def _read_model(name: str, proto: bytes) -> tuple[sentencepiece.SentencePieceProcessor, list[str]]:
    """A SentencePiece model and its pieces."""
    processor = sentencepiece.SentencePieceProcessor()
    try:
        if proto and processor.LoadFromSerializedProto(proto):
            return processor, processor.id_to_piece(list(range(processor.get_piece_size())))
    except (RuntimeError, UnicodeDecodeError):  # the latter from a piece that is no text
        pass
    raise CheckpointError(f"The tokenizer {name!r} is not a SentencePiece model ({len(proto)} bytes).")


def _read_models(path: Path) -> tuple[list[tuple[str, bytes]], bool]:
    """The models of a `.model` file or of a converted checkpoint's folder, and whether they form an aggregate."""
    if os.path.isfile(path):  # False where it may not be looked at
        return [(path.stem, _content(path, path.parent))], False
    try:
        section = json.loads((path / "config.json").read_text(encoding="utf-8"))["tokenizer"]
        tokenizer = TokenizerConfig.model_validate(section)  # whose names are not paths to somewhere else
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = " ".join(repr(error).split())
        raise CheckpointError(
            f"{path} is neither a SentencePiece .model file nor the folder of a converted checkpoint: {reason:.300}."
        ) from error
    aggregate = tokenizer.type == "agg"
    names = [part.name for part in tokenizer.sub_tokenizers]
    files = (
        [(name, path / tokenizer_file(name, aggregate)) for name in names]
        if aggregate
        else [("tokenizer", path / tokenizer_file("tokenizer", aggregate))]
    )
    return [(name, _content(file, path)) for name, file in files], aggregate


def _content(file: Path, folder: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        raise CheckpointError(f"{folder} lacks {file.relative_to(folder)}; convert the checkpoint again.") from error
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error.strerror}.") from error


def tokenizer_file(name: str, aggregate: bool) -> str:
    """Where a converted checkpoint keeps a SentencePiece model, relative to its folder."""
    return f"tokenizers/{name}.model" if aggregate else "tokenizer.model"
