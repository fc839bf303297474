"""Adapter of the reference recordings' `check_reference.py` for this project.

    python check_reference.py --adapter tools/reference_adapter.py

Only calls what the package offers; the stages between (one layer's output, say) are taken by running the network's own
modules in the order in which the network runs them.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mlx_canary.alignment.ctc import align_ctc
from mlx_canary.alignment.inline import parse_inline
from mlx_canary.alignment.viterbi import viterbi as best_path
from mlx_canary.audio.features import Preprocessor
from mlx_canary.audio.load import load_audio
from mlx_canary.backend import mx
from mlx_canary.decoding.beam import Beam
from mlx_canary.decoding.greedy import decode_greedy
from mlx_canary.decoding.limits import token_limit
from mlx_canary.decoding.rows import Symbols
from mlx_canary.decoding.search import search
from mlx_canary.load_models import LoadedModel, load_nemo
from mlx_canary.longform.merging import merge
from mlx_canary.longform.nemo_windows import plan_chunks
from mlx_canary.nemo_longform import transcribe_like_nemo
from mlx_canary.network.conformer import ConformerEncoder, subsampled_length, valid_frames
from mlx_canary.streaming.options import StreamingOptions
from mlx_canary.streaming.policies import AlignAtt, WaitK
from mlx_canary.text.prompt import Prompt, encode_prompt
from mlx_canary.types import Audio, EncoderOutput, Features

Stages = dict[str, Any]


def load(nemo_path: str) -> LoadedModel:
    return load_nemo(Path(nemo_path))


def features(model: LoadedModel, audio: np.ndarray, lengths: np.ndarray) -> Stages:
    computed = _features(model.preprocessor, audio, lengths)
    return {"mel": np.array(computed.frames.transpose(0, 2, 1)), "mel_len": np.array(computed.lengths)}


def encode_features(model: LoadedModel, mel: np.ndarray, mel_len: np.ndarray) -> Stages:
    lengths = tuple(int(n) for n in mel_len)
    frames = mx.array(np.ascontiguousarray(mel.transpose(0, 2, 1)[:, : max(lengths)]))
    return _encoder_stages(model, Features(frames, lengths))


def encode(model: LoadedModel, audio: np.ndarray, lengths: np.ndarray) -> Stages:
    return _encoder_stages(model, _features(model.preprocessor, audio, lengths))


def teacher_forcing(model: LoadedModel, states: np.ndarray, mask: np.ndarray, ids: np.ndarray) -> Stages:
    network, decoder = model.network, model.network.decoder
    B = len(states)
    encoded = EncoderOutput(mx.array(states), tuple(int(n) for n in mask.sum(axis=1)))
    tokens = mx.array(np.tile(np.asarray(ids, np.int32), (B, 1)))
    stages: Stages = {"logits": network.step(tokens, network.start(encoded, [0] * B))}
    cache = network.start(encoded, [0] * B)
    index = mx.arange(len(ids))
    x = decoder.embedding(tokens, mx.broadcast_to(index, (B, len(ids))))
    stages["dec_embedding"] = x
    causal = (index <= index[:, None])[None, None]
    for n, layer in enumerate(decoder.layers):
        x = layer(x, cache.tokens[n], causal, cache.cross[n], cache.cross_mask)
        stages[f"dec_layer_{n}"] = x
    stages["dec_final"] = decoder.final_norm(x)
    return _as_numpy(stages)


def prompt(model: LoadedModel, slots: dict[str, str]) -> list[int]:
    asked = Prompt.from_slots({**model.config.prompt.defaults, **slots})
    return encode_prompt(asked, model.config.prompt.format, model.tokenizer)


def tokenize(model: LoadedModel, text: str, lang: str) -> list[int]:
    return model.tokenizer.encode(text, lang)


def detokenize(model: LoadedModel, ids: list[int]) -> str:
    return model.tokenizer.decode(ids)


def greedy(
    model: LoadedModel, audio: np.ndarray, lengths: np.ndarray, prompt_ids: list[int], max_delta: int
) -> list[list[int]]:
    encoded = model.network.encode(_features(model.preprocessor, audio, lengths))
    room = _room(model, lengths, prompt_ids, max_delta)
    hypotheses = decode_greedy(
        model.network,
        encoded,
        [prompt_ids] * len(audio),
        [room] * len(audio),
        model.tokenizer.eos_id,
        model.tokenizer.size,
    )
    return [list(hypothesis.tokens) for hypothesis in hypotheses]


def beam(
    model: LoadedModel,
    audio: np.ndarray,
    lengths: np.ndarray,
    prompt_ids: list[int],
    beam_size: int,
    length_penalty: float,
    max_delta: int,
) -> list[list[tuple[list[int], float]]]:
    # NeMo's beam search gives one token more than its greedy search.
    items = search(
        model.network,
        model.network.encode(_features(model.preprocessor, audio, lengths)),
        [prompt_ids] * len(audio),
        [_room(model, lengths, prompt_ids, max_delta) + 1] * len(audio),
        Symbols(model.tokenizer.eos_id, model.tokenizer.size, model.tokenizer.pad_id),
        Beam(beam_size, beam_size, length_penalty, nemo_faults=True),
    )
    return [[(list(h.tokens), h.score) for h in item.hypotheses()] for item in items]


def _room(model: LoadedModel, lengths: np.ndarray, prompt_ids: list[int], max_delta: int) -> int:
    # NeMo counts the frames of the padded batch.
    decoding = model.config.decoding.model_copy(update={"max_generation_delta": max_delta, "strategy": "greedy"})
    config = model.config.model_copy(update={"decoding": decoding})
    return token_limit(config, max(lengths) // config.preprocessor.hop_length, len(prompt_ids))


def resample(samples: np.ndarray, rate: int) -> np.ndarray:
    return load_audio(Audio(samples, rate), sample_rate=16_000).samples


def ctc_log_probs(model: LoadedModel, audio: np.ndarray) -> np.ndarray:
    assert model.aligner is not None
    log_probs, _ = model.aligner.network(model.aligner.preprocessor([audio]))
    return np.array(log_probs[0])


def timestamps(model: LoadedModel, text: str) -> Stages:
    times = parse_inline(text, model.config.frame_duration)
    return {"text": times.text, "word": _entries(times.words, "word"), "segment": _entries(times.segments, "segment")}


def viterbi(log_probs: np.ndarray, token_ids_with_blanks: list[int]) -> np.ndarray:
    return best_path(log_probs, np.array(token_ids_with_blanks))


def align(model: LoadedModel, audio: np.ndarray, text: str, kind: str) -> Stages:
    assert model.aligner is not None
    log_probs, (n_frames,) = model.aligner.network(model.aligner.preprocessor([audio]))
    frames, duration = np.array(log_probs[0, :n_frames]), model.aligner.frame_duration
    aligned = align_ctc(text, frames, model.tokenizer, duration, whole=kind == "char")
    if kind == "char":
        return {"char": [{**entry, "token": entry["piece"]} for entry in _entries(aligned.tokens, "char")]}
    return {"word": _entries(aligned.words, "word"), "segment": _entries(aligned.segments, "segment")}


def _entries(spans: Any, kind: str) -> list[dict[str, Any]]:
    return [{kind if key == "text" else key: value for key, value in asdict(span).items()} for span in spans]


def _features(preprocessor: Preprocessor, audio: np.ndarray, lengths: np.ndarray) -> Features:
    return preprocessor([row[: int(n)] for row, n in zip(audio, lengths, strict=True)])


def _encoder_stages(model: LoadedModel, computed: Features) -> Stages:
    encoder: ConformerEncoder = model.network.encoder
    x = encoder.subsampling(computed.frames, computed.lengths)
    lengths = tuple(subsampled_length(n, encoder.subsampling_factor) for n in computed.lengths)
    stages: Stages = {"pre_encode": x, "pre_encode_len": np.array(lengths, np.int32)}
    x = x * encoder.scale
    stages["pos_enc.x"] = x
    valid = valid_frames(x.shape[1], lengths)
    positions = encoder.positions(x.shape[1])
    stages |= _first_block(encoder.blocks[0], x, positions[0], valid)
    for n, (block, projected) in enumerate(zip(encoder.blocks, positions, strict=True)):
        x = block(x, projected, valid)
        stages[f"layer_{n}"] = x
    states, encoded_lengths = encoder(computed.frames, computed.lengths)
    to_decoder = model.network.project(states)
    stages |= {"encoder": states, "encoder_len": np.array(encoded_lengths, np.int32), "enc_dec_proj": to_decoder}
    return _as_numpy(stages)


def _first_block(block: Any, x: mx.array, positions: mx.array, valid: mx.array | None) -> Stages:
    if x.shape[0] > 1:
        return {}  # recorded for single runs only
    stages = {"layer_0.feed_forward1": block.feed_forward1(block.norm_feed_forward1(x))}
    x = x + 0.5 * stages["layer_0.feed_forward1"]
    stages["layer_0.self_attn"] = block.attention(
        block.norm_attention(x), positions, None if valid is None else valid[:, None, None]
    )
    x = x + stages["layer_0.self_attn"]
    stages["layer_0.conv"] = block.conv(block.norm_conv(x), valid)
    x = x + stages["layer_0.conv"]
    stages["layer_0.feed_forward2"] = block.feed_forward2(block.norm_feed_forward2(x))
    return stages


def _as_numpy(stages: Stages) -> Stages:
    return {name: np.array(value) for name, value in stages.items()}


def chunk_plan(n_samples: int) -> dict[str, Any]:
    chunks = plan_chunks(n_samples, 16_000)
    return {"chunk_size": chunks.chunk_size, "starts": list(chunks.starts), "lengths": list(chunks.lengths)}


def lcs_merge(buffer: list[int], data: list[int], delay: int, parallel_chunking: bool) -> list[int]:
    return merge(buffer, data, delay, parallel_chunking)


def longform(model: LoadedModel, audio: np.ndarray, timestamps: bool) -> dict[str, Any]:
    # The pieces were recorded without NeMo's script, which sets the decoding.
    found = transcribe_like_nemo(model, audio, Prompt("en", "en"), timestamps, pieces=model.config.decoding)
    entries: dict[str, Any] = {"text": found.text, "chunks": [list(chunk) for chunk in found.chunks]}
    if timestamps:
        entries |= {"word": _entries(found.words, "word"), "segment": _entries(found.segments, "segment")}
    return entries


def stream(
    model: LoadedModel, audio: np.ndarray, prompt_ids: list[int], seconds: dict[str, float], options: dict[str, Any]
) -> Stages:
    # NeMo replaces the number of tokens in a step by its own.
    asked = {name: value for name, value in options.items() if name != "max_tokens_per_alignatt_step"}
    asked["policy"] = asked.pop("streaming_policy")
    settings = StreamingOptions(**asked, **seconds)
    policy = {"waitk": WaitK, "alignatt": AlignAtt}[settings.policy](model, prompt_ids, settings)
    steps, n_steps = [], 0
    for n in range(0, len(audio), 1000):
        policy.feed(audio[n : n + 1000])
        if policy.n_steps > n_steps:
            n_steps = policy.n_steps
            steps.append(policy.tokens)
    policy.finish()
    return {"ids": policy.tokens, "steps": [*steps, policy.tokens]}
