"""The mean of two trainings' weights: python soup.py FIRST.pt SECOND.pt OUT.pt

Where the second went on from the first with other speech, the mean can be
better than both, at no cost. Judge it by evaluate.py like any other.
"""

import sys
from pathlib import Path

import torch


def main() -> None:
    first, second = (torch.load(Path(path), map_location="cpu", weights_only=True)["network"] for path in sys.argv[1:3])
    mean = {k: torch.lerp(v, second[k], 0.5) if v.is_floating_point() else v for k, v in first.items()}
    torch.save({"network": mean}, sys.argv[3])


if __name__ == "__main__":
    main()
