"""Train the aligner: python train_aligner.py --data DIR [DIR ...] --work DIR --minutes 10

A CTC model that tells when each word is said, as canary-1b-v2 has one beside
it. It begins with the first layers of the Canary in DIR/last.pt, and learns
from the synthesisers' word times frame by frame, which keeps CTC from saying
its tokens late; recordings without word times teach it through CTC alone.
One process of one thread. Saves DIR/aligner.pt every minute, and goes on from it.
"""

import argparse
import math
import os
import random
import time
import warnings
from pathlib import Path

import model as small
import torch
from examples import Maker
from features import through
from train import Batch, Pool, batches, collate, frame_loss, hear


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=10, help="of training in all, resumed or not")
    parser.add_argument("--batch-seconds", type=float, default=60)
    parser.add_argument("--lr", type=float, default=1e-3)
    return parser.parse_args()


def begin_with(aligner, checkpoint: Path) -> None:
    """Take the subsampling and the first layers of a trained Canary's encoder."""
    trained = torch.load(checkpoint, weights_only=True)["network"]
    own = aligner.state_dict()
    taken = {name: value for name, value in trained.items() if name.startswith("encoder.") and name in own}
    missing = [name for name in own if name.startswith("encoder.") and name not in taken]
    if missing:
        raise SystemExit(f"{checkpoint} lacks {missing[0]} and {len(missing) - 1} others of the aligner's encoder.")
    aligner.load_state_dict(own | taken)


def loss(aligner, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """CTC's loss, and the one of the frames whose token is known."""
    states, n = hear(aligner, batch, 0, mask_spectrum=False)
    with torch.autocast(states.device.type, torch.bfloat16):
        states = through(aligner.encoder, aligner.encoder.layers, states, n)
    log_probs = aligner.decoder(encoder_output=states.float().transpose(1, 2))
    ctc = torch.nn.functional.ctc_loss(
        log_probs.transpose(0, 1), batch.ctc, n, batch.n_ctc, log_probs.shape[-1] - 1, zero_infinity=True
    )
    return ctc, frame_loss(log_probs, batch.frames)


def main() -> None:
    args = arguments()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    checkpoint, seconds, step = args.work / "aligner.pt", 0.0, 0
    aligner = small.build_aligner(args.work / "tokenizers", small.Size())
    aligner.encoder.pre_encode.conv.to(memory_format=torch.channels_last)
    aligner.encoder.pre_encode.conv.requires_grad_(False)
    optimizer = torch.optim.AdamW([p for p in aligner.parameters() if p.requires_grad], lr=args.lr, weight_decay=1e-3)
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        aligner.load_state_dict(saved["network"])
        optimizer.load_state_dict(saved["optimizer"])
        seconds, step = saved["seconds"], saved["step"]
    else:
        begin_with(aligner, args.work / "last.pt")
    aligner.train()
    maker = Maker(aligner.tokenizer, random.Random(7000 + step))
    source = batches(Pool(args.data), maker, args.batch_seconds, lambda: (15.0, 1.0))
    began, saved_at, smooth = time.time() - seconds, time.time(), None
    while (seconds := time.time() - began) < args.minutes * 60:
        rate = (
            args.lr
            * min(1, (step + 1) / 100)
            * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * seconds / 60 / args.minutes)))
        )
        for group in optimizer.param_groups:
            group["lr"] = rate
        ctc, frame = loss(aligner, collate(next(source), maker))
        (0.3 * ctc + frame).backward()
        torch.nn.utils.clip_grad_norm_(aligner.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        now = torch.tensor([ctc.item(), frame.item()])
        smooth = now if smooth is None else 0.98 * smooth + 0.02 * now
        if step % 50 == 0:
            print(f"{seconds / 60:.1f} min, step {step}: ctc {smooth[0]:.3f} frame {smooth[1]:.3f}", flush=True)
        if time.time() - saved_at > 60:
            saved_at = time.time()
            save(checkpoint, aligner, optimizer, seconds, step)
    save(checkpoint, aligner, optimizer, seconds, step)


def save(path: Path, aligner, optimizer, seconds: float, step: int) -> None:
    content = {"network": aligner.state_dict(), "optimizer": optimizer.state_dict(), "seconds": seconds, "step": step}
    torch.save(content, path.with_suffix(".new"))
    os.replace(path.with_suffix(".new"), path)


if __name__ == "__main__":
    main()
