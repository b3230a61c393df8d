"""How inputs enter the residual stream and how logits leave it, with TransformerLens's names."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn
from transformer_lens.hook_points import HookPoint


class HookedEmbed(nn.Module):
    """The matrix through which tokens, or real-valued vectors of length ``d_vocab``, enter the residual stream."""

    def __init__(self, d_vocab: int, d_model: int) -> None:
        super().__init__()
        self.W_E = zeros(d_vocab, d_model)

    def forward(
        self, inputs: Int64[Tensor, "batch pos"] | Float[Tensor, "batch pos d_vocab"]
    ) -> Float[Tensor, "batch pos d_model"]:
        """The rows of the tokens, or ``inputs @ W_E`` for vectors. Like HookedTransformer, it takes any device's."""
        inputs = inputs.to(self.W_E.device)
        return inputs @ self.W_E if inputs.is_floating_point() else F.embedding(inputs, self.W_E)


class HookedPosEmbed(nn.Module):
    """One vector for each position."""

    def __init__(self, n_ctx: int, d_model: int) -> None:
        super().__init__()
        self.W_pos = zeros(n_ctx, d_model)

    def forward(
        self, n_batch: int, n_pos: int, attention_mask: Int[Tensor, "batch key_pos"] | None = None
    ) -> Float[Tensor, "batch pos d_model"]:
        """The vectors of the last ``n_pos`` positions. Those that the mask hides do not count and get zeros.

        Raises:
            ValueError: there are more positions than ``n_ctx``.
        """
        n_ctx, n_keys = len(self.W_pos), n_pos if attention_mask is None else attention_mask.shape[1]
        if n_keys > n_ctx:
            raise ValueError(f"sequences of {n_keys} positions are longer than n_ctx = {n_ctx}; cut them")
        if attention_mask is None:
            return F.embedding(torch.arange(n_pos, device=self.W_pos.device).expand(n_batch, -1), self.W_pos)
        positions = (attention_mask.cumsum(-1) - 1).clamp(min=0)[:, -n_pos:]
        return F.embedding(positions, self.W_pos).masked_fill(attention_mask[:, -n_pos:, None] == 0, 0.0)


class HookedUnembed(nn.Module):
    """The linear map from the residual stream to logits."""

    def __init__(self, d_model: int, d_vocab_out: int) -> None:
        super().__init__()
        self.W_U, self.b_U = zeros(d_model, d_vocab_out), zeros(d_vocab_out)
        self.hook_in, self.hook_out = HookPoint(), HookPoint()

    def forward(self, residual: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos d_vocab_out"]:
        return self.hook_out(self.hook_in(residual) @ self.W_U + self.b_U)


def zeros(*shape: int) -> nn.Parameter:
    """A parameter whose values are still to be loaded."""
    return nn.Parameter(torch.zeros(shape))
