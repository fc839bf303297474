"""A training as .nemo: python export.py WORK_DIR OUT.nemo [--with-aligner OUT2.nemo]

Half precision, except what is small and sensitive: the filterbank, the window
and the batch norms' statistics. NeMo and mlx_canary both load it. The second
file is the same model with the aligner inside, as canary-1b-v2 has it.
"""

import argparse
import shutil
import tempfile
import warnings
from pathlib import Path

import model as small
import torch
from nemo.core.connectors.save_restore_connector import SaveRestoreConnector
from omegaconf import open_dict

warnings.filterwarnings("ignore")
CONFIG = "timestamps_asr_model_config.yaml"
WEIGHTS = "timestamps_asr_model_weights.ckpt"
WITHOUT, WITH = "restore_timestamps_model: false", "restore_timestamps_model: true"


def halved(network):
    """The same model in half precision."""
    network.eval().half()
    network.preprocessor.float()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.float()
    return network


def canary(work: Path):
    network = small.build(work / "tokenizers", small.Size())
    network.load_state_dict(torch.load(work / "last.pt", weights_only=True)["network"])
    with open_dict(network.cfg):
        # Readers of the file choose the length of their windows by it.
        network.cfg.train_ds = {"max_duration": small.WINDOW}
    return forget_folders(halved(network))


def aligner(work: Path):
    network = small.build_aligner(work / "tokenizers", small.Size())
    network.load_state_dict(torch.load(work / "aligner.pt", weights_only=True)["network"])
    return forget_folders(halved(network))


def forget_folders(network):
    """Leave the machine's own paths out of the file; nobody reads them."""
    with open_dict(network.cfg):
        for name, part in network.cfg.tokenizer.langs.items():
            part.dir = name
    return network


class Files(SaveRestoreConnector):
    """Hands a model's files to a function, in the folder where NeMo collects them, instead of packing them."""

    def __init__(self, finish, **names: str) -> None:
        super().__init__()
        self.finish = finish
        for name, value in names.items():
            setattr(self, name, value)

    def _make_nemo_file_from_folder(self, filename: str, source_dir: str) -> None:
        self.finish(Path(source_dir))


def nest(network, folder: Path) -> None:
    """Put a model's files among another's; a tokenizer that lies there already is not stored twice."""

    def finish(source: Path) -> None:
        config = (source / CONFIG).read_text(encoding="utf-8")
        there = {path.read_bytes(): path.name for path in folder.iterdir()}
        for path in source.iterdir():
            if path.read_bytes() in there:
                config = config.replace(path.name, there[path.read_bytes()])
            elif path.name != CONFIG:
                shutil.copy(path, folder)
        (folder / CONFIG).write_text(config, encoding="utf-8")

    network._save_restore_connector = Files(finish, model_config_yaml=CONFIG, model_weights_ckpt=WEIGHTS)
    with tempfile.TemporaryDirectory() as scratch:
        network.save_to(str(Path(scratch) / "nested.nemo"))


def save(network, out: Path, nested, nested_out: Path | None) -> None:
    def pack(source: Path, target: Path) -> None:
        SaveRestoreConnector._make_nemo_file_from_folder(filename=str(target), source_dir=str(source))

    def finish(source: Path) -> None:
        pack(source, out)
        if nested_out is not None:
            nest(nested, source)
            config = source / "model_config.yaml"
            text = config.read_text(encoding="utf-8")
            assert WITHOUT in text
            config.write_text(text.replace(WITHOUT, WITH), encoding="utf-8")
            pack(source, nested_out)

    network._save_restore_connector = Files(finish)
    network.save_to(str(out))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--with-aligner", type=Path)
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    network = canary(args.work)
    save(network, args.out, aligner(args.work) if args.with_aligner else None, args.with_aligner)
    n_parameters = sum(p.numel() for p in network.parameters())
    print(f"{args.out.name}: {args.out.stat().st_size / 1e6:.2f} MB, {n_parameters / 1e6:.2f} M parameters")


if __name__ == "__main__":
    main()
