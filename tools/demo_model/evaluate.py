"""What a checkpoint can do: python evaluate.py MODEL --test DIR [--manifest FILE --audio DIR] --out results.json

MODEL is a .nemo or the last.pt of a training. Decodes with NeMo, greedily, and
scores by voice and language: words, translations in every direction, word
times, digits, punctuation off, sounds that are no speech, language detection.
Writes the figures and, beside them, every text (results.texts.jsonl).
"""

import argparse
import json
import random
import re
import warnings
from collections import defaultdict
from pathlib import Path

import augment
import model as small
import numpy as np
import people
import soundfile
import texts
import torch
from examples import TWIN, Maker
from scoring import Score, plain
from shards import Utterance, read_new

warnings.filterwarnings("ignore")
SYNTHESISED = ("espeak", "kokoro", "pico")


def load(path: Path):
    from nemo.collections.asr.models import EncDecMultiTaskModel

    if path.suffix == ".nemo":
        return EncDecMultiTaskModel.restore_from(str(path), map_location="cpu").float().eval()
    network = small.build(path.parent / "tokenizers", small.Size())
    network.load_state_dict(torch.load(path, weights_only=True)["network"])
    return network.eval()


def at_least_a_second(sound: np.ndarray) -> np.ndarray:
    """Zeros before and after a short sound, as NeMo's transcribe() adds them."""
    missing = max(0, 16_000 - len(sound))
    return np.pad(sound, (missing // 2, missing - missing // 2))


@torch.no_grad()
def decode(network, sounds: list[np.ndarray], prompts: list[list[int]]) -> list[list[int]]:
    """Token ids after the prompt, by NeMo's own decoding; int16 or float sound, batches of similar length."""
    sounds = [at_least_a_second(sound) for sound in sounds]
    out: list[list[int]] = [[] for _ in sounds]
    order = sorted(range(len(sounds)), key=lambda i: (len(prompts[i]), len(sounds[i])))
    while order:
        first = order[0]
        part = [
            i
            for i in order[:24]
            if len(prompts[i]) == len(prompts[first]) and len(sounds[i]) < 1.5 * len(sounds[first]) + 8000
        ]
        order = [i for i in order if i not in part]
        arrays = [sounds[i].astype(np.float32) / 32768 if sounds[i].dtype == np.int16 else sounds[i] for i in part]
        lengths = torch.tensor([len(a) for a in arrays])
        padded = torch.zeros(len(part), int(lengths.max()))
        for row, a in zip(padded, arrays, strict=True):
            row[: len(a)] = torch.from_numpy(np.ascontiguousarray(a))
        network.eval()
        mel, mel_lengths = network.preprocessor(input_signal=padded, length=lengths)
        encoded, n = network.encoder(audio_signal=mel, length=mel_lengths)
        states = network.encoder_decoder_proj(encoded.permute(0, 2, 1))
        mask = (torch.arange(states.shape[1])[None] < n[:, None]).float()
        found = network.decoding.decode_predictions_tensor(
            encoder_hidden_states=states,
            encoder_input_mask=mask,
            decoder_input_ids=torch.tensor([prompts[i] for i in part]),
            return_hypotheses=True,
        )
        for i, hypothesis in zip(part, found, strict=True):
            h = hypothesis[0] if isinstance(hypothesis, list) else hypothesis
            ids = [int(t) for t in h.y_sequence]
            out[i] = ids[len(prompts[i]) :] if ids[: len(prompts[i])] == prompts[i] else ids
    return out


def written(network, ids: list[int]) -> str:
    special = network.tokenizer.special_tokens.values()
    return network.tokenizer.ids_to_text([i for i in ids if i not in special]).strip()


def manifest(path: Path, audio: Path) -> list[Utterance]:
    """Rows with audio_filepath, text, lang, speaker as utterances of engine "manifest"."""
    known, out = people.accents(), []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["lang"] not in small.LANGS or not (audio / row["audio_filepath"]).exists():
            continue
        samples, rate = soundfile.read(audio / row["audio_filepath"], dtype="int16")
        assert rate == 16_000
        text = {row["lang"]: people.spell(row["text"], row["lang"], known)}
        out.append(
            Utterance(
                samples,
                row["lang"],
                text,
                {},
                row.get("package", path.stem),
                row.get("speaker", ""),
                row["audio_filepath"],
                (),
            )
        )
    return out


def word_starts(network, ids: list[int]) -> tuple[list[str], list[float]]:
    """Words and starts from an answer with times."""
    names = {v: k for k, v in network.tokenizer.special_tokens.items()}
    words, starts, current, begin = [], [], [], None
    for i in ids:
        match = re.fullmatch(r"<\|(\d+)\|>", names.get(i, ""))
        if not match:
            if i not in names:
                current.append(i)
        elif current and begin is not None:
            words.append(written(network, current))
            starts.append(begin * 0.08)
            current, begin = [], None
        else:
            begin, current = int(match[1]), []
    return words, starts


class Evaluation:
    """One pass over the sets, by a model."""

    def __init__(self, network, out: Path) -> None:
        self.network, self.maker = network, Maker(network.tokenizer, random.Random(0))
        self.results: dict[str, dict] = {}
        self.log = out.with_suffix(".texts.jsonl").open("w", encoding="utf-8")

    def run(
        self, name: str, utterances: list[Utterance], target=None, pnc=True, itn=False, times=False, context=""
    ) -> list[list[int]]:
        prompts = [self.maker.prompt(u.lang, target or u.lang, pnc, itn, times, context) for u in utterances]
        return decode(self.network, [u.samples for u in utterances], prompts)

    def note(self, task: str, u: Utterance, found: str, wanted: str) -> None:
        row = {
            "task": task,
            "engine": u.engine,
            "speaker": u.speaker,
            "lang": u.lang,
            "kind": u.kind,
            "found": found,
            "wanted": wanted,
        }
        self.log.write(json.dumps(row, ensure_ascii=False) + "\n")

    def transcribe(self, utterances: list[Utterance], task: str = "transcribe") -> None:
        voices: dict[str, Score] = {}
        kinds: dict[str, Score] = {}
        for u, ids in zip(utterances, self.run("transcribe", utterances), strict=True):
            found, wanted = written(self.network, ids), u.text[u.lang]
            voices.setdefault(f"{u.engine} {u.lang}", Score(fold=u.lang == "es")).add(found, wanted)
            if u.engine in SYNTHESISED:
                kinds.setdefault(u.kind, Score()).add(found, wanted)
            self.note(task, u, found, wanted)
        for name, scores in ((task, voices), (f"{task}, by kind", kinds)):
            if scores:
                self.results[name] = {key: score.summary(False) for key, score in sorted(scores.items())}

    def variants(self, utterances: list[Utterance]) -> None:
        numbers = [u for u in utterances if u.itn]
        for task, chosen, options in (("itn", numbers, {"itn": True}), ("nopnc", utterances, {"pnc": False})):
            score: dict[str, Score] = {}
            for u, ids in zip(chosen, self.run(task, chosen, **options), strict=True):
                wanted = u.itn[u.lang] if task == "itn" else texts.without_punctuation(u.text[u.lang])
                score.setdefault(u.lang, Score()).add(written(self.network, ids), wanted)
                self.note(task, u, written(self.network, ids), wanted)
            self.results[task] = {k: v.summary(False) for k, v in sorted(score.items())}

    def translate(self, utterances: list[Utterance]) -> None:
        for source in small.LANGS:
            for target in small.LANGS:
                chosen = [u for u in utterances if u.lang == source and target in u.text]
                if source == target or not chosen:
                    continue
                score = Score()
                for u, ids in zip(chosen, self.run("translate", chosen, target=target), strict=True):
                    found = written(self.network, ids)
                    score.add(found, u.text[target])
                    self.note(f"translate {source}-{target}", u, found, u.text[target])
                self.results.setdefault("translate", {})[f"{source}-{target}"] = score.summary(True)

    def times(self, utterances: list[Utterance]) -> None:
        chosen, errors, asked = [u for u in utterances if u.words], defaultdict(list), defaultdict(int)
        for u, ids in zip(chosen, self.run("times", chosen, times=True), strict=True):
            words, starts = word_starts(self.network, ids)
            reference = [plain(w) for w in u.text[u.lang].split()]
            asked[u.engine] += len(reference)
            if [plain(w) for w in words] == reference:
                errors[u.engine] += [abs(a - b) for a, b in zip(starts, u.words, strict=False)]
        for engine, found in sorted(errors.items()):
            e = np.array(found)
            row = {"words": len(e), "of": asked[engine], "within_80_ms": round(100 * float((e <= 0.0805).mean()), 1)}
            row |= {"median_ms": round(1000 * float(np.median(e))), "mean_ms": round(1000 * float(e.mean()))}
            self.results.setdefault("word starts", {})[engine] = row

    def names(self, utterances: list[Utterance]) -> None:
        """Names that sound like another: how often their spelling is that of the context."""
        chosen = [(u, w) for u in utterances for w in re.findall(r"\w+", u.text[u.lang]) if w in TWIN]
        for context in ("the name", "the other name", "nothing"):
            wanted = [TWIN[name] if context == "the other name" else name for _, name in chosen]
            said = ["" if context == "nothing" else name for name in wanted]
            prompts = [
                self.maker.prompt(u.lang, u.lang, True, False, False, name)
                for (u, _), name in zip(chosen, said, strict=True)
            ]
            found = [
                written(self.network, ids) for ids in decode(self.network, [u.samples for u, _ in chosen], prompts)
            ]
            right = [name in re.findall(r"\w+", text) for text, name in zip(found, wanted, strict=True)]
            self.results.setdefault("names, by context", {})[context] = {"n": len(right), "as wanted": sum(right)}

    def no_speech(self, n: int) -> None:
        rng = random.Random(7)
        sounds = [augment.no_speech(rng) for _ in range(n)]
        prompt = self.maker.prompt("en", "en", True, False, False, "")
        found = [written(self.network, ids) for ids in decode(self.network, sounds, [prompt] * n)]
        self.results["no speech"] = {"n": n, "empty": sum(not f for f in found), "texts": [f for f in found if f][:5]}

    def languages(self, utterances: list[Utterance]) -> None:
        special = self.maker.special
        names = {special[f"<|{lang}|>"]: lang for lang in small.LANGS}
        partial = [special["<|startofcontext|>"], special["<|startoftranscript|>"]]
        right: dict[str, list[bool]] = defaultdict(list)
        found = decode(self.network, [u.samples for u in utterances], [partial] * len(utterances))
        for u, ids in zip(utterances, found, strict=True):
            right[u.engine].append(names.get(ids[1] if len(ids) > 1 else -1) == u.lang)
        self.results["language"] = {
            k: {"n": len(v), "right": round(100 * sum(v) / len(v), 1)} for k, v in right.items()
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--test", type=Path, required=True, help="folder of held-out shards")
    parser.add_argument("--manifest", type=Path, action="append", default=[])
    parser.add_argument("--audio", type=Path)
    parser.add_argument("--every", type=int, default=1, help="use every n-th utterance")
    parser.add_argument(
        "--every-other-task", type=int, default=1, help="and of these every n-th for all but transcription"
    )
    parser.add_argument(
        "--focus", default="", help="kinds that were learned: others are scored apart, in one task only"
    )
    parser.add_argument("--quick", action="store_true", help="transcription only")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    network = load(args.model)
    held_out = read_new([args.test], set())[:: args.every]
    recordings = [u for path in args.manifest for u in manifest(path, args.audio)][:: args.every]
    run = Evaluation(network, args.out)
    focus = set(filter(None, args.focus.split(",")))
    others = [u for u in held_out if focus and u.kind not in focus and u.engine != "joined"]
    held_out = [u for u in held_out if not any(u is other for other in others)]
    run.transcribe(held_out + recordings)
    run.transcribe(others, "transcribe, other kinds")
    if not args.quick:
        every = held_out + others
        held_out, recordings = held_out[:: args.every_other_task], recordings[:: args.every_other_task]
        synthetic = [u for u in held_out if u.engine != "joined"]
        run.translate(synthetic)
        run.variants(synthetic)
        run.times(held_out)
        run.names(every)
        run.no_speech(60)
        run.languages(held_out + recordings)
    args.out.write_text(json.dumps(run.results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for task, rows in run.results.items():
        print(task)
        for key, row in rows.items():
            print("   ", key, row)


if __name__ == "__main__":
    main()
