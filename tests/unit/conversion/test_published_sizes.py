"""The published models by their sizes: every tensor that they have is one that the converter's table knows.

The random checkpoints' names are written out apart from the table, and their bytes add up to the published files.
"""

import math

import pytest
from conftest import loaded
from make_random_checkpoint import (
    MODELS,
    Sizes,
    aligner_configuration,
    aligner_tensors,
    configuration,
    main_tensors,
    write_checkpoint,
)

from mlx_canary import CANARY_MODELS, ConversionConfig, convert, verify
from mlx_canary.config import AlignerConfig, TokenizerConfig
from mlx_canary.conversion.rename import aligner_recipes, check_sources, network_recipes
from mlx_canary.conversion.translate import decoder_config, encoder_config, preprocessor_config
from mlx_canary.network.build import build_network, expected_tensors

# Tensors of model_weights.ckpt, where somebody counted them, and the bytes of each once.
PUBLISHED = {
    "canary-180m-flash": (None, 734_972_616),
    "canary-1b-flash": (1406, 3_538_807_616),
    "canary-1b-v2": (1510, 3_853_211_968),
    "canary-1b": (None, 4_069_136_768),
}


def n_bytes(shapes: dict[str, tuple[int, ...]]) -> int:
    """The tied matrix once; counters are 64 bits."""
    tied = "log_softmax.mlp.layer0.weight"
    return sum((4 if shape else 8) * math.prod(shape) for name, shape in shapes.items() if name != tied)


@pytest.mark.parametrize("name", MODELS)
def test_the_random_checkpoints_have_the_published_sizes(name):
    shapes = dict(main_tensors(MODELS[name]))
    count, size = PUBLISHED[name]
    assert count in (None, len(shapes))
    assert n_bytes(shapes) == size
    assert sum(MODELS[name].tokenizers.values()) == CANARY_MODELS[name].vocabulary


def test_the_auxiliary_model_has_the_published_size():
    shapes = dict(aligner_tensors(MODELS["canary-1b-v2"]))
    assert len(shapes) == 712
    assert n_bytes(shapes) == 2_503_026_948


@pytest.mark.parametrize("name", MODELS)
def test_every_tensor_of_a_published_model_has_its_place(name):
    """From configuration and names alone: each used once or ignored by name, each parameter filled in its shape."""
    sizes = MODELS[name]
    source, shapes = configuration(sizes), dict(main_tensors(sizes))
    config = loaded("canary2-flash").config.model_copy(
        update={
            "preprocessor": preprocessor_config(source),
            "encoder": encoder_config(source),
            "decoder": decoder_config(source, sizes.outputs),
        }
    )
    ignored = check_sources(network_recipes(config), shapes)
    assert len(ignored) == sizes.encoder_layers + 1
    expected = expected_tensors(build_network(config), config.preprocessor)
    filled = [target for recipe in network_recipes(config) for target in recipe.targets]
    assert sorted(filled) == sorted(expected)


def test_every_tensor_of_the_auxiliary_model_has_its_place():
    sizes = MODELS["canary-1b-v2"]
    source, (size,) = aligner_configuration(sizes), sizes.tokenizers.values()
    config = AlignerConfig(
        preprocessor=preprocessor_config(source),
        encoder=encoder_config(source),
        tokenizer=TokenizerConfig(type="bpe", size=size, sub_tokenizers=()),
    )
    assert len(check_sources(aligner_recipes(config), dict(aligner_tensors(sizes)))) == 24


SMALL = {
    "canary2, projection": Sizes(2, 32, 1, decoder_width=64, channels=8, heads=4, max_sequence_length=128,
                                 tokenizers={"spl_tokens": 1152, "en": 256, "de": 256}),
    "canary": Sizes(1, 32, 2, decoder_width=32, channels=8, heads=4, max_sequence_length=128,
                    tokenizers={"spl_tokens": 32, "en": 256, "de": 256}, prompt_format="canary"),
    "single tokenizer, auxiliary model": Sizes(1, 32, 1, decoder_width=32, channels=8, heads=4, aligner_layers=2,
                                               max_sequence_length=128, tokenizers={"tokenizer": 1400}),
}  # fmt: skip


@pytest.mark.parametrize("kind", SMALL)
def test_random_checkpoints_convert_and_verify(kind, tmp_path):
    """Also the tokenizers, which know neither digits nor capitals: a verification once took them for broken."""
    nemo = tmp_path / "random.nemo"
    write_checkpoint(nemo, SMALL[kind])
    report = convert(ConversionConfig(nemo_file=nemo, output_dir=tmp_path / "model"))
    assert len(report.notes) == (report.config.languages is None), report.notes
    assert [check for check in verify(tmp_path / "model", nemo) if not check.passed] == []
