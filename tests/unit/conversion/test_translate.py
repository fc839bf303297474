"""What a checkpoint's configuration says is honoured, refused by name, or known to change nothing."""

import copy
from typing import Any

import pytest
import variants as v
import yaml

from mlx_canary.conversion.nemo import open_nemo
from mlx_canary.conversion.translate import (
    decoder_config,
    decoding_config,
    decoding_notes,
    encoder_config,
    preprocessor_config,
    prompt_config,
)
from mlx_canary.errors import ConversionError

MISSING = object()
CONFIG = yaml.safe_load(v.nemo_members("canary2-flash")["model_config.yaml"])
DECODER = "transf_decoder.config_dict"


def translated(config: dict[str, Any]) -> dict[str, Any]:
    """All parts of our configuration, as plain values."""
    parts = {
        "preprocessor": preprocessor_config(config),
        "encoder": encoder_config(config),
        "decoder": decoder_config(config, 1552),
        "prompt": prompt_config(config, None),
        "decoding": decoding_config(config),
    }
    return {f"{name}.{key}": value for name, part in parts.items() for key, value in part.model_dump().items()}


def changed(*changes: tuple[str, Any]) -> dict[str, Any]:
    """The configuration with keys set, or taken away."""
    config = copy.deepcopy(CONFIG)
    for path, value in changes:
        *parents, last = path.split(".")
        section = config
        for parent in parents:
            section = section[parent]
        if value is MISSING:
            section.pop(last, None)
        else:
            section[last] = value
    return config


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("preprocessor.window", "hamming"),
        ("preprocessor.normalize", "all_features"),
        ("preprocessor.normalize", None),
        ("preprocessor.log", False),
        ("preprocessor.log", 1),
        ("preprocessor.log_zero_guard_type", "clamp"),
        ("preprocessor.frame_splicing", 2),
        ("preprocessor.frame_splicing", True),
        ("preprocessor.exact_pad", True),
        ("preprocessor.mel_norm", None),
        ("encoder.subsampling", "striding"),
        ("encoder.subsampling", "vggnet"),
        ("encoder.feat_out", 512),
        ("encoder.causal_downsampling", True),
        ("encoder.reduction", "pooling"),
        ("encoder.untie_biases", False),
        ("encoder.att_context_style", "chunked_limited"),
        ("encoder.conv_context_size", "causal"),
        ("encoder.conv_context_size", [8, 0]),
        ("encoder.conv_context_style", "dcc"),
        ("encoder.global_tokens", 1),
        ("encoder.conv_norm_type", "group_norm8"),
        ("encoder.conv_norm_type", "instance_norm"),
        ("encoder.self_attention_model", "abs_pos"),
        ("encoder.xscaling", "yes"),
        ("encoder.xscaling", 1),
        ("encoder.use_bias", None),
        ("transf_encoder.num_layers", 2),
        ("transf_encoder.num_layers", None),
        ("transf_decoder.pre_ln_final_layer_norm", "no"),
        (f"{DECODER}.pre_ln", False),
        (f"{DECODER}.hidden_act", "silu"),
        (f"{DECODER}.learn_positional_encodings", "both"),
        ("head.num_layers", 2),
        ("head.log_softmax", False),
        ("prompt_format", "canary3"),
        ("prompt_format", None),
    ],
)
def test_what_we_do_not_compute_is_refused_by_its_key_and_value(path, value):
    key = path.removeprefix("transf_decoder.config_dict.").removeprefix("transf_decoder.")
    with pytest.raises(
        ConversionError, match=rf"{key.rsplit('.')[-1]}={value!r} is not supported; only ".replace("[", r"\[")
    ):
        translated(changed((path, value)))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("preprocessor.sample_rate", -1, "gives a window of"),
        ("preprocessor.n_fft", 256, "does not fit|n_fft"),
        ("preprocessor.n_fft", 513, "expected an even n_fft, found 513"),
        ("preprocessor.window_size", "wide", "'wide' where a number belongs"),
        ("preprocessor.n_window_size", "wide", "'wide' where a number belongs"),
        ("preprocessor.n_window_stride", {"a": 1}, "where a number belongs"),
        ("preprocessor.window_size", 1e9, "window_size=1000000000.0 gives a window of"),
        ("preprocessor.window_stride", 0, "window_stride=0 gives a window of"),
        ("preprocessor.preemph", 2.0, "preemph"),
        ("preprocessor.features", 1 << 40, "larger than any real model"),
        ("preprocessor.log_zero_guard_value", "tiny", "'tiny' where a number belongs"),
        ("preprocessor.log_zero_guard_value", 0, "log_zero_guard_value"),
        ("encoder.n_layers", 0, "n_layers"),
        ("encoder.n_layers", 10_000, "n_layers"),
        ("encoder.n_layers", 2.5, "n_layers"),
        ("encoder.n_layers", True, "n_layers"),
        ("encoder.n_layers", "two", "n_layers"),
        ("encoder.d_model", 33, "d_model=33 must be even and a multiple of n_heads=4"),
        ("encoder.d_model", MISSING, r"lacks encoder\.d_model"),
        ("encoder.n_heads", 5, "n_heads=5"),
        ("encoder.n_heads", 0, "n_heads"),
        ("encoder.ff_expansion_factor", 1.5, "d_ff"),
        ("encoder.subsampling_factor", 3, "subsampling_factor"),
        ("encoder.conv_kernel_size", 8, "conv_kernel_size=8 must be odd"),
        ("encoder.att_context_size", [-5, 3], "att_context_size"),
        ("encoder.att_context_size", [1, 2, 3], "att_context_size"),
        ("encoder.att_context_size", "all", "att_context_size"),
        ("encoder.att_context_size", [], "att_context_size"),
        ("encoder.feat_in", MISSING, r"lacks encoder\.feat_in"),
        (f"{DECODER}.num_layers", MISSING, r"lacks transf_decoder\.config_dict\.num_layers"),
        (f"{DECODER}.hidden_size", 42, "hidden_size=42 is not a multiple of n_heads=4"),
        (f"{DECODER}.max_sequence_length", 0, "max_sequence_length"),
        ("decoding.strategy", "maes", "strategy"),
        ("decoding.strategy", None, "strategy"),
        ("decoding.beam.beam_size", 0, "beam_size"),
        ("decoding.beam.beam_size", 65, "beam_size=65 is too many; at most 64"),
        ("decoding.beam.max_generation_delta", "many", "max_generation_delta"),
        ("decoding.beam.length_penalty", float("nan"), "length_penalty=nan is no finite number"),
        ("decoding.beam.length_penalty", float("inf"), "length_penalty=inf is no finite number"),
        ("decoding.greedy", {"ngram_lm_model": "x"}, "ngram_lm_model='x' is not supported"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(path, value, message):
    with pytest.raises(ConversionError, match=message):
        translated(changed((path, value)))


@pytest.mark.parametrize(
    "section", ["preprocessor", "encoder", "transf_decoder", DECODER, "head", "decoding", "decoding.beam"]
)
def test_keys_that_nobody_knows_are_refused(section):
    """They might change the result, as a new kind of attention would."""
    with pytest.raises(ConversionError, match=rf"unknown keys in {section}: new_one, newer_one\."):
        translated(changed((f"{section}.newer_one", 1), (f"{section}.new_one", 1)))


@pytest.mark.parametrize("section", ["preprocessor", "encoder", "transf_decoder", DECODER, "head"])
@pytest.mark.parametrize("value", [MISSING, None, "text", [1]])
def test_sections_must_be_there(section, value):
    with pytest.raises(ConversionError, match=f"lacks (the section '?)?{section}"):
        translated(changed((section, value)))


@pytest.mark.parametrize(
    ("path", "value", "ours", "expected"),
    [
        ("preprocessor.features", 80, "preprocessor.features", 80),
        ("preprocessor.window_size", 0.03, "preprocessor.window_length", 480),
        ("preprocessor.window_stride", 0.0125, "preprocessor.hop_length", 200),
        ("preprocessor.n_window_size", 500, "preprocessor.window_length", 500),
        ("preprocessor.n_window_stride", 100, "preprocessor.hop_length", 100),
        ("preprocessor.n_fft", 1024, "preprocessor.n_fft", 1024),
        ("preprocessor.preemph", 0.9, "preprocessor.preemph", 0.9),
        ("preprocessor.preemph", None, "preprocessor.preemph", 0.0),
        ("preprocessor.log_zero_guard_value", "1e-5", "preprocessor.log_zero_guard_value", 1e-5),
        ("preprocessor.mag_power", 1.0, "preprocessor.mag_power", 1.0),
        ("encoder.feat_in", 80, "encoder.feat_in", 80),
        ("encoder.n_layers", 7, "encoder.n_layers", 7),
        ("encoder.d_model", 64, "encoder.d_model", 64),
        ("encoder.n_heads", 8, "encoder.n_heads", 8),
        ("encoder.ff_expansion_factor", 2, "encoder.d_ff", 64),
        ("encoder.subsampling_factor", 4, "encoder.subsampling_factor", 4),
        ("encoder.subsampling_conv_channels", 24, "encoder.subsampling_conv_channels", 24),
        ("encoder.subsampling_conv_channels", -1, "encoder.subsampling_conv_channels", 32),
        ("encoder.conv_kernel_size", 31, "encoder.conv_kernel_size", 31),
        ("encoder.conv_norm_type", "layer_norm", "encoder.conv_norm_type", "layer_norm"),
        ("encoder.att_context_size", [70, 13], "encoder.att_context_size", (70, 13)),
        ("encoder.att_context_size", [[70, 13], [70, 1]], "encoder.att_context_size", (70, 13)),
        ("encoder.xscaling", True, "encoder.xscaling", True),
        ("encoder.use_bias", False, "encoder.use_bias", False),
        (f"{DECODER}.num_layers", 9, "decoder.n_layers", 9),
        (f"{DECODER}.hidden_size", 80, "decoder.hidden_size", 80),
        (f"{DECODER}.inner_size", 99, "decoder.inner_size", 99),
        (f"{DECODER}.num_attention_heads", 8, "decoder.n_heads", 8),
        (f"{DECODER}.max_sequence_length", 77, "decoder.max_sequence_length", 77),
        (f"{DECODER}.hidden_act", "gelu", "decoder.hidden_act", "gelu"),
        (f"{DECODER}.learn_positional_encodings", True, "decoder.learned_positions", True),
        ("transf_decoder.pre_ln_final_layer_norm", False, "decoder.final_layer_norm", False),
        ("prompt_defaults", None, "prompt.defaults", {}),
        ("decoding.beam.beam_size", 4, "decoding.beam_size", 4),
        ("decoding.beam.length_penalty", 1, "decoding.length_penalty", 1.0),
        ("decoding.beam.max_generation_delta", 20, "decoding.max_generation_delta", 20),
    ],
)
def test_what_we_compute_is_taken_over(path, value, ours, expected):
    before, after = translated(CONFIG), translated(changed((path, value)))
    assert after[ours] == expected != before[ours]
    # d_ff and the subsampling's channels may follow the width; all else stays as it was.
    assert {key for key in before if before[key] != after[key]} <= {ours, "encoder.d_ff"}


@pytest.mark.parametrize(("path", "value"), [("encoder.conv_context_size", [4, 4]), ("encoder.feat_out", None)])
def test_what_says_the_same_in_other_words(path, value):
    assert translated(changed((path, value))) == translated(CONFIG)


def test_window_and_hop_are_in_samples_of_the_rate():
    got = translated(changed(("preprocessor.sample_rate", 8000)))
    assert [got[f"preprocessor.{key}"] for key in ("sample_rate", "window_length", "hop_length")] == [8000, 200, 80]


def test_local_attention_is_taken_over():
    local = changed(("encoder.self_attention_model", "rel_pos_local_attn"), ("encoder.att_context_size", [8, 8]))
    assert translated(local)["encoder.self_attention_model"] == "rel_pos_local_attn"
    with pytest.raises(ConversionError, match="rel_pos_local_attn needs a bounded att_context_size"):
        translated(changed(("encoder.self_attention_model", "rel_pos_local_attn")))


def test_greedy_decoding_takes_its_own_limit():
    config = changed(("decoding", {"strategy": "greedy_batch", "greedy": {"max_generation_delta": 7}}))
    assert (decoding_config(config).strategy, decoding_config(config).max_generation_delta) == ("greedy_batch", 7)


def test_the_length_penalty_is_not_len_pen():
    """Published files write `len_pen`, which NeMo ignores; who honours it gets other texts than NeMo."""
    assert decoding_config(changed(("decoding.beam.len_pen", 1.0))).length_penalty == 0.0


@pytest.mark.parametrize("value", [MISSING, None, {}])
def test_without_a_decoding_section_nemo_s_defaults_hold(value):
    assert decoding_config(changed(("decoding", value))).model_dump() == {
        "strategy": "beam",
        "beam_size": 1,
        "length_penalty": 0.0,
        "max_generation_delta": -1,
    }


SETTINGS = {
    "strategy": "beam",
    "compute_hypothesis_token_set": False,
    "preserve_alignments": None,
    "confidence_cfg": {"preserve_frame_confidence": False, "method_cfg": {"name": "entropy"}},
    "compute_langs": False,
    "greedy": {
        "temperature": None,
        "max_generation_delta": -1,
        "preserve_alignments": False,
        "preserve_token_confidence": False,
        "confidence_method_cfg": {"name": "entropy"},
        "n_samples": 1,
    },
    "beam": {
        "beam_size": 1,
        "search_type": "default",
        "len_pen": 1.0,
        "max_generation_delta": -1,
        "return_best_hypothesis": True,
        "preserve_alignments": False,
        "ngram_lm_model": None,
        "ngram_lm_alpha": 0.0,
        "boosting_tree": {"model_path": None, "key_phrases_file": None, "key_phrases_list": None, "context_score": 1.0},
        "boosting_tree_alpha": 0.0,
    },
    "temperature": 1.0,
    "return_xattn_scores": False,
}


def test_all_of_nemo_s_settings_are_known_and_its_defaults_need_no_note():
    """As NeMo 3.0 writes them once somebody has changed the strategy."""
    config = changed(("decoding", SETTINGS))
    assert decoding_config(config) == decoding_config(changed(("decoding", None)))
    assert decoding_notes(config) == decoding_notes(changed(("decoding", None))) == []


@pytest.mark.parametrize(
    ("strategy", "path", "value", "option"),
    [
        ("greedy", "decoding.greedy.temperature", 0.9, "--temperature"),
        ("beam", "decoding.beam.ngram_lm_model", "lm.arpa", "--lm"),
        ("beam", "decoding.beam.boosting_tree", {"key_phrases_list": ["NVIDIA"]}, "--boost"),
        ("beam", "decoding.greedy.temperature", 0.9, None),
        ("greedy_batch", "decoding.beam.ngram_lm_model", "lm.arpa", None),
    ],
)
def test_what_is_not_followed_is_said_where_nemo_would_do_it(strategy, path, value, option):
    config = changed(("decoding", copy.deepcopy(SETTINGS)), ("decoding.strategy", strategy))
    *_, section, key = path.split(".")
    config["decoding"][section][key] = value
    assert decoding_config(config).strategy == strategy
    notes = decoding_notes(config)
    assert notes == ([f"Its {path} is not followed; ask for it with {option} if you want it."] if option else [])


@pytest.mark.parametrize("value", ["beam", 3, ["beam"]])
@pytest.mark.parametrize("path", ["decoding", "decoding.beam"])
def test_a_decoding_section_that_is_none_is_refused(path, value):
    """Once a traceback."""
    with pytest.raises(ConversionError, match="decoding"):
        decoding_config(changed((path, value)))


def test_absent_keys_have_nemo_s_defaults():
    """Those of NeMo 3.0's constructors: a guess of our own would be a guess about somebody's checkpoint."""
    config = changed(
        ("preprocessor", {}),
        ("encoder", {"feat_in": 64, "n_layers": 1, "d_model": 176, "subsampling": "dw_striding"}),
        ("transf_encoder", MISSING),
        ("transf_decoder", {"config_dict": {"num_layers": 1, "hidden_size": 8, "inner_size": 8, "pre_ln": True}}),
        ("transf_decoder.config_dict.num_attention_heads", 2),
        ("head", {}),
    )
    got = translated(config)
    expected = {
        "preprocessor.sample_rate": 16000,
        "preprocessor.features": 64,
        "preprocessor.window_length": 320,
        "preprocessor.hop_length": 160,
        "preprocessor.n_fft": 512,
        "preprocessor.preemph": 0.97,
        "preprocessor.log_zero_guard_value": 2**-24,
        "preprocessor.mag_power": 2.0,
        "encoder.n_heads": 4,
        "encoder.d_ff": 704,
        "encoder.subsampling_factor": 4,
        "encoder.subsampling_conv_channels": 176,
        "encoder.conv_kernel_size": 31,
        "encoder.conv_norm_type": "batch_norm",
        "encoder.self_attention_model": "rel_pos",
        "encoder.att_context_size": (-1, -1),
        "encoder.xscaling": True,
        "encoder.use_bias": True,
        "decoder.max_sequence_length": 512,
        "decoder.hidden_act": "relu",
        "decoder.final_layer_norm": True,
        "decoder.learned_positions": False,
    }
    assert {key: got[key] for key in expected} == expected
    # Two defaults of NeMo's are things that we do not compute, so saying nothing is refused as well.
    with pytest.raises(ConversionError, match=r"encoder\.subsampling='striding' is not supported"):
        translated(changed(("encoder.subsampling", MISSING)))
    with pytest.raises(ConversionError, match="pre_ln=False is not supported"):
        translated(changed((f"{DECODER}.pre_ln", MISSING)))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("preprocessor.dither", 0.1),
        ("preprocessor.pad_to", 16),
        ("preprocessor.nb_augmentation_prob", 0.5),
        ("encoder.dropout", 0.9),
        ("encoder.pos_emb_max_len", 10),
        ("encoder.use_pytorch_sdpa", True),
        ("encoder.stochastic_depth_drop_prob", 0.3),
        (f"{DECODER}.attn_score_dropout", 0.5),
        ("head.dropout", 0.5),
        ("spec_augment", {"anything": 1}),
        ("optim", {"lr": 1}),
        ("context_len_for_AR_decoding", 5),
        ("train_ds", {"manifest": "x"}),
    ],
)
def test_what_only_acts_in_training_changes_nothing(path, value):
    assert translated(changed((path, value))) == translated(CONFIG)


@pytest.mark.parametrize(
    "turns", [[], "text", {"role": "user"}, [1, "x"], [{"role": "user"}], [{"role": "x", "slots": {"pnc": "y"}}]]
)
def test_prompt_defaults_of_other_shapes_are_none(turns):
    assert prompt_config(changed(("prompt_defaults", turns)), None).defaults == {}


def test_the_prompt_format_is_taken_over():
    assert prompt_config(changed(("prompt_defaults", None), ("prompt_format", "canary")), None).format == "canary"
    with pytest.raises(ConversionError, match="have the slot 'decodercontext', for which 'canary' has no place"):
        prompt_config(changed(("prompt_format", "canary")), None)


def test_prompt_defaults_are_the_user_s_turn():
    defaults = translated(CONFIG)["prompt.defaults"]
    assert defaults["source_lang"] == "<|en|>"
    assert defaults["timestamp"] == "<|notimestamp|>"


def test_keys_under_model_are_found(tmp_path):
    """Training configurations keep everything under `model:`."""
    nemo = v.variant(tmp_path / "x.nemo", config=lambda c: (inner := dict(c), c.clear(), c.update(model=inner)))
    with open_nemo(nemo) as checkpoint:
        assert translated(checkpoint.config) == translated(CONFIG)
