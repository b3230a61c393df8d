"""Cross-entropy through the unembedding without ever holding the logits of a large vocabulary."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from rtinterp.models.layers import Affine

#: Logits held at once, by kind of device; a CPU gives larger buffers back to the operating system after every use.
LOGITS_AT_ONCE = {"cpu": 2**22, "cuda": 2**27}


def cross_entropy(
    residual: Float[Tensor, "model row d_model"], unembedding: Affine, targets: Int64[Tensor, "model row"]
) -> Float[Tensor, "model row"]:
    """The loss of every row in nats; differentiable."""
    slices = list(_slices(residual, unembedding, targets))
    if len(slices) == 1:
        return _losses(unembedding(residual), targets)
    return torch.cat([_Recomputed.apply(x, unembedding.weight, unembedding.bias, of_x) for x, of_x in slices], 1)


@torch.no_grad()
def cross_entropy_and_predictions(
    residual: Float[Tensor, "model row d_model"], unembedding: Affine, targets: Int64[Tensor, "model row"]
) -> tuple[Float[Tensor, "model row"], Int64[Tensor, "model row"]]:
    """The loss of every row in nats, and its most likely token."""
    losses, predicted = [], []
    for x, of_x in _slices(residual, unembedding, targets):
        logits = unembedding(x)
        losses.append(_losses(logits, of_x))
        predicted.append(logits.argmax(-1))
    return torch.cat(losses, 1), torch.cat(predicted, 1)


def _slices(
    residual: Float[Tensor, "model row d_model"], unembedding: Affine, targets: Int64[Tensor, "model row"]
) -> Iterator[tuple[Float[Tensor, "model slice d_model"], Int64[Tensor, "model slice"]]]:
    """Rows whose logits may be held at once, and their targets."""
    n_at_once = max(1, LOGITS_AT_ONCE[residual.device.type] // (len(residual) * unembedding.weight.shape[-1]))
    return zip(residual.split(n_at_once, 1), targets.split(n_at_once, 1), strict=True)


def _losses(
    logits: Float[Tensor, "model row d_vocab"], targets: Int64[Tensor, "model row"]
) -> Float[Tensor, "model row"]:
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view_as(targets)


class _Recomputed(torch.autograd.Function):
    """One slice, whose logits are computed again in the backward pass instead of kept."""

    @staticmethod
    def forward(ctx, residual, weight, bias, targets):
        ctx.save_for_backward(residual, weight, bias, targets)
        return _losses(Affine(weight, bias)(residual), targets)

    @staticmethod
    def backward(ctx, *grad_outputs):
        (of_losses,) = grad_outputs
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
