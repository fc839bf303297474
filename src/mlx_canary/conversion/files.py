"""The weights files of a converted checkpoint: one for the model, one for the auxiliary CTC model where there is one.

The converter, the loader and the verification all take from here what a file must hold.
"""

from __future__ import annotations

from dataclasses import dataclass

from mlx_canary.backend import mx
from mlx_canary.config import ModelConfig, PreprocessorConfig
from mlx_canary.conversion.names import ALIGNER_WEIGHTS, WEIGHTS
from mlx_canary.conversion.rename import Recipe, aligner_recipes, network_recipes
from mlx_canary.network.build import build_aligner, build_network, expected_tensors
from mlx_canary.network.canary import CanaryNetwork
from mlx_canary.network.ctc import CTCNetwork

Expected = dict[str, tuple[tuple[int, ...], mx.Dtype]]


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """What one file must hold.

    Attributes:
        name: In the folder.
        network: Its parameters have shapes and types, but no values yet.
        preprocessor: Whose window and filterbank are in the file too.
        recipes: How its tensors are made from NeMo's.
    """

    name: str
    network: CanaryNetwork | CTCNetwork
    preprocessor: PreprocessorConfig
    recipes: list[Recipe]

    @property
    def expected(self) -> Expected:
        """Shape and type of every tensor."""
        return expected_tensors(self.network, self.preprocessor)


def weights_files(config: ModelConfig) -> list[WeightsFile]:
    """The files of a checkpoint, the model's first."""
    files = [WeightsFile(WEIGHTS, build_network(config), config.preprocessor, network_recipes(config))]
    if (aligner := config.aligner) is not None:
        network = build_aligner(aligner, config.weights)
        files.append(WeightsFile(ALIGNER_WEIGHTS, network, aligner.preprocessor, aligner_recipes(aligner)))
    return files
