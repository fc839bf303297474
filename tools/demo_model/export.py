"""A training as .nemo: python export.py WORK_DIR OUT.nemo [--with-aligner]

Half precision, except what is small and sensitive: the filterbank, the window
and the batch norms' statistics. NeMo and mlx_canary both load it. With the
aligner the file is of canary-1b-v2's kind, with a second model inside.
"""

import argparse
import shutil
import tempfile
import warnings
from pathlib import Path

import model as small
import torch
from omegaconf import open_dict

warnings.filterwarnings("ignore")
NESTED = {
    "model_config_yaml": "timestamps_asr_model_config.yaml",
    "model_weights_ckpt": "timestamps_asr_model_weights.ckpt",
}


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
        network.cfg.train_ds = {"max_duration": small.LONGEST}
    return halved(network)


def aligner(work: Path):
    network = small.build_aligner(work / "tokenizers", small.Size())
    network.load_state_dict(torch.load(work / "aligner.pt", weights_only=True)["network"])
    return halved(network)


def connector(finish, names: dict[str, str]):
    """A connector that writes a model's files by other names, or with others beside them."""
    from nemo.core.connectors.save_restore_connector import SaveRestoreConnector

    class Connector(SaveRestoreConnector):
        def _make_nemo_file_from_folder(self, filename, source_dir):
            finish(Path(source_dir), lambda: SaveRestoreConnector._make_nemo_file_from_folder(filename, source_dir))

    made = Connector()
    for name, value in names.items():
        setattr(made, name, value)
    return made


def files_of(network, folder: Path) -> None:
    """Config, weights and tokenizers of the nested model; a tokenizer that lies there already is not stored twice."""

    def finish(source: Path, _) -> None:
        config = (source / NESTED["model_config_yaml"]).read_text(encoding="utf-8")
        there = {path.read_bytes(): path.name for path in folder.iterdir()}
        for path in source.iterdir():
            if path.read_bytes() in there:
                config = config.replace(path.name, there[path.read_bytes()])
            elif path.name != NESTED["model_config_yaml"]:
                shutil.copy(path, folder)
        (folder / NESTED["model_config_yaml"]).write_text(config, encoding="utf-8")

    network._save_restore_connector = connector(finish, NESTED)
    with tempfile.TemporaryDirectory() as scratch:
        network.save_to(str(Path(scratch) / "nested.nemo"))


def save(network, out: Path, nested=None) -> None:
    def finish(source: Path, write) -> None:
        if nested is not None:
            files_of(nested, source)
        write()

    if nested is not None:
        with open_dict(network.cfg):
            network.cfg.restore_timestamps_model = True
    network._save_restore_connector = connector(finish, {})
    network.save_to(str(out))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--with-aligner", action="store_true")
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    network = canary(args.work)
    save(network, args.out, aligner(args.work) if args.with_aligner else None)
    n_parameters = sum(p.numel() for p in network.parameters())
    print(f"{args.out.name}: {args.out.stat().st_size / 1e6:.2f} MB, {n_parameters / 1e6:.2f} M parameters")


if __name__ == "__main__":
    main()
