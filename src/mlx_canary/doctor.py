"""What this machine has: Python, MLX and its device, BLAS, audio, cache, models; what is missing, and how to mend it.

Works without MLX, because a missing MLX is the first thing to find out.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import io
import os
import platform
import shlex
import shutil
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mlx_canary.errors import BackendError, CanaryError
from mlx_canary.hub.cache import cache_folder, cached_models, n_bytes, size_text, unfinished
from mlx_canary.version import __version__


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about the machine.

    Attributes:
        name: What was looked at.
        working: False where something that the program needs is missing.
        detail: What was found.
        remedy: A command or sentence that mends or improves it; empty where nothing is to be done.
    """

    name: str
    working: bool
    detail: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Look at everything; never raises."""
    looks: list[Callable[[], Finding]] = [
        _python,
        _mlx,
        _blas,
        _audio,
        _resampling,
        _tokenizers,
        _memory,
        _cache,
        _demo,
    ]
    return [look() for look in looks]


def _python() -> Finding:
    system = f"{platform.system()} {platform.release()} on {platform.machine()}"
    found = f"mlx-canary {__version__}, Python {platform.python_version()}, {system}"
    return Finding("Python", True, found)


def _mlx() -> Finding:
    try:
        from mlx_canary.backend import mx
    except BackendError as error:
        return Finding("MLX", False, "not usable", str(error))
    try:
        product = (mx.ones((4, 4)) @ mx.ones((4, 4))).sum().item()
    except RuntimeError as error:
        return Finding("MLX", False, f"installed, but fails to compute: {error}", "pip install --force-reinstall mlx")
    device = str(mx.default_device()).removeprefix("Device(").rstrip(")").replace(", ", " ")
    dtype = ", in float32 unless told otherwise" if device.startswith("cpu") else ""
    return Finding("MLX", product == 64, f"{importlib.metadata.version('mlx')}, computes on: {device}{dtype}")


def _blas() -> Finding:
    try:
        from mlx_canary import blas
        from mlx_canary.backend import mx
    except BackendError:
        return Finding("BLAS", True, "not looked at without MLX")
    if mx.default_device() != mx.Device(mx.cpu):
        return Finding("BLAS", True, "not needed on this device")
    return Finding("BLAS", True, f"NumPy's, {blas.name()}")


def _audio() -> Finding:
    try:
        import av
    except ImportError as error:
        return Finding("Audio decoding", False, f"PyAV cannot be loaded: {error}", "pip install av")
    wanted = ("aac", "mp3", "opus", "vorbis", "flac", "alac", "pcm_s16le", "amrnb", "wmav2")
    missing = [codec for codec in wanted if codec not in av.codecs_available]
    libraries = ".".join(map(str, av.library_versions["libavcodec"]))
    found = f"PyAV {av.__version__} with libavcodec {libraries}"
    if problem := _decoding_problem():
        remedy = "pip install --upgrade av; if it still fails, install a newer mlx-canary."
        return Finding("Audio decoding", False, f"{found} fails: {problem}", remedy)
    return Finding("Audio decoding", True, found + (f", without {', '.join(missing)}" if missing else ""))


def _decoding_problem() -> str | None:
    """Read a second of silence, as any recording is read; what goes wrong, if anything does."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, 16_000, 0, "NONE", ""))
        writer.writeframes(bytes(32_000))
    try:
        from mlx_canary.audio.load import load_audio

        load_audio(file)
    except BackendError:
        return None  # MLX is another finding
    except Exception as error:  # whatever another version of PyAV may raise
        return f"{type(error).__name__}: {error}"
    return None


def _resampling() -> Finding:
    return _package("Resampling", "soxr")


def _tokenizers() -> Finding:
    return _package("Tokenizers", "sentencepiece")


def _package(name: str, package: str) -> Finding:
    try:
        importlib.import_module(package)
    except ImportError as error:
        return Finding(name, False, f"{package} cannot be loaded: {error}", f"pip install {package}")
    return Finding(name, True, f"{package} {importlib.metadata.version(package)}")


def _memory() -> Finding:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (ValueError, OSError):
        return Finding("Memory", True, "unknown")
    advice = "" if total > 6 else "Use canary-180m-flash, or convert with --dtype float16 or --bits 8."
    return Finding("Memory", True, f"{total:.0f} GB, {os.cpu_count()} cores", advice)


def _cache() -> Finding:
    """Where models from the hub are kept."""
    try:
        folder = cache_folder()
    except CanaryError as error:
        return Finding("Model cache", False, "nowhere", str(error))
    existing = next((parent for parent in (folder, *folder.parents) if os.path.exists(parent)), Path("/"))
    models = [f"{entry.model} ({size_text(entry.n_bytes)})" for entry in cached_models()]
    found = f"{folder}: {', '.join(models) or 'no models yet'}; {size_text(shutil.disk_usage(existing).free)} free"
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        return Finding("Model cache", False, found, "Set MLX_CANARY_CACHE to a folder that you can write to.")
    if left := unfinished():
        found += f"; {size_text(sum(map(n_bytes, left)))} of interrupted downloads"
        return Finding("Model cache", True, found, f"To give up on them: rm -r {shlex.join(map(str, left))}")
    return Finding("Model cache", True, found)


def _demo() -> Finding:
    path = Path(__file__).parent / "demo" / "demo.nemo"
    if not path.is_file():
        remedy = "Install mlx-canary again, from where you have it."
        return Finding("Demo model", False, "missing from the installation", remedy)
    return Finding(
        "Demo model", True, f"{path.stat().st_size / 1e6:.0f} MB, try: mlx-canary transcribe FILE --model demo"
    )
