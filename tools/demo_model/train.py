"""Train the small Canary: python train.py --data DIR [DIR ...] --work DIR --minutes 90

Picks up finished shards while it runs, saves every few minutes, and goes on
where it was when called again: the schedule is made of minutes trained, so it
ends when it should, on any machine. On a CPU one process of one thread a core
(--workers) is nearly twice as fast as one process of many threads. On a GPU
the network waits for its sound: --loaders processes distort and collate it,
and batches may be twenty times larger (--batch-seconds 1000 --lr 2.5e-3).

What makes so small a training converge: the start in model.py; the encoder
learns beside the decoder's loss with CTC and, at first, frame by frame from
the synthesisers' word times; short utterances first; an encoder that has
already learned to hear, if one is at hand (--encoder-from); several questions
asked of every sound (--questions), since answering costs little beside hearing.
With --freeze-layers 8 only the decoder learns, which translates.
"""

import argparse
import os
import random
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import model as small
import numpy as np
import texts
import torch
import torch.distributed as dist
from examples import TWIN, Example, Maker
from features import log_mel, subsample, through, within
from muon import Muon
from shards import SAMPLE_RATE, Utterance, in_a_row, read_new

# Share of the examples by engine, as far as there are shards of it.
SHARES = {"kokoro": 0.4, "pico": 0.17, "espeak": 0.13, "people": 0.1, "joined": 0.13, "joe": 0.02, "flite": 0.04}
# But not more than this for each hour there is: a few minutes heard a hundred times teach nothing new.
SHARE_PER_HOUR = 0.15
NO_SPEECH = 0.02
# Several utterances in a row, as long recordings have them.
IN_A_ROW = 0.2
# Sentences with a name that can be spelled in two ways: only there does a context decide anything, and they are rare.
NAMED = 0.1
STEP = 10_240  # samples: eight frames of the encoder
# Workers learn each for itself and average their models every so many steps: no waiting on a shared machine.
AVERAGE_EVERY = 8


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=90, help="of training in all, resumed or not")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=2, help="learners on a CPU, of one thread each")
    parser.add_argument("--loaders", type=int, default=0, help="processes that prepare batches beside a learner")
    parser.add_argument("--batch-seconds", type=float, default=45, help="of sound, a worker and step")
    parser.add_argument("--lr", type=float, default=1.2e-3)
    parser.add_argument("--pieces", type=int, default=320, help="tokens a language")
    parser.add_argument("--curriculum", type=float, default=4, help="minutes until the longest utterances are used")
    parser.add_argument("--frame-minutes", type=float, default=20, help="minutes of frame-level teaching")
    parser.add_argument("--encoder-from", type=Path, help="a .nemo whose encoder to start from")
    parser.add_argument("--start-from", type=Path, help="a .nemo of this recipe and these tokenizers to go on from")
    parser.add_argument("--freeze-layers", type=int, help="keep its subsampling and so many layers as they are: faster")
    parser.add_argument("--focus", default="", help="kinds of sentences, with commas; others are drawn seldom")
    parser.add_argument("--seldom", type=float, default=0.04, help="how often what is not in --focus is taken")
    parser.add_argument(
        "--mask-spectrum", action="store_true", help="SpecAugment, but for the last fifth: once it hears well"
    )
    parser.add_argument(
        "--strength", type=float, default=1.0, help="of the distortions at 70 % of the time; less before and after"
    )
    parser.add_argument("--questions", type=int, default=2, help="asked of each sound; from the third on translations")
    parser.add_argument("--save-minutes", type=float, default=3)
    return parser.parse_args()


class Pool:
    """Utterances by engine, drawn by share."""

    def __init__(self, folders: list[Path], focus: str = "", seldom: float = 1.0) -> None:
        self.focus, self.seldom = set(filter(None, focus.split(","))), seldom
        self.folders, self.seen, self.looked = folders, set(), 0.0
        self.by_engine: dict[str, list[Utterance]] = {}
        self.named: list[Utterance] = []
        self.shares: dict[str, float] = {}

    def refresh(self) -> None:
        if time.time() - self.looked > 60:
            self.looked = time.time()
            for u in read_new(self.folders, self.seen):
                if u.text[u.lang]:
                    self.by_engine.setdefault(u.engine, []).append(u)
                    if any(name in u.text[u.lang] for name in TWIN):
                        self.named.append(u)
            hours = {e: sum(u.duration for u in utterances) / 3600 for e, utterances in self.by_engine.items()}
            self.shares = {e: min(SHARES[e], SHARE_PER_HOUR * hours[e]) for e in hours}

    def draw(self, rng: random.Random, longest: float) -> Utterance:
        if self.named and rng.random() < NAMED:
            return rng.choice(self.named)
        first = self.one(rng, longest)
        return first if longest < 16 or rng.random() > IN_A_ROW else in_a_row(self.row(rng, first), rng)

    def one(self, rng: random.Random, longest: float) -> Utterance:
        while True:
            u = rng.choice(self.by_engine[rng.choices(list(self.shares), list(self.shares.values()))[0]])
            if u.duration <= longest and self.wanted(u, rng):
                return u

    def wanted(self, u: Utterance, rng: random.Random) -> bool:
        return not self.focus or u.kind in self.focus or u.engine in ("people", "joined") or rng.random() < self.seldom

    def row(self, rng: random.Random, first: Utterance) -> list[Utterance]:
        """Up to small.LONGEST seconds of one language, from its engine: half of the time from its speaker."""
        row, left = [first], rng.uniform(4.0, small.LONGEST) - first.duration
        same = rng.random() < 0.5
        for _ in range(60):
            u = rng.choice(self.by_engine[first.engine])
            fits = u.lang == first.lang and u.duration + 1.0 <= left and (not same or u.speaker == first.speaker)
            if fits and self.wanted(u, rng):
                row.append(u)
                left -= u.duration + 1.0
        return row


def batches(pool: Pool, maker: Maker, seconds: float, progress) -> Iterator[list[Example]]:
    """Lists of examples of similar length, about `seconds` of sound each.

    As many examples for a length rounded up to STEP, always: few shapes, for
    which the libraries' kernels are made once.
    """
    rng, waiting = maker.rng, []
    while True:
        pool.refresh()
        longest, strength = progress()
        for _ in range(200):
            waiting.append(
                maker.silence() if rng.random() < NO_SPEECH else maker.example(pool.draw(rng, longest), strength)
            )
        waiting.sort(key=lambda e: len(e.samples))
        groups = []
        while waiting:
            n = max(1, int(seconds * 16_000 / rounded(len(waiting[-1].samples), STEP)))
            if len(waiting) < n:
                break
            groups.append(waiting[-n:])
            del waiting[-n:]
        rng.shuffle(groups)
        yield from groups


def rounded(n: int, step: int) -> int:
    return -(-n // step) * step


def pad(rows: list, value: int, step: int = 1, dtype: type = np.int64) -> torch.Tensor:
    """Rows as one tensor, its length a multiple of step."""
    out = np.full((len(rows), rounded(max(1, max(map(len, rows))), step)), value, dtype=dtype)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return torch.from_numpy(out)


@dataclass(frozen=True)
class Batch:
    """Examples of similar length as tensors: what is heard, and Q questions with their answers for each of it.

    Args:
        samples: (B, N) int16.
        lengths: (B,) samples in use.
        ids: (QB, L) prompt and answer, padded.
        n_prompt, n_row: (QB,) ids of the prompt, and of both.
        ctc: (B, M) ids of the spoken text; n_ctc (B,).
        frames: (B, S) the id said in each frame, -100 where it is not known.
    """

    samples: torch.Tensor
    lengths: torch.Tensor
    ids: torch.Tensor
    n_prompt: torch.Tensor
    n_row: torch.Tensor
    ctc: torch.Tensor
    n_ctc: torch.Tensor
    frames: torch.Tensor

    def pin_memory(self) -> "Batch":
        return Batch(*(getattr(self, f.name).pin_memory() for f in fields(self)))

    def to(self, device: str) -> "Batch":
        return Batch(*(getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)))


def collate(examples: list[Example], maker: Maker, n_questions: int) -> Batch:
    pairs = [pair for e in examples for pair in maker.pairs(e, n_questions)]
    samples = [(e.samples * 32767).astype(np.int16) for e in examples]
    frames = pad([[] if e.frames is None else e.frames for e in examples], -100)
    return Batch(
        pad(samples, 0, STEP, np.int16),
        torch.tensor([len(x) for x in samples]),
        pad([prompt + answer for prompt, answer in pairs], maker.tokenizer.pad_id, 12),
        torch.tensor([len(prompt) for prompt, _ in pairs]),
        torch.tensor([len(prompt) + len(answer) for prompt, answer in pairs]),
        pad([e.ctc for e in examples], 0),
        torch.tensor([len(e.ctc) for e in examples]),
        frames,
    )


def hear(network, batch: Batch, frozen_layers: int | None, mask_spectrum: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Features, subsampling and, where they are frozen, the first layers: states (B, S, D), lengths (B,)."""
    device = batch.samples.device.type
    with torch.no_grad():
        mel, mel_lengths = log_mel(network.preprocessor, batch.samples.float() / 32767, batch.lengths)
        if mask_spectrum:
            mel = network.spec_augmentation(input_spec=mel, length=mel_lengths)
    with torch.autocast(device, torch.bfloat16), torch.set_grad_enabled(not frozen_layers):
        states, n = subsample(network.encoder.pre_encode, mel, mel_lengths, frozen_layers is not None)
        if frozen_layers:
            states = through(network.encoder, network.encoder.layers[:frozen_layers], states, n).to(torch.bfloat16)
    return states, n


def frame_loss(log_probs: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the frames whose token is known."""
    length = min(log_probs.shape[1], frames.shape[1])
    wanted = frames[:, :length]
    picked = -log_probs[:, :length].gather(2, wanted.clamp(min=0)[..., None])[..., 0]
    known = wanted >= 0
    return (picked * known).sum() / known.sum().clamp(min=1)


def losses(
    network, ctc, states: torch.Tensor, n: torch.Tensor, batch: Batch, frozen_layers: int, teach: bool, warm: bool
) -> dict[str, torch.Tensor]:
    device = states.device.type
    with torch.autocast(device, torch.bfloat16):
        encoded = through(network.encoder, network.encoder.layers[frozen_layers:], states, n)
        n_questions = len(batch.ids) // len(n)
        memory = network.encoder_decoder_proj(encoded).repeat_interleave(n_questions, 0)
        seen = within(memory.shape[1], n.repeat_interleave(n_questions)).to(memory.dtype)
        inputs = batch.ids[:, :-1]
        used = within(inputs.shape[1], batch.n_row - 1)
        hidden = network.transf_decoder(
            input_ids=inputs, decoder_mask=used.to(memory.dtype), encoder_embeddings=memory, encoder_mask=seen
        )
        answer = used & ~within(inputs.shape[1], batch.n_prompt - 1)
        scores = network.log_softmax(hidden_states=hidden[answer][None])
    out = {"decoder": torch.nn.functional.nll_loss(scores[0].float(), batch.ids[:, 1:][answer])}
    if frozen_layers == len(network.encoder.layers):
        return out
    # A head that knows nothing yet must not pull an encoder that hears already.
    logits = ctc(encoded.float() if warm else encoded.float().detach())
    log_probs = torch.log_softmax(logits, -1)
    out["ctc"] = torch.nn.functional.ctc_loss(
        log_probs.transpose(0, 1), batch.ctc, n, batch.n_ctc, blank=logits.shape[-1] - 1, zero_infinity=True
    )
    if teach:
        out["frame"] = frame_loss(log_probs, batch.frames)
    return out


@torch.no_grad()
def average(network, ctc, clock: float, sound: float, workers: int) -> tuple[float, float]:
    """Make the workers' models one; their mean clock and the sound that all of them heard."""
    if workers == 1:
        return clock, sound
    tensors = [t for m in (network, ctc) for t in m.state_dict().values() if t.is_floating_point()]
    flat = torch.cat([*(t.flatten() for t in tensors), torch.tensor([clock, sound])])
    dist.all_reduce(flat)
    flat /= workers
    begin = 0
    for t in tensors:
        t.copy_(flat[begin : begin + t.numel()].view_as(t))
        begin += t.numel()
    return float(flat[-2]), float(flat[-1]) * workers


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
            corpus[lang] = [
                *own,
                *map(texts.without_punctuation, own[::2]),
                *digits,
                texts.ALPHABET,
                " ".join(texts.ALPHABET),
            ]
        small.build_tokenizers(folder, corpus, pieces)
    return folder


def optimizers_for(network, parameters: list, lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for all else: fewer steps to the same loss than AdamW alone."""
    inside = [network.encoder.layers, network.transf_decoder.decoder, network.encoder_decoder_proj]
    linear = {id(m.weight) for part in inside for m in part.modules() if isinstance(m, torch.nn.Linear)}
    matrices = [p for p in parameters if id(p) in linear]
    rest = [p for p in parameters if id(p) not in linear]
    return [Muon(matrices, lr), torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.98), weight_decay=1e-3, fused=True)]


class Source(torch.utils.data.IterableDataset):
    """Batches without end, made in this process or in loaders; `clock` (s of training) tells how hard they may be."""

    def __init__(self, args: argparse.Namespace, maker: Maker, seed: int) -> None:
        self.args, self.maker, self.seed = args, maker, seed
        self.clock = torch.multiprocessing.Value("d", 0.0)

    def progress(self) -> tuple[float, float]:
        minutes, args = self.clock.value / 60, self.args
        grown, done = min(1.0, minutes / max(args.curriculum, 1e-6)), minutes / args.minutes
        hardness = 0.3 + 0.7 * min(1.0, done / 0.7) if done < 0.8 else 0.5
        return 3.0 + 13.0 * grown, args.strength * hardness

    def __iter__(self) -> Iterator[Batch]:
        info = torch.utils.data.get_worker_info()
        self.maker.rng = random.Random(self.seed + (info.id if info else 0))
        pool = Pool(self.args.data, self.args.focus, self.args.seldom)
        for examples in batches(pool, self.maker, self.args.batch_seconds, self.progress):
            yield collate(examples, self.maker, self.args.questions)


def prepare(args: argparse.Namespace):
    """The network and its CTC head, started as asked; what is left to train."""
    torch.manual_seed(0)
    network = small.build(args.work / "tokenizers", small.Size())
    fresh = not (args.work / "last.pt").exists()
    if args.encoder_from and fresh:
        taken = small.start_from(network, args.encoder_from)
        print(f"{len(taken)} tensors of the encoder start from {args.encoder_from.name}", flush=True)
    if args.start_from and fresh:
        small.go_on_from(network, args.start_from)
    ctc = torch.nn.Linear(small.Size().encoder_width, network.tokenizer.vocab_size + 1)
    network.encoder.sync_max_audio_length = False  # else every forward waits for the other workers
    network.encoder.pre_encode.conv.to(memory_format=torch.channels_last)
    network.to(args.device).train()
    for layer in network.encoder.layers[: args.freeze_layers or 0]:
        layer.eval()  # what does not learn goes by the means that its batch norm has learned
    ctc.to(args.device)
    if args.freeze_layers is not None:
        network.encoder.pre_encode.requires_grad_(args.freeze_layers == 0)
        network.encoder.pre_encode.conv.requires_grad_(False)
        network.encoder.layers[: args.freeze_layers].requires_grad_(False)
    return network, ctc, [p for p in [*network.parameters(), *ctc.parameters()] if p.requires_grad]


def resume(checkpoint: Path, network, ctc, optimizers: list[torch.optim.Optimizer]) -> dict:
    """What was saved, into its places; step, seconds and sound so far."""
    if not checkpoint.exists():
        return {"step": 0, "seconds": 0.0, "sound": 0.0}
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    network.load_state_dict(saved["network"])
    ctc.load_state_dict(saved["ctc"])
    for optimizer, old in zip(optimizers, saved.get("optimizers", []), strict=False):
        if len(old["param_groups"][0]["params"]) == len(optimizer.param_groups[0]["params"]):
            optimizer.load_state_dict(old)
    return saved["state"]


def work(rank: int, args: argparse.Namespace) -> None:
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    if args.device == "cpu" and 1 < args.workers <= len(os.sched_getaffinity(0)):
        # One core each: a scheduler moves a polite process too rarely.
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[rank]})
    torch.set_flush_denormal(True)
    if args.workers > 1:
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(29_500 + os.getppid() % 1000)}
        dist.init_process_group("gloo", rank=rank, world_size=args.workers)
    network, ctc, parameters = prepare(args)
    optimizers = optimizers_for(network, parameters, args.lr)
    state = resume(args.work / "last.pt", network, ctc, optimizers)
    torch.manual_seed(1000 * state["step"] + rank)
    source = Source(args, Maker(network.tokenizer, random.Random()), 1000 * state["step"] + 100 * rank)
    loader = torch.utils.data.DataLoader(
        source, batch_size=None, num_workers=args.loaders, pin_memory=args.device == "cuda"
    )
    began, saved_at, sound = time.time() - state["seconds"], time.time(), 0.0
    smooth: dict[str, torch.Tensor] = {}
    for batch in loader:
        sound += float(batch.lengths.sum()) / SAMPLE_RATE
        clock = time.time() - began
        if state["step"] % AVERAGE_EVERY == 0:
            clock, sound = average(network, ctc, clock, sound, args.workers)
            state["sound"], sound = state["sound"] + sound, 0.0
            if clock >= args.minutes * 60:
                break
            if rank == 0 and time.time() - saved_at > args.save_minutes * 60:
                saved_at = time.time()
                save(args.work / "last.pt", network, ctc, optimizers, state)
        state["seconds"] = source.clock.value = clock
        done = min(1.0, clock / 60 / args.minutes)
        rate = args.lr * min(1, (state["step"] + 1) / 200) * min(1, max(0.01, (1 - done) / 0.6))
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = rate
        batch = batch.to(args.device)
        states, n = hear(network, batch, args.freeze_layers, args.mask_spectrum and done < 0.8)
        teach, warm = clock / 60 < args.frame_minutes, not args.start_from or state["step"] > 400
        parts = losses(network, ctc, states, n, batch, args.freeze_layers or 0, teach, warm)
        (parts["decoder"] + 0.3 * parts.get("ctc", 0.0) + 0.5 * parts.get("frame", 0.0)).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        state["step"] += 1
        for name, value in parts.items():
            smooth[name] = torch.lerp(smooth.get(name, value.detach()), value.detach(), 0.02)
        if rank == 0 and state["step"] % 100 == 0:
            shown = " ".join(f"{k} {v.item():.3f}" for k, v in smooth.items())
            hours, speed = state["sound"] / 3600, state["sound"] / state["seconds"]
            print(
                f"{state['seconds'] / 60:.1f} min, step {state['step']}, lr {rate:.1e}: {shown}; "
                f"{hours:.1f} h of sound, {speed:.0f} x real time",
                flush=True,
            )
    if rank == 0:
        save(args.work / "last.pt", network, ctc, optimizers, state)
        print("finished", flush=True)


def save(path: Path, network, ctc, optimizers, state: dict) -> None:
    content = {
        "network": network.state_dict(),
        "ctc": ctc.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "state": state,
    }
    torch.save(content, path.with_suffix(".new"))
    os.replace(path.with_suffix(".new"), path)


def main() -> None:
    args = arguments()
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "8192")
    args.work.mkdir(parents=True, exist_ok=True)
    tokenizers(args.work, args.pieces)
    if args.device == "cuda":
        args.workers = 1
    if args.workers == 1:
        work(0, args)
    else:
        torch.multiprocessing.spawn(work, (args,), nprocs=args.workers)


if __name__ == "__main__":
    main()
