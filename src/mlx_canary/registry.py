"""The published Canary checkpoints: where they are and what they were trained to do.

A checkpoint's configuration does not say which languages it was trained on, so what NVIDIA's model cards say is kept
here. Sizes serve to recognise a file; they never decide how it is read.
"""

from __future__ import annotations

from dataclasses import dataclass

from mlx_canary.config import LanguageConfig

_FOUR = ("en", "de", "es", "fr")
_EUROPEAN = (
    *("bg", "cs", "da", "de", "el", "en", "es", "et", "fi", "fr", "hr", "hu", "it"),
    *("lt", "lv", "mt", "nl", "pl", "pt", "ro", "ru", "sk", "sl", "sv", "uk"),
)


@dataclass(frozen=True, slots=True)
class PublishedModel:
    """One published checkpoint.

    Attributes:
        repository: On the Hugging Face hub.
        parameters: For people, such as "182 M".
        download_bytes: Size of the `.nemo` file.
        license: SPDX identifier.
        languages: What it was trained to do, by its model card.
        word_times: Where those of its transcripts come from unless a caller says: "time tokens" that it writes itself,
            its "CTC aligner", or "attention", which tells them for every model.
        encoder_layers, encoder_width, decoder_layers, vocabulary: To recognise the file.
    """

    repository: str
    parameters: str
    download_bytes: int
    license: str
    languages: LanguageConfig
    word_times: str
    encoder_layers: int
    encoder_width: int
    decoder_layers: int
    vocabulary: int

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """What has to agree with a file for it to be this model."""
        return self.encoder_layers, self.encoder_width, self.decoder_layers, self.vocabulary


def _around_english(spoken: tuple[str, ...], translated: tuple[str, ...], pnc_switch: bool) -> LanguageConfig:
    return LanguageConfig(spoken=spoken, translation="english", translated=translated, pnc_switch=pnc_switch)


CANARY_MODELS: dict[str, PublishedModel] = {
    "canary-180m-flash": PublishedModel(
        repository="nvidia/canary-180m-flash",
        parameters="182 M",
        download_bytes=736_665_600,
        license="CC-BY-4.0",
        languages=_around_english(_FOUR, _FOUR, pnc_switch=True),
        word_times="time tokens",
        encoder_layers=17,
        encoder_width=512,
        decoder_layers=4,
        vocabulary=5248,
    ),
    "canary-1b-flash": PublishedModel(
        repository="nvidia/canary-1b-flash",
        parameters="883 M",
        download_bytes=3_540_715_520,
        license="CC-BY-4.0",
        languages=_around_english(_FOUR, _FOUR, pnc_switch=True),
        word_times="time tokens",
        encoder_layers=32,
        encoder_width=1024,
        decoder_layers=4,
        vocabulary=5248,
    ),
    "canary-1b-v2": PublishedModel(
        repository="nvidia/canary-1b-v2",
        parameters="978 M",
        download_bytes=6_358_958_080,
        license="CC-BY-4.0",
        # Its model card's data notes list no Latvian among the translations, and it always punctuates.
        languages=_around_english(_EUROPEAN, tuple(c for c in _EUROPEAN if c != "lv"), pnc_switch=False),
        word_times="CTC aligner",
        encoder_layers=32,
        encoder_width=1024,
        decoder_layers=8,
        vocabulary=16384,
    ),
    "canary-1b": PublishedModel(
        repository="nvidia/canary-1b",
        parameters="1.02 B",
        download_bytes=4_070_000_000,
        license="CC-BY-NC-4.0",
        languages=_around_english(_FOUR, _FOUR, pnc_switch=True),
        word_times="attention",
        encoder_layers=24,
        encoder_width=1024,
        decoder_layers=24,
        vocabulary=4128,
    ),
}

# The model in the package, which no hub has: the licence of its weights, and its sizes as above.
DEMO_LICENSE, DEMO_SIZES = "CC-BY-SA-3.0", (8, 144, 3, 1545)
