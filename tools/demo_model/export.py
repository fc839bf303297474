"""A training's last.pt as .nemo: python export.py WORK_DIR OUT.nemo

Half precision, except what is small and sensitive: the filterbank, the window
and the batch norms' statistics. NeMo and mlx_canary both load it.
"""

import sys
import warnings
from pathlib import Path

import model as small
import torch

warnings.filterwarnings("ignore")


def main() -> None:
    work, out = map(Path, sys.argv[1:3])
    network = small.build(work / "tokenizers", small.Size())
    network.load_state_dict(torch.load(work / "last.pt", weights_only=True)["network"])
    network.eval().half()
    network.preprocessor.float()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.float()
    out.parent.mkdir(parents=True, exist_ok=True)
    network.save_to(str(out))
    print(
        f"{out.name}: {out.stat().st_size / 1e6:.2f} MB, {sum(p.numel() for p in network.parameters()) / 1e6:.2f} M parameters"
    )


if __name__ == "__main__":
    main()
