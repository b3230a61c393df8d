"""Layers of M models at once: every weight has a leading ``model`` axis, every activation is ``[model row column]``."""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

LAYER_NORM_EPS = 1e-5
#: Below these a convolution is no faster than a plain product.
CONVOLVED_FROM_COLUMNS, CONVOLVED_FROM_ROWS = 512, 1024
#: A convolution is compiled for every number of rows that it meets, so it gets multiples of this one alone.
ROWS_PER_CONVOLUTION = 64
#: From this width on a convolution is faster whatever the rows.
ALWAYS_CONVOLVED_FROM_COLUMNS = 1024


@dataclasses.dataclass(frozen=True)
class Affine:
    """``x @ weight + bias`` per model, in the weight's precision.

    Attributes:
        bias: None where it is frozen at zero.
        kernel: the weight of a single model as that of a 1x1 convolution, where this is the faster form.
    """

    weight: Float[Tensor, "model d_in d_out"]
    bias: Float[Tensor, "model 1 d_out"] | None
    kernel: Float[Tensor, "d_out d_in 1 1"] | None = None

    def __call__(self, x: Float[Tensor, "model row d_in"]) -> Float[Tensor, "model row d_out"]:
        x = x.to(self.weight.dtype)
        if (kernel := self._kernel_for(x)) is not None:
            return self._convolved(x, kernel)
        return torch.bmm(x, self.weight) if self.bias is None else torch.baddbmm(self.bias, x, self.weight)

    def added_to(
        self, residual: Float[Tensor, "model row d_out"], x: Float[Tensor, "model row d_in"]
    ) -> Float[Tensor, "model row d_out"]:
        """The sum in the residual's precision."""
        if residual.dtype != self.weight.dtype:
            return residual + self(x)
        if (kernel := self._kernel_for(x)) is not None:
            return self._convolved(x, kernel).add_(residual)
        return torch.baddbmm(residual if self.bias is None else residual + self.bias, x, self.weight)

    def columns(self, start: int, stop: int) -> Affine:
        return Affine(
            self.weight[..., start:stop],
            None if self.bias is None else self.bias[..., start:stop],
            None if self.kernel is None else self.kernel[start:stop],
        )

    def to(self, dtype: torch.dtype) -> Affine:
        return Affine(self.weight.to(dtype), None if self.bias is None else self.bias.to(dtype))

    def as_convolution(self) -> Affine:
        """The same map as a 1x1 convolution where that is faster, if its weight will never change.

        On a CPU convolutions go to oneDNN, which in float32 is faster than the library behind ``bmm``.
        """
        n_models, *sizes = self.weight.shape
        wide = n_models == 1 and min(sizes) >= CONVOLVED_FROM_COLUMNS
        if not wide or self.weight.is_cuda or self.weight.dtype != torch.float32 or self.weight.requires_grad:
            return self
        return dataclasses.replace(self, kernel=self.weight[0].T.contiguous()[..., None, None])

    def _kernel_for(self, x: Float[Tensor, "model row d_in"]) -> Float[Tensor, "d_out d_in 1 1"] | None:
        """The kernel, if a convolution is the faster form for so many rows."""
        if min(self.weight.shape[1:]) >= ALWAYS_CONVOLVED_FROM_COLUMNS:
            return self.kernel
        n_rows = x.shape[1]
        return self.kernel if n_rows >= CONVOLVED_FROM_ROWS and n_rows % ROWS_PER_CONVOLUTION == 0 else None

    def _convolved(
        self, x: Float[Tensor, "1 row d_in"], kernel: Float[Tensor, "d_out d_in 1 1"]
    ) -> Float[Tensor, "1 row d_out"]:
        """Rows are the image's pixels, columns its channels, stored last."""
        bias = None if self.bias is None else self.bias.flatten()
        return F.conv2d(x.mT.unsqueeze(2), kernel, bias).squeeze(2).mT


@dataclasses.dataclass(frozen=True)
class LayerNorm:
    """LayerNorm per model; gain and bias are None where they are frozen at one and zero."""

    gain: Float[Tensor, "model 1 d_model"] | None
    bias: Float[Tensor, "model 1 d_model"] | None

    def __call__(self, x: Float[Tensor, "model row d_model"]) -> Float[Tensor, "model row d_model"]:
        x = F.layer_norm(x, x.shape[-1:], eps=LAYER_NORM_EPS)
        if self.gain is not None:
            x = x * self.gain
        return x if self.bias is None else x + self.bias


def read_in(
    W_E: Float[Tensor, "model d_vocab d_model"],
    tokens: Int64[Tensor, "model entry"] | Float[Tensor, "model entry d_vocab"],
) -> Float[Tensor, "model entry d_model"]:
    """Each model's rows of its tokens, or what it maps real-valued vectors to."""
    return torch.bmm(tokens, W_E) if tokens.is_floating_point() else take_rows(W_E, tokens)


def take_rows(
    x: Float[Tensor, "model row columns"], rows: Int64[Tensor, "model chosen"]
) -> Float[Tensor, "model chosen columns"]:
    """Each model's chosen rows; an embedding look-up, whose gradient is a deterministic sum."""
    n_models, n_rows, n_columns = x.shape
    offsets = torch.arange(n_models, device=x.device)[:, None] * n_rows
    return F.embedding(rows + offsets, x.reshape(-1, n_columns))
