"""What a layer of Mamba computes, for M models at once or for one with hook points."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from rtinterp.models.layers import Affine
from rtinterp.models.mamba.architecture import MambaArchitecture
from rtinterp.models.mamba.selective_scan import selective_scan


def causal_convolution(
    x: Float[Tensor, "model batch pos channel"],
    weight: Float[Tensor, "model channel tap"],
    bias: Float[Tensor, "model channel"],
) -> Float[Tensor, "model batch pos channel"]:
    """Every channel's weighted sum over the last positions, the newest by the last weight; zeros before the first."""
    n_pos, n_taps = x.shape[2], weight.shape[2]
    padded = F.pad(x, (0, 0, n_taps - 1, 0))
    total = bias[:, None, None].expand_as(x)
    for tap in range(n_taps):
        total = torch.addcmul(total, padded[:, :, tap : tap + n_pos], weight[:, None, None, :, tap])
    return total


@dataclasses.dataclass(frozen=True)
class Mixer:
    """One layer of M models, but for its norm and the map back to the residual stream; states are float32."""

    architecture: MambaArchitecture
    to_channels: Affine
    conv_weight: Float[Tensor, "model channel tap"]
    conv_bias: Float[Tensor, "model channel"]
    to_selection: Affine
    to_step: Affine
    rate: Float[Tensor, "model channel state"]
    skip: Float[Tensor, "model channel"]
    to_residual: Affine

    @classmethod
    def of(
        cls, architecture: MambaArchitecture, tensors: Mapping[str, Float[Tensor, "model ..."]], dtype: torch.dtype
    ) -> Mixer:
        """Lay out the tensors of one layer, by their names within it; differentiable."""
        return cls(
            architecture=architecture,
            to_channels=Affine(tensors["W_in"], None).to(dtype),
            conv_weight=tensors["W_conv"],
            conv_bias=tensors["b_conv"],
            to_selection=Affine(tensors["W_x"], None).to(dtype),
            to_step=Affine(tensors["W_dt"], tensors["b_dt"].unsqueeze(1)).to(dtype),
            rate=-tensors["A_log"].exp(),
            skip=tensors["D"],
            to_residual=Affine(tensors["W_out"], None).to(dtype),
        )

    def convolved(self, x: Float[Tensor, "model batch pos channel"]) -> Float[Tensor, "model batch pos channel"]:
        """What the recurrence reads."""
        return F.silu(causal_convolution(x, self.conv_weight, self.conv_bias))

    def selection(
        self, u: Float[Tensor, "model batch pos channel"]
    ) -> tuple[
        Float[Tensor, "model batch pos channel"],
        Float[Tensor, "model batch pos state"],
        Float[Tensor, "model batch pos state"],
    ]:
        """Step sizes, what is written and what is read, all of which the token decides."""
        shape, rank = u.shape[1:3], self.architecture.step_rank
        selected = self.to_selection(u.flatten(1, 2))
        low_rank, written, read = selected.split([rank, *[self.architecture.d_state] * 2], -1)
        step = F.softplus(self.to_step(low_rank).float())
        return step.unflatten(1, shape), written.float().unflatten(1, shape), read.float().unflatten(1, shape)

    def output(
        self, u: Float[Tensor, "model batch pos channel"], given: Float[Tensor, "model batch pos channel"]
    ) -> Float[Tensor, "model batch pos channel"]:
        """What channels give before the gate, from what is read of their states."""
        return torch.addcmul(given, u, self.skip[:, None, None])

    def __call__(self, channels: Float[Tensor, "model batch pos two_channels"]) -> Float[Tensor, "model place channel"]:
        """What the map to the residual stream reads at every place."""
        x, gate = channels.float().chunk(2, -1)
        u = self.convolved(x)
        step, written, read = self.selection(u)
        y = self.output(u, selective_scan(u, step, self.rate, written, read))
        return (y * F.silu(gate)).flatten(1, 2)
