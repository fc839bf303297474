"""The front of the network for training: samples in, subsampled frames out.

The same numbers as NeMo's preprocessor and subsampling, at half their cost:
powers without a strided sum, padding zeroed instead of multiplied by masks,
channels last. Knows nothing about what follows.
"""

import torch


def within(length: int, n: torch.Tensor) -> torch.Tensor:
    """(B, length): whether a place lies before the end of its row."""
    return torch.arange(length, device=n.device)[None] < n[:, None]


@torch.no_grad()
def log_mel(preprocessor, samples: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Padded samples (B, N) and their lengths to normalised log-mel (B, M, T) and frame counts; dithers."""
    f = preprocessor.featurizer
    x = samples + 1e-5 * torch.randn_like(samples)
    x = torch.cat([x[:, :1], x[:, 1:] - 0.97 * x[:, :-1]], 1)
    x = x.masked_fill(~within(x.shape[1], lengths), 0.0)
    spectrum = torch.stft(x, 512, 160, 400, f.window, center=True, pad_mode="constant", return_complex=True)
    power = torch.addcmul(spectrum.real.square(), spectrum.imag, spectrum.imag)
    mel = torch.log(torch.matmul(f.fb.to(power.dtype), power) + 2.0**-24)
    n = lengths // 160
    inside = within(mel.shape[2], n)[:, None].to(mel.dtype)
    count = n[:, None, None].to(mel.dtype)
    mean = (mel * inside).sum(2, keepdim=True) / count
    spread = (((mel - mean) * inside).square().sum(2, keepdim=True) / (count - 1)).sqrt() + 1e-5
    return (mel - mean) / spread * inside, n


def subsample(pre, mel: torch.Tensor, lengths: torch.Tensor, frozen: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """NeMo's dw_striding: mel (B, M, T) to (B, S, D) and lengths; frozen convolutions keep nothing for backward."""
    with torch.set_grad_enabled(not frozen):
        x = mel.transpose(1, 2).unsqueeze(1).to(torch.bfloat16).contiguous(memory_format=torch.channels_last)
        n = lengths.clone()
        for layer in pre.conv:
            if isinstance(layer, torch.nn.ReLU):
                x = torch.relu_(x) if frozen else torch.relu(x)
                continue
            if frozen:
                for i, length in enumerate(n.tolist()):
                    x[i, :, length:] = 0
            else:
                x = x * within(x.shape[2], n)[:, None, :, None].to(x.dtype)
            x = layer(x)
            if layer.stride[0] == 2:
                n = (n - 1) // 2 + 1
        inside = within(x.shape[2], n)[..., None].to(x.dtype)
        x = x.transpose(1, 2).flatten(2) * inside
    return pre.out(x), n


def through(encoder, layers: torch.nn.ModuleList, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Some of the encoder's layers: (B, S, D) to (B, S, D)."""
    whole = encoder.layers
    encoder.layers = layers
    try:
        out, _ = encoder(audio_signal=x, length=lengths, bypass_pre_encode=True)
    finally:
        encoder.layers = whole
    return out.transpose(1, 2)
