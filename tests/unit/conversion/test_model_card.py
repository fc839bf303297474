"""The README.md of a converted model: licence, languages and origin, as far as the checkpoint tells."""

import pytest
import yaml
from conftest import loaded

from mlx_canary import CANARY_MODELS, ConversionConfig, convert
from mlx_canary.config import ModelConfig, Quantization
from mlx_canary.conversion.model_card import model_card
from mlx_canary.load_models import DEMO
from mlx_canary.registry import DEMO_LICENSE


def published(name: str) -> ModelConfig:
    """The configuration of a published model, as far as the card shows it."""
    config, model = loaded("canary2-flash").config, CANARY_MODELS[name]
    source = config.source.model_copy(update={"file": f"{name}.nemo", "license": model.license})
    return config.model_copy(update={"name": name, "languages": model.languages, "source": source})


def metadata(card: str) -> dict[str, object]:
    """The block that model hubs read."""
    _, block, _ = card.split("---\n", 2)
    return yaml.safe_load(block)


@pytest.mark.parametrize("name", CANARY_MODELS)
def test_a_published_model_keeps_its_licence_and_its_origin(name):
    card, model = model_card(published(name)), CANARY_MODELS[name]
    found = metadata(card)
    assert found["license"] == model.license.lower()
    assert found["base_model"] == model.repository
    assert found["language"] == list(model.languages.spoken)
    assert found["library_name"] == "mlx-canary"
    assert f"The weights keep the licence of the original: {model.license}." in card
    assert ("Commercial use is not permitted" in card) == (name == "canary-1b")


def test_the_demo_model_s_conversion_has_its_licence(tmp_path):
    """It has a licence, but is nowhere on the hub: its card was looked for there, and no conversion came about."""
    folder = tmp_path / "model"
    convert(ConversionConfig(nemo_file=DEMO, output_dir=folder))
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert metadata(card)["license"] == DEMO_LICENSE.lower()
    assert "base_model" not in metadata(card)
    assert "The original is the demo model that comes with mlx-canary" in card


def test_a_model_of_somebody_s_own_claims_no_licence():
    card = model_card(loaded("canary2-unified").config)
    assert not {"license", "base_model", "language"} & set(metadata(card))
    assert "which the checkpoint does not say" in card
    assert "Which languages it was trained on is not recorded" in card


def test_the_card_says_how_the_weights_are_stored():
    config = loaded("canary2-flash").config
    weights = config.weights.model_copy(
        update={"dtype": "float16", "quantization": Quantization(bits=4, group_size=32), "layout": "mlx"}
    )
    assert "float16, matrices in 4 bits, groups of 32" in model_card(config.model_copy(update={"weights": weights}))
    weights = config.weights.model_copy(update={"layout": "nemo"})
    assert "float32, NeMo's names and axes" in model_card(config.model_copy(update={"weights": weights}))
