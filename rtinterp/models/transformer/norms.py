"""RMSNorm of M stacked models; ``rtinterp.models.layers`` has LayerNorm."""

from __future__ import annotations

import dataclasses

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

#: Llama's.
RMS_NORM_EPS = 1e-6


@dataclasses.dataclass(frozen=True)
class RMSNorm:
    """RMSNorm per model: no mean is subtracted, no bias added. The gain is None where it is frozen at one."""

    gain: Float[Tensor, "model 1 d_model"] | None
    eps: float = RMS_NORM_EPS

    def __call__(self, x: Float[Tensor, "model row d_model"]) -> Float[Tensor, "model row d_model"]:
        x = F.rms_norm(x, x.shape[-1:], eps=self.eps)
        return x if self.gain is None else x * self.gain
