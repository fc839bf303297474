"""What a user can ask of a conversion."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mlx_canary.config import Code, Dtype, Quantization


class ConversionConfig(BaseModel):
    """A conversion of one NeMo checkpoint."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    nemo_file: Path
    """A `.nemo` file, a folder that holds one, or a folder with its unpacked members."""
    output_dir: Path
    """The folder to make."""
    preserve_original_keys: bool = False
    """Keep NeMo's names and axes in model.safetensors, for debugging."""
    dtype: Dtype = "float32"
    """What the weights are stored in and the network computes in. Features are always float32."""
    bits: Literal[4, 8] | None = None
    """Quantize linear layers and the token embedding to so many bits."""
    group_size: Literal[32, 64, 128] = Field(default=64)
    """How many weights share a scale."""
    prompt_format: Literal["canary", "canary2"] | None = None
    """For a checkpoint whose prompt template has a name of its own."""
    languages: Annotated[tuple[Code, ...], Field(min_length=1)] | None = None
    """The languages that it was trained on, for a checkpoint that does not say."""
    overwrite: bool = False
    """Replace an earlier conversion in `output_dir`."""
    check_bytes: bool = True
    """Compare the checkpoint's bytes with the checksums beside them."""

    @model_validator(mode="after")
    def _combinations(self) -> ConversionConfig:
        try:
            there, same = self.nemo_file.exists(), self.output_dir.resolve() == self.nemo_file.resolve()
        except (OSError, RuntimeError) as error:  # too long, not allowed, a link to itself
            raise ValueError(f"the checkpoint or the output folder has a path that cannot be used: {error}") from error
        if not there:
            raise ValueError(f"there is no checkpoint at {self.nemo_file}")
        if self.preserve_original_keys and self.bits is not None:
            raise ValueError("original keys go with the tensors as NeMo has them; quantizing would change those")
        if self.bits is None and "group_size" in self.model_fields_set:
            raise ValueError("group_size is for quantized weights; say in how many bits")
        if same:
            raise ValueError("output_dir is the checkpoint itself")
        return self

    @property
    def quantization(self) -> Quantization | None:
        """The quantization as config.json has it."""
        return None if self.bits is None else Quantization(bits=self.bits, group_size=self.group_size)
