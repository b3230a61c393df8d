"""What a layer of S4D computes, for M models at once or for one with hook points."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Complex, Float
from torch import Tensor

from rtinterp.models.layers import Affine


@dataclasses.dataclass(frozen=True)
class Recurrence:
    """Every channel's linear recurrence x_t = kept x_{t-1} + added u_t, of which 2 Re (read . x_t) is given.

    Attributes:
        log_kept: the logarithm of what a position leaves of the numbers before it.
        added: what it adds of the input.
        read: the weights by which numbers are summed.
        skip: how much of the input is given as it is.
    """

    log_kept: Complex[Tensor, "model channel pair"]
    added: Complex[Tensor, "model channel pair"]
    read: Complex[Tensor, "model channel pair"]
    skip: Float[Tensor, "model channel"]

    @classmethod
    def of(cls, tensors: Mapping[str, Float[Tensor, "model ..."]]) -> Recurrence:
        """Discretise the tensors of one layer, by their names within it, with zero-order hold."""
        rate = torch.complex(-tensors["log_A_real"].exp(), tensors["A_imag"])
        log_kept = rate * tensors["log_dt"].exp().unsqueeze(-1)
        # expm1 of complex numbers is missing in older versions of PyTorch.
        added = (log_kept.exp() - 1) / rate
        return cls(log_kept, added, torch.view_as_complex(tensors["C"].contiguous()), tensors["D"])

    def kernel(self, n_pos: int) -> Float[Tensor, "model channel pos"]:
        """What is given at each position after an input of one."""
        ages = torch.arange(n_pos, device=self.skip.device)
        powers = (self.log_kept.unsqueeze(-1) * ages).exp()
        return 2 * ((self.read * self.added).unsqueeze(-1) * powers).sum(-2).real

    def __call__(self, u: Float[Tensor, "model batch pos channel"]) -> Float[Tensor, "model batch pos channel"]:
        """What all positions give, as a sum over those before them."""
        n_pos = u.shape[2]
        position = torch.arange(n_pos, device=u.device)
        ages = position[:, None] - position
        by_age = self.kernel(n_pos)[..., ages.clamp(min=0)] * (ages >= 0)
        given = torch.einsum("mcts,mbsc->mbtc", by_age, u)
        return given + self.skip[:, None, None] * u


@dataclasses.dataclass(frozen=True)
class Mixer:
    """One layer of M models, but for its norm; the recurrence is float32."""

    recurrence: Recurrence
    out: Affine

    @classmethod
    def of(cls, tensors: Mapping[str, Float[Tensor, "model ..."]], dtype: torch.dtype) -> Mixer:
        """Lay out the tensors of one layer, by their names within it; differentiable."""
        return cls(Recurrence.of(tensors), Affine(tensors["W_out"], tensors["b_out"].unsqueeze(1)).to(dtype))

    def written(self, given: Float[Tensor, "model row channel"]) -> Float[Tensor, "model row d_model"]:
        """What is added to the residual stream, from what the recurrence gives."""
        value, gate = self.out(F.gelu(given)).float().chunk(2, -1)
        return value * gate.sigmoid()
