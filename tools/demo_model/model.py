"""The small Canary: tokenizers and network, built with NeMo.

A true Canary in small: FastConformer encoder, projection, Transformer decoder
of another width, canary2 prompt, aggregate tokenizer. Knows nothing about
data; train.py trains it, export.py writes it.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

LANGS = ("en", "de", "es", "fr")
LONGEST = 30.0  # seconds of the longest training example
WINDOW = 12.0  # what the file says of it: longer windows are too rare in training, and lose words
N_TIMES = 240  # time tokens <|0|> .. <|239|>, 80 ms each: 19 s, longer than any single utterance here


@dataclass(frozen=True)
class Size:
    """Everything about the network that is a choice."""

    encoder_layers: int = 8
    encoder_width: int = 144
    encoder_heads: int = 4
    channels: int = 64
    decoder_layers: int = 3
    decoder_width: int = 160
    decoder_heads: int = 4
    aligner_layers: int = 3
    dropout: float = 0.0


def build_tokenizers(folder: Path, texts: dict[str, Iterable[str]], pieces: int) -> None:
    """One special tokenizer and one BPE tokenizer a language, as NeMo's aggregate tokenizer expects them."""
    import sentencepiece
    from nemo.collections.common.tokenizers.canary_tokenizer import CanaryTokenizer

    emotions = [f"<|emo:{e}|>" for e in ("undefined", "neutral", "happy", "sad", "angry")]
    switches = ["<|itn|>", "<|noitn|>", "<|timestamp|>", "<|notimestamp|>", "<|diarize|>", "<|nodiarize|>"]
    tags = ["<|unklang|>", *[f"<|{lang}|>" for lang in LANGS]]
    special = ["<|startofcontext|>", *emotions, *tags, *switches, *[f"<|{i}|>" for i in range(N_TIMES)]]
    (folder / "spl_tokens").mkdir(parents=True, exist_ok=True)
    CanaryTokenizer.build_special_tokenizer(special, str(folder / "spl_tokens"))
    drop_normalisation(folder / "spl_tokens" / "tokenizer.model")
    forget_paths(folder / "spl_tokens" / "tokenizer.model")
    for lang in LANGS:
        target = folder / lang
        target.mkdir(exist_ok=True)
        corpus = target / "corpus.txt"
        corpus.write_text("\n".join(texts[lang]), encoding="utf-8")
        sentencepiece.SentencePieceTrainer.train(
            input=str(corpus), model_prefix=str(target / "tokenizer"), vocab_size=pieces, model_type="bpe",
            character_coverage=1.0, bos_id=-1, eos_id=-1, pad_id=-1, unk_id=0, num_threads=1, minloglevel=2,
            normalization_rule_name="identity", hard_vocab_limit=False,
        )  # fmt: skip
        corpus.unlink()
        forget_paths(target / "tokenizer.model")
        model = sentencepiece.SentencePieceProcessor(model_file=str(target / "tokenizer.model"))
        names = "".join(model.id_to_piece(i) + "\n" for i in range(model.get_piece_size()))
        (target / "vocab.txt").write_text(names, encoding="utf-8")


def drop_normalisation(path: Path) -> None:
    """Take the Unicode table (240 kB) out of a tokenizer that only looks whole pieces up."""
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto.FromString(path.read_bytes())
    proto.normalizer_spec.name, proto.normalizer_spec.precompiled_charsmap = "identity", b""
    path.write_bytes(proto.SerializeToString())


def forget_paths(path: Path) -> None:
    """Take out where on this machine a tokenizer was made from what."""
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto.FromString(path.read_bytes())
    proto.trainer_spec.ClearField("input")
    proto.trainer_spec.ClearField("model_prefix")
    path.write_bytes(proto.SerializeToString())


MODULES = "nemo.collections.asr.modules"


def hearing(tokenizers: Path, size: Size, layers: int) -> dict:
    """The parts of a configuration from the sound to the encoder's states, and the tokenizers."""
    return {
        "sample_rate": 16000,
        "tokenizer": {
            "dir": None, "type": "agg",
            "langs": {name: {"dir": str(tokenizers / name), "type": "bpe"} for name in ("spl_tokens", *LANGS)},
            "custom_tokenizer": {
                "_target_": "nemo.collections.common.tokenizers.canary_tokenizer.CanaryTokenizer", "tokenizers": None,
            },
        },
        "preprocessor": {
            "_target_": f"{MODULES}.AudioToMelSpectrogramPreprocessor", "sample_rate": 16000, "normalize": "per_feature",
            "window_size": 0.025, "window_stride": 0.01, "window": "hann", "features": 128, "n_fft": 512, "log": True,
            "frame_splicing": 1, "dither": 1e-5, "pad_to": 0, "pad_value": 0.0,
        },
        "spec_augment": {
            "_target_": f"{MODULES}.SpectrogramAugmentation", "freq_masks": 2, "time_masks": 4, "freq_width": 27,
            "time_width": 0.05,
        },
        "encoder": {
            "_target_": f"{MODULES}.ConformerEncoder", "feat_in": 128, "feat_out": -1, "n_layers": layers,
            "d_model": size.encoder_width, "subsampling": "dw_striding", "subsampling_factor": 8,
            "subsampling_conv_channels": size.channels, "causal_downsampling": False, "ff_expansion_factor": 4,
            "self_attention_model": "rel_pos", "n_heads": size.encoder_heads, "att_context_size": [-1, -1],
            "xscaling": False, "untie_biases": True, "pos_emb_max_len": 5000, "conv_kernel_size": 9,
            "conv_norm_type": "batch_norm", "conv_context_size": None, "dropout": size.dropout,
            "dropout_pre_encoder": size.dropout, "dropout_emb": 0.0, "dropout_att": size.dropout,
        },
        "optim": {"name": "adamw", "lr": 1e-3}, "validation_ds": None, "test_ds": None,
    }  # fmt: skip


def config(tokenizers: Path, size: Size) -> dict:
    """NeMo's configuration of the model."""
    slots = {
        "decodercontext": "", "source_lang": "<|en|>", "target_lang": "<|en|>", "emotion": "<|emo:undefined|>",
        "pnc": "<|pnc|>", "itn": "<|noitn|>", "timestamp": "<|notimestamp|>", "diarize": "<|nodiarize|>",
    }  # fmt: skip
    enc, dec, drop = size.encoder_width, size.decoder_width, size.dropout
    return {
        **hearing(tokenizers, size, size.encoder_layers),
        "label_smoothing": 0.0, "prompt_format": "canary2", "use_loss_mask_for_prompt": True,
        "restore_timestamps_model": False,
        "prompt_defaults": [{"role": "user", "slots": slots}, {"role": "user_partial", "slots": {"decodercontext": ""}}],
        "model_defaults": {"asr_enc_hidden": enc, "lm_enc_hidden": dec, "lm_dec_hidden": dec},
        "transf_encoder": {
            "_target_": f"{MODULES}.transformer.transformer_encoders.TransformerEncoder", "num_layers": 0,
            "hidden_size": dec, "inner_size": 4 * dec, "num_attention_heads": size.decoder_heads,
        },
        "transf_decoder": {
            "_target_": f"{MODULES}.transformer.get_nemo_transformer", "model_name": None, "pretrained": False,
            "encoder": None, "pre_ln_final_layer_norm": True,
            "config_dict": {
                "max_sequence_length": 512, "num_token_types": 0, "embedding_dropout": drop,
                "learn_positional_encodings": False, "hidden_size": dec, "inner_size": 4 * dec,
                "num_layers": size.decoder_layers, "num_attention_heads": size.decoder_heads, "ffn_dropout": drop,
                "attn_score_dropout": drop, "attn_layer_dropout": drop, "hidden_act": "relu", "pre_ln": True,
                "vocab_size": None,
            },
        },
        "head": {
            "_target_": "nemo.collections.asr.parts.submodules.token_classifier.TokenClassifier", "num_layers": 1,
            "activation": "relu", "log_softmax": True, "hidden_size": dec, "num_classes": None, "dropout": 0.0,
            "use_transformer_init": True,
        },
        "decoding": {
            "strategy": "beam", "return_best_hypothesis": True,
            "beam": {"beam_size": 1, "len_pen": 0.0, "max_generation_delta": 50},
        },
        "loss": {
            "_target_": "nemo.collections.common.losses.smoothed_cross_entropy.SmoothedCrossEntropyLoss",
            "label_smoothing": 0.0, "pad_id": None,
        },
        "train_ds": None,
    }  # fmt: skip


def aligner_config(tokenizers: Path, size: Size) -> dict:
    """NeMo's configuration of the CTC model that tells when each word is said."""
    return {
        **hearing(tokenizers, size, size.aligner_layers),
        "train_ds": None, "log_prediction": False, "ctc_reduction": "mean_volume", "skip_nan_grad": False,
        "decoder": {
            "_target_": f"{MODULES}.ConvASRDecoder", "feat_in": size.encoder_width, "num_classes": -1, "vocabulary": [],
        },
        "decoding": {"strategy": "greedy"},
    }  # fmt: skip


def build_aligner(tokenizers: Path, size: Size):
    """An EncDecCTCModelBPE on the same tokenizers."""
    from nemo.collections.asr.models import EncDecCTCModelBPE
    from omegaconf import OmegaConf

    return EncDecCTCModelBPE(OmegaConf.create(aligner_config(tokenizers, size)))


def build(tokenizers: Path, size: Size):
    """An EncDecMultiTaskModel that starts at a scale from which it learns."""
    import torch
    from nemo.collections.asr.models import EncDecMultiTaskModel
    from omegaconf import OmegaConf

    network = EncDecMultiTaskModel(OmegaConf.create(config(tokenizers, size)))
    # NeMo's default start leaves the subsampling's output almost constant, and training stalls there.
    for module in network.encoder.pre_encode.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            torch.nn.init.zeros_(module.bias)
    torch.nn.init.xavier_uniform_(network.encoder.pre_encode.out.weight)
    torch.nn.init.zeros_(network.encoder.pre_encode.out.bias)
    return network


def weights_of(checkpoint: Path) -> dict:
    """The weights of a .nemo, in float32."""
    import tarfile
    import tempfile

    import torch

    with tempfile.TemporaryDirectory() as scratch, tarfile.open(checkpoint) as archive:
        member = next(m for m in archive.getmembers() if m.name.endswith("model_weights.ckpt"))
        archive.extract(member, scratch, filter="data")
        weights = torch.load(Path(scratch) / member.name, map_location="cpu", weights_only=True)
    return {k: v.float() if v.is_floating_point() else v for k, v in weights.items()}


def start_from(network, checkpoint: Path) -> list[str]:
    """Copy the tensors of another .nemo that have the same name and shape, encoder only; their names."""
    own = network.state_dict()
    taken = {
        k: v
        for k, v in weights_of(checkpoint).items()
        if k.startswith("encoder.") and k in own and own[k].shape == v.shape
    }
    network.load_state_dict(taken, strict=False)
    return sorted(taken)


def go_on_from(network, checkpoint: Path) -> None:
    """Take over the weights of a .nemo of the same sizes; its tokenizers must be the same, piece by piece."""
    from nemo.collections.asr.models import EncDecMultiTaskModel

    before = EncDecMultiTaskModel.restore_from(str(checkpoint), map_location="cpu")
    if before.tokenizer.vocabulary != network.tokenizer.vocabulary:
        raise SystemExit(f"{checkpoint.name} has other tokenizers; only its encoder can be taken: --encoder-from.")
    network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in before.state_dict().items()})


def describe(size: Size) -> dict:
    return asdict(size)
