"""What tells networks apart."""

from conftest import DATA

from mlx_canary import CanaryModel
from mlx_canary.load_models import load_nemo
from mlx_canary.network.build import fingerprint


def test_a_fingerprint_changes_with_any_weight_that_training_changes():
    path = DATA / "models/canary2-flash.nemo"
    network, same = load_nemo(path).network, load_nemo(path).network
    assert fingerprint(network) == fingerprint(same) == CanaryModel.from_pretrained(path).fingerprint
    matrix = same.decoder.layers[0].self_attention.wq
    matrix.weight = matrix.weight * 1.0001  # as adapters change it that were merged
    assert fingerprint(network) != fingerprint(same)
