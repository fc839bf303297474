"""Muon for many small matrices: those of one shape are made orthogonal together.

The rule is that of torch.optim.Muon with adjust_lr_fn="match_rms_adamw"
(Nesterov momentum 0.95, five Newton-Schulz steps in bfloat16). That one takes
a matrix at a time: on a GPU, where a small product costs no more than its
launch, a hundred matrices take longer than forward and backward together.
"""

import torch

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
STEPS = 5
MOMENTUM = 0.95


def orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """Matrices (n, a, b) to nearly orthogonal ones of the same row and column spaces, in bfloat16."""
    a, b, c = COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.to(torch.bfloat16)
    x = x.mT if tall else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Muon over matrices that all get gradients at every step."""

    def __init__(self, matrices: list[torch.Tensor], lr: float, weight_decay: float = 0.01) -> None:
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            shapes: dict[torch.Size, list[torch.Tensor]] = {}
            for p in group["params"]:
                if p not in self.state:
                    self.state[p]["momentum"] = torch.zeros_like(p)
                shapes.setdefault(p.shape, []).append(p)
            for shape, ps in shapes.items():
                grads, momenta = [p.grad for p in ps], [self.state[p]["momentum"] for p in ps]
                torch._foreach_lerp_(momenta, grads, 1 - MOMENTUM)
                updates = orthogonal(torch.stack(torch._foreach_lerp(grads, momenta, MOMENTUM)))
                rate = group["lr"] * 0.2 * max(shape) ** 0.5
                torch._foreach_mul_(ps, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(ps, list(updates.to(ps[0].dtype).unbind()), alpha=-rate)
