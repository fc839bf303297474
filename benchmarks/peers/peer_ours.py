"""mlx-canary, in the environment that the driver runs in: the public methods of a model, without its guards."""

from __future__ import annotations

from pathlib import Path

from common import NEVER, RATE, Hear, Samples, main

REQUIREMENTS: list[str] = []


def load(folder: Path, precision: str) -> Hear:
    from mlx_canary import Audio, CanaryModel, TranscriptionOptions
    from mlx_canary.text.prompt import encode_prompt

    model = CanaryModel.from_pretrained(folder / "model.nemo", dtype=precision)  # type: ignore[arg-type]
    tokenizer = model.tokenizer
    # Random weights have no end of text; there is no public way to forbid a token.
    for token in tokenizer.special_ids:
        model._loaded.network.head_bias[token] = NEVER
    options = TranscriptionOptions(language="en")
    prompt = encode_prompt(model.prompt(options), model.config.prompt.format, tokenizer)

    def hear(batch: list[Samples], n_tokens: int) -> list[int]:
        encoded = model.encode([Audio(samples, RATE) for samples in batch])
        found = model.decode_greedy(encoded, [prompt] * len(batch), [n_tokens] * len(batch))
        assert all(tokenizer.decode(hypothesis.tokens) for hypothesis in found)
        return [len(hypothesis.tokens) for hypothesis in found]

    return hear


if __name__ == "__main__":
    main(None, load, ["mlx-canary", "mlx", "numpy"])
