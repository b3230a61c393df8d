"""Cross-entropy through the unembedding without ever holding the logits of a large vocabulary."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from rtinterp.models.layers import Affine

#: Logits held at once, by kind of device; a CPU gives larger buffers back to the operating system after every use.
LOGITS_AT_ONCE = {"cpu": 2**22, "cuda": 2**27}


def cross_entropy(
    residual: Float[Tensor, "model row d_model"], unembedding: Affine, targets: Int64[Tensor, "model row"]
) -> tuple[Float[Tensor, "model row"], Int64[Tensor, "model row"]]:
    """Loss of every row in nats, and its most likely token; the loss is differentiable."""
    n_models, n_rows, _ = residual.shape
    n_at_once = max(1, LOGITS_AT_ONCE[residual.device.type] // (n_models * unembedding.weight.shape[-1]))
    if n_rows <= n_at_once:
        return _of_slice(residual, unembedding, targets)
    slices = [
        _Recomputed.apply(x, unembedding.weight, unembedding.bias, of_x)
        for x, of_x in zip(residual.split(n_at_once, 1), targets.split(n_at_once, 1), strict=True)
    ]
    losses, predicted = zip(*slices, strict=True)
    return torch.cat(losses, 1), torch.cat(predicted, 1)


def _of_slice(
    residual: Float[Tensor, "model row d_model"], unembedding: Affine, targets: Int64[Tensor, "model row"]
) -> tuple[Float[Tensor, "model row"], Int64[Tensor, "model row"]]:
    logits = unembedding(residual)
    losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    return losses.view_as(targets), logits.detach().argmax(-1)


class _Recomputed(torch.autograd.Function):
    """One slice, whose logits are computed again in the backward pass instead of kept."""

    @staticmethod
    def forward(ctx, residual, weight, bias, targets):
        ctx.save_for_backward(residual, weight, bias, targets)
        losses, predicted = _of_slice(residual, Affine(weight, bias), targets)
        ctx.mark_non_differentiable(predicted)
        return losses, predicted

    @staticmethod
    def backward(ctx, *grad_outputs):
        of_losses, _ = grad_outputs
        residual, weight, bias, targets = ctx.saved_tensors
        of_logits = Affine(weight, bias)(residual).softmax(-1)
        of_logits.scatter_add_(-1, targets[..., None], -torch.ones_like(targets, dtype=of_logits.dtype)[..., None])
        of_logits *= of_losses[..., None]
        return (
            torch.bmm(of_logits, weight.transpose(1, 2)) if ctx.needs_input_grad[0] else None,
            torch.bmm(residual.transpose(1, 2), of_logits) if ctx.needs_input_grad[1] else None,
            of_logits.sum(1, keepdim=True) if ctx.needs_input_grad[2] else None,
            None,
        )
