"""Train the small Canary: python train.py --data DIR [DIR ...] --work DIR --minutes 90

Picks up finished shards while it runs, saves every few minutes, and goes on
where it was when called again: the schedule is made of minutes trained, so it
ends when it should, on any machine. On a CPU one process of one thread a core
(--workers) is nearly twice as fast as one process of many threads.

What makes so small a training converge: the start in model.py; the encoder
learns beside the decoder's loss with CTC and, at first, frame by frame from
the synthesisers' word times; short utterances first; an encoder that has
already learned to hear, if one is at hand (--encoder-from).
"""

import argparse
import math
import os
import random
import time
import warnings
from pathlib import Path

import model as small
import numpy as np
import texts
import torch
import torch.distributed as dist
from examples import Example, Maker
from shards import Utterance, read_new

# Share of the examples by engine, as far as there are shards of it.
SHARES = {"kokoro": 0.36, "pico": 0.2, "espeak": 0.14, "people": 0.1, "joined": 0.16, "joe": 0.04}
NO_SPEECH = 0.02


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=90, help="of training in all, resumed or not")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch-seconds", type=float, default=32, help="of sound, a worker and step")
    parser.add_argument("--lr", type=float, default=1.2e-3)
    parser.add_argument("--pieces", type=int, default=320, help="tokens a language")
    parser.add_argument("--curriculum", type=float, default=4, help="minutes until the longest utterances are used")
    parser.add_argument("--frame-minutes", type=float, default=20, help="minutes of frame-level teaching")
    parser.add_argument("--encoder-from", type=Path, help="a .nemo whose encoder to start from")
    parser.add_argument("--freeze-front", action="store_true", help="keep its subsampling convolutions: twice as fast")
    parser.add_argument("--save-minutes", type=float, default=3)
    return parser.parse_args()


class Pool:
    """Utterances by engine, drawn by share."""

    def __init__(self, folders: list[Path]) -> None:
        self.folders, self.seen, self.by_engine, self.looked = folders, set(), {}, 0.0

    def refresh(self) -> None:
        if time.time() - self.looked > 60:
            self.looked = time.time()
            for u in read_new(self.folders, self.seen):
                if u.text[u.lang]:
                    self.by_engine.setdefault(u.engine, []).append(u)

    def draw(self, rng: random.Random, longest: float) -> Utterance:
        engines = [e for e in SHARES if e in self.by_engine]
        while True:
            u = rng.choice(self.by_engine[rng.choices(engines, [SHARES[e] for e in engines])[0]])
            if u.duration <= longest:
                return u


def batches(pool: Pool, maker: Maker, seconds: float, progress):
    """Lists of examples of similar length, about `seconds` of sound each."""
    rng = maker.rng
    while True:
        pool.refresh()
        longest, strength = progress()
        chosen = sorted((pool.draw(rng, longest) for _ in range(160)), key=lambda u: u.duration)
        groups: list[list[Utterance]] = [[]]
        for u in chosen:
            if groups[-1] and (u.duration + 0.6) * (len(groups[-1]) + 1) > seconds:
                groups.append([])
            groups[-1].append(u)
        rng.shuffle(groups)
        for group in groups:
            yield [maker.silence() if rng.random() < NO_SPEECH else maker.example(u, strength) for u in group]


def pad(rows: list, value: float | int) -> torch.Tensor:
    dtype = np.float32 if isinstance(value, float) else np.int64
    out = np.full((len(rows), max(1, max(map(len, rows)))), value, dtype=dtype)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return torch.from_numpy(out)


def front(encoder, mel: torch.Tensor, lengths: torch.Tensor, frozen: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """The encoder's subsampling: mel (B, M, T) to (B, S, D) and lengths.

    NeMo's own module multiplies by masks that are as large as the activations;
    zeroing the padding does the same, and frozen convolutions keep nothing for
    the backward pass.
    """
    pre = encoder.pre_encode
    with torch.set_grad_enabled(not frozen):
        x, n = mel.transpose(1, 2).unsqueeze(1), lengths.clone()
        for layer in pre.conv:
            if frozen:
                for i, length in enumerate(n.tolist()):
                    x[i, :, length:] = 0
                x = torch.relu_(x) if isinstance(layer, torch.nn.ReLU) else layer(x)
            else:
                x = layer(x * (torch.arange(x.shape[2])[None, :, None] < n[:, None, None])[:, None].to(x.dtype))
            if isinstance(layer, torch.nn.Conv2d) and layer.stride[0] == 2:
                n = (n - 1) // 2 + 1
        mask = torch.arange(x.shape[2])[None] < n[:, None]
        x = x.transpose(1, 2).flatten(2) * mask[..., None].to(x.dtype)
    return pre.out(x), n


def losses(network, ctc, examples: list[Example], frozen: bool, teach: bool, mask_spectrum: bool) -> dict[str, torch.Tensor]:
    lengths = torch.tensor([len(e.samples) for e in examples])
    rows = [e.prompt + e.answer for e in examples]
    n_prompt, n_row = torch.tensor([len(e.prompt) for e in examples]), torch.tensor([len(r) for r in rows])
    ids = pad(rows, network.tokenizer.pad_id)
    with torch.no_grad():
        mel, mel_lengths = network.preprocessor(input_signal=pad([e.samples for e in examples], 0.0), length=lengths)
        if mask_spectrum:
            mel = network.spec_augmentation(input_spec=mel, length=mel_lengths)
    with torch.autocast("cpu", torch.bfloat16):
        early, early_lengths = front(network.encoder, mel, mel_lengths, frozen)
        encoded, n = network.encoder(audio_signal=early, length=early_lengths, bypass_pre_encode=True)
        encoded = encoded.permute(0, 2, 1)  # (B, S, D)
        states = network.encoder_decoder_proj(encoded)
        seen = (torch.arange(states.shape[1])[None] < n[:, None]).to(states.dtype)
        inputs = ids[:, :-1]
        used = (torch.arange(inputs.shape[1])[None] < (n_row - 1)[:, None]).to(states.dtype)
        hidden = network.transf_decoder(input_ids=inputs, decoder_mask=used, encoder_embeddings=states, encoder_mask=seen)
        scores = network.log_softmax(hidden_states=hidden)
    place = torch.arange(inputs.shape[1])[None]
    answer = (place >= (n_prompt - 1)[:, None]) & (place < (n_row - 1)[:, None])
    out = {"decoder": torch.nn.functional.nll_loss(scores.float()[answer], ids[:, 1:][answer])}
    logits = ctc(encoded.float())
    log_probs = torch.log_softmax(logits, -1).transpose(0, 1)
    blank, n_ctc = logits.shape[-1] - 1, torch.tensor([len(e.ctc) for e in examples])
    out["ctc"] = torch.nn.functional.ctc_loss(log_probs, pad([e.ctc for e in examples], 0), n, n_ctc, blank=blank, zero_infinity=True)
    if teach:
        target = torch.full(logits.shape[:2], -100)
        for i, e in enumerate(examples):
            if e.frames is not None:
                k = min(target.shape[1], len(e.frames), int(n[i]))
                target[i, :k] = torch.from_numpy(e.frames[:k])
        if (target >= 0).any():
            out["frame"] = torch.nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=-100)
    return out


def share_gradients(parameters: list[torch.nn.Parameter], workers: int) -> None:
    if workers == 1:
        return
    flat = torch.cat([(p.grad if p.grad is not None else torch.zeros_like(p)).flatten() for p in parameters])
    dist.all_reduce(flat)
    flat /= workers
    begin = 0
    for p in parameters:
        p.grad = flat[begin : begin + p.numel()].view_as(p)
        begin += p.numel()


def tokenizers(work: Path, pieces: int) -> Path:
    """Train the tokenizers on the world's sentences, once."""
    folder = work / "tokenizers"
    if not (folder / "fr" / "vocab.txt").exists():
        rng = random.Random(5)
        sentences = [texts.sample(rng) for _ in range(20_000)]
        corpus = {}
        for lang in texts.LANGS:
            own = [s.text[lang] for s in sentences if lang in s.text]
            digits = [s.itn[lang] for s in sentences[::5] if lang in s.itn]
            corpus[lang] = [*own, *map(texts.without_punctuation, own[::2]), *digits, texts.ALPHABET, " ".join(texts.ALPHABET)]
        small.build_tokenizers(folder, corpus, pieces)
    return folder


def work(rank: int, args: argparse.Namespace) -> None:
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    if args.workers > 1:
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29511"}
        dist.init_process_group("gloo", rank=rank, world_size=args.workers)
    torch.manual_seed(0)
    network = small.build(args.work / "tokenizers", small.Size())
    checkpoint = args.work / "last.pt"
    if args.encoder_from and not checkpoint.exists():
        taken = small.start_from(network, args.encoder_from)
        print(f"{len(taken)} tensors of the encoder start from {args.encoder_from.name}", flush=True)
    ctc = torch.nn.Linear(small.Size().encoder_width, network.tokenizer.vocab_size + 1)
    if args.freeze_front:
        network.encoder.pre_encode.conv.requires_grad_(False)
    parameters = [p for p in [*network.parameters(), *ctc.parameters()] if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=args.lr, betas=(0.9, 0.98), weight_decay=1e-3, foreach=True)
    state = {"step": 0, "seconds": 0.0, "sound": 0.0}
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(saved["network"])
        ctc.load_state_dict(saved["ctc"])
        optimizer.load_state_dict(saved["optimizer"])
        state = saved["state"]
    maker = Maker(network.tokenizer, random.Random(1000 * state["step"] + rank))
    torch.manual_seed(1000 * state["step"] + rank)
    network.train()
    began, saved_at, smooth = time.time() - state["seconds"], time.time(), {}

    def progress() -> tuple[float, float]:
        grown = min(1.0, state["seconds"] / 60 / max(args.curriculum, 1e-6))
        return 3.0 + 13.0 * grown, 0.4 + 0.6 * grown

    for examples in batches(Pool(args.data), maker, args.batch_seconds, progress):
        clock = torch.tensor([time.time() - began, sum(len(e.samples) for e in examples) / 16_000], dtype=torch.float64)
        if args.workers > 1:
            dist.all_reduce(clock)
            clock[0] /= args.workers
        state["seconds"], state["sound"] = float(clock[0]), state["sound"] + float(clock[1])
        done = state["seconds"] / 60 / args.minutes
        if done >= 1:
            break
        rate = args.lr * min(1, (state["step"] + 1) / 200) * (1 if done < 0.35 else 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (done - 0.35) / 0.65)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        teach = state["seconds"] / 60 < args.frame_minutes
        parts = losses(network, ctc, examples, args.freeze_front, teach, state["step"] > 1500)
        (parts["decoder"] + 0.3 * parts["ctc"] + 0.5 * parts.get("frame", 0.0)).backward()
        share_gradients(parameters, args.workers)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        state["step"] += 1
        for name, value in parts.items():
            smooth[name] = value.item() if name not in smooth else 0.98 * smooth[name] + 0.02 * value.item()
        if rank == 0 and state["step"] % 100 == 0:
            shown = " ".join(f"{k} {v:.3f}" for k, v in smooth.items())
            speed = state["sound"] / state["seconds"]
            print(f"{state['seconds'] / 60:.1f} min, step {state['step']}, lr {rate:.1e}: {shown}; {state['sound'] / 3600:.1f} h of sound, {speed:.0f} x real time", flush=True)
        if rank == 0 and time.time() - saved_at > args.save_minutes * 60:
            saved_at = time.time()
            save(checkpoint, network, ctc, optimizer, state)
    if rank == 0:
        save(checkpoint, network, ctc, optimizer, state)
        print("finished", flush=True)


def save(path: Path, network, ctc, optimizer, state: dict) -> None:
    content = {"network": network.state_dict(), "ctc": ctc.state_dict(), "optimizer": optimizer.state_dict(), "state": state}
    torch.save(content, path.with_suffix(".new"))
    os.replace(path.with_suffix(".new"), path)


def main() -> None:
    args = arguments()
    args.work.mkdir(parents=True, exist_ok=True)
    tokenizers(args.work, args.pieces)
    if args.workers == 1:
        work(0, args)
    else:
        torch.multiprocessing.spawn(work, (args,), nprocs=args.workers)


if __name__ == "__main__":
    main()
