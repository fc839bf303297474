"""Recordings of people: python people.py OUT_DIR writes shards and prompts.jsonl.

The voice prompts of Asterisk in English, Spanish and French, as Debian
packages them (CC-BY-SA 3.0; copyright 2003-2010 Allison Smith, 2006-2008 June
Wallack): people.jsonl lists the recordings used, by package and path, with
their texts. Many Spanish texts come without accents; known words get theirs
back. Recordings that are not in the list stay unheard, for judging.
"""

import json
import re
import subprocess
import sys
import tempfile
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import texts
from num2words import num2words
from shards import SAMPLE_RATE, Utterance, write_shard
from synthesize import cut

HERE = Path(__file__).parent
# Accents that the world's own sentences do not teach.
SPANISH = (
    "número contraseña extensión está conexión opción configuración autenticación grabación reproducción identificación "
    "información demostración demostrarción después inválida inválido último líder según también además ningún "
    "teléfono buzón búsqueda código país así aquí allí día días sábado miércoles dieciséis veintidós veintitrés veintiséis "
    "décimo undécimo duodécimo séptimo vigésimo trigésimo dólares dólar guion menú máximo mínimo básico técnica línea "
    "función página próximo próxima dirección podrá será tendrá comenzará iniciará unirá ingresará intentaré ejecución más útil "
    "asterisco había automáticamente temporal versión operación transacción atención estación ubicación localización"
).split()


def fold(word: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", word) if unicodedata.category(c) != "Mn")


def accents() -> dict[str, str]:
    """Folded Spanish word to its accented form, for words that have only that one."""
    rows = world_words()
    forms: dict[str, Counter[str]] = {}
    for word in [*rows, *SPANISH]:
        forms.setdefault(fold(word), Counter())[word] += 1
    return {plain: next(iter(found)) for plain, found in forms.items() if len(found) == 1 and plain not in found}


def world_words() -> list[str]:
    spanish = [line[2] for group in texts.world()["templates"] for line in group["lines"]]
    spanish += [row[2] for rows in texts.world()["words"].values() for row in rows if len(row) == 4]
    return re.findall(r"[^\W\d_]+", " ".join(spanish).lower())


def spell(text: str, lang: str, known: dict[str, str]) -> str:
    """Numbers in words, odd characters away, accents back, a capital and a final mark."""
    text = re.sub(r"\d+", lambda m: num2words(int(m[0]), lang=lang).replace(",", ""), text)
    text = re.sub(r"[^\w\s',.?!¿¡-]", " ", text).replace("_", " ")
    text = re.sub(r"\bA\.M\.?", "A M", re.sub(r"\bP\.M\.?", "P M", text))
    if lang == "es":
        text = re.sub(r"[^\W\d_]+", lambda m: _restore(m[0], known), text)
    text = re.sub(r"\s+([,.?!])", r"\1", re.sub(r"\s+", " ", text)).strip(" ,")
    start = re.search(r"\w", text)
    text = text[: start.start()] + text[start.start()].upper() + text[start.end() :] if start else text
    return text if text.endswith((".", "?", "!")) else text + "."


def _restore(word: str, known: dict[str, str]) -> str:
    accented = known.get(word.lower(), word.lower())
    return accented if word.islower() else accented.capitalize() if word[:1].isupper() and word[1:].islower() else word


def unpack(package: str, folder: Path) -> Path:
    """Download a Debian package (nothing is installed) and unpack it."""
    subprocess.run(["apt-get", "download", package], cwd=folder, check=True, capture_output=True)
    (archive,) = folder.glob(f"{package}_*.deb")
    subprocess.run(["dpkg-deb", "-x", archive, folder / package], check=True)
    return folder / package


def decode(path: Path) -> np.ndarray:
    """Samples (N,) float32 at 16 kHz."""
    command = ["ffmpeg", "-v", "error", "-i", path, "-f", "s16le", "-ac", "1", "-ar", str(SAMPLE_RATE), "-"]
    sound = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(sound, np.int16).astype(np.float32) / 32768


def main() -> None:
    out = Path(sys.argv[1])
    rows = [json.loads(line) for line in (HERE / "people.jsonl").read_text(encoding="utf-8").splitlines()]
    known, prompts, kept = accents(), [], {}
    with tempfile.TemporaryDirectory() as scratch:
        roots = {package: unpack(package, Path(scratch)) for package in sorted({r["package"] for r in rows})}
        for row in rows:
            lang, path = row["lang"], Path(row["path"])
            text = {lang: spell(row["text"], lang, known)}
            text |= {k: spell(v, k, known) for k, v in row["translations"].items()}
            if len(text[lang].split()) < 40:
                prompts.append(text)
            speech = cut(decode(roots[row["package"]] / path), ())
            if speech:
                speaker = path.parts[4]
                kept.setdefault(lang, []).append(
                    Utterance(speech[0], lang, text, {}, "people", speaker, "/".join(path.parts[5:]), ())
                )
    for lang, utterances in kept.items():
        write_shard(out, f"people-{lang}", utterances)
        print(lang, len(utterances), f"{sum(u.duration for u in utterances) / 60:.1f} min")
    unique = {json.dumps(p, ensure_ascii=False, sort_keys=True) for p in prompts}
    (out.parent / "prompts.jsonl").write_text("\n".join(sorted(unique)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
