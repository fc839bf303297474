"""Who is measured: each program in each way, and what to know about it. Knows nothing of how."""

from __future__ import annotations

from dataclasses import dataclass, field

OPENBLAS = {"LD_PRELOAD": "libopenblas.so.0"}
"""MLX's wheel for Linux brings a slow BLAS. mlx-canary computes past it; users of other MLX programs may replace it."""


@dataclass(frozen=True)
class Peer:
    """A way to be measured.

    Attributes:
        name, precision: In the table.
        script: Which module knows how.
        prepared_by: Whose environment has what preparing needs: "ours", "nemo", "own" or nobody's.
        max_batch: The largest batch it takes.
        long: Whether it is fast enough for the longest case.
        environment: Variables to set.
        note: What to know about its row.
    """

    name: str
    precision: str
    script: str
    prepared_by: str = ""
    max_batch: int = 64
    long: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    note: str = ""

    @property
    def key(self) -> str:
        return f"{self.name} {self.precision}"


AS_INSTALLED = "as pip installs it, with the BLAS of MLX's wheel"
WITH_OPENBLAS = "with OpenBLAS loaded before MLX"
PROJECTION = "does not load the projection of 180m-flash and computes with a random one, which is the same work"
WHISPER = "another network, whisper-small's sizes (244 million parameters, random); hears 30 s whatever it gets"

PEERS = [
    Peer("mlx-canary", "float32", "peer_ours", long=True, note="public methods, without the guards of `transcribe`"),
    Peer("NeMo", "float32", "peer_nemo", long=True),
    Peer("NeMo", "bfloat16", "peer_nemo", long=True, note="bfloat16 is torch's autocast"),
    Peer("onnx-asr", "float32", "peer_onnx_asr", "nemo", long=True),
    Peer("onnx-asr", "8 bits", "peer_onnx_asr", "nemo", long=True, note="by ONNX Runtime's dynamic quantization"),
    Peer("transcribe.cpp", "float32", "peer_transcribe_cpp", "own", long=True),
    Peer("transcribe.cpp", "8 bits", "peer_transcribe_cpp", "own", long=True, note="Q8_0"),
    Peer("mlx-audio", "float32", "peer_mlx_audio", "ours", 1, note=f"{AS_INSTALLED}; {PROJECTION}"),
    Peer("mlx-audio + OpenBLAS", "float32", "peer_mlx_audio", "ours", 1, environment=OPENBLAS, note=WITH_OPENBLAS),
    Peer("canary-mlx", "float32", "peer_canary_mlx", "ours", 1, note=AS_INSTALLED),
    Peer("canary-mlx + OpenBLAS", "float32", "peer_canary_mlx", "ours", 1, environment=OPENBLAS, note=WITH_OPENBLAS),
    Peer("mlx-whisper", "float32", "peer_mlx_whisper", "own", 1, note=f"{WHISPER}; {AS_INSTALLED}"),
    Peer(
        *("mlx-whisper + OpenBLAS", "float32", "peer_mlx_whisper", "own", 8),
        environment=OPENBLAS,
        note=f"{WHISPER}; {WITH_OPENBLAS}",
    ),
]
NOT_HERE = {
    "CrispASR": "crispasr 0.8.45 is on PyPI; its Canary reads GGUF files of canary-1b-v2 alone, and what makes them "
    "is not in the package.",
}
