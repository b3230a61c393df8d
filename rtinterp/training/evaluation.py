"""Loss and accuracy over the scored predictions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from rtinterp.models.stacked import StackedModel
from rtinterp.training.cross_entropy import cross_entropy
from rtinterp.training.packing import Chunk, PackedBatch


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Every model's means over the scored predictions of a batch.

    Attributes:
        loss: cross-entropy with the target tokens, or KL divergence from the target distributions, in nats.
        accuracy: fraction whose most likely token is the target, or the target's most likely one, in [0, 1].
    """

    loss: Float[Tensor, " model"]
    accuracy: Float[Tensor, " model"]


def n_counted(chunks: Iterable[Chunk]) -> Float[Tensor, " model"]:
    """Scored predictions of each model, at least 1 so that means of none are 0."""
    return torch.stack([chunk.counted.sum((1, 2)) for chunk in chunks]).sum(0).clamp(min=1).float()


def summed_loss(
    model: StackedModel, embedded: list[Float[Tensor, "model entry columns"]], chunk: Chunk
) -> Float[Tensor, " model"]:
    """In nats, summed over the chunk's scored predictions."""
    residual = model.scored_residual(embedded, chunk.prefixes, chunk.scored_positions)
    if chunk.target_log_probs is None:
        losses, _ = cross_entropy(residual, model.unembedding, chunk.targets.flatten(1))
    else:
        log_probs = model.unembedding(residual).log_softmax(-1)
        losses = _divergence(chunk.target_log_probs.flatten(1, 2), log_probs)
    return (losses.view_as(chunk.targets) * chunk.counted).sum((1, 2))


@torch.no_grad()
def evaluate(model: StackedModel, batch: PackedBatch) -> Evaluation:
    """Loss and accuracy of every model on its part of a batch."""
    n = n_counted(batch.chunks)
    loss, n_right = torch.zeros_like(n), torch.zeros_like(n)
    embedded = model.embed(batch.entries)
    for chunk in batch.chunks:
        residual = model.scored_residual(embedded, chunk.prefixes, chunk.scored_positions)
        if chunk.target_log_probs is None:
            losses, predicted = cross_entropy(residual, model.unembedding, chunk.targets.flatten(1))
            right = predicted == chunk.targets.flatten(1)
        else:
            target, log_probs = chunk.target_log_probs.flatten(1, 2), model.unembedding(residual).log_softmax(-1)
            losses, right = _divergence(target, log_probs), log_probs.argmax(-1) == target.argmax(-1)
        counted = chunk.counted.flatten(1)
        loss += (losses * counted).sum(1)
        n_right += (right & counted).sum(1)
    return Evaluation(loss / n, n_right / n)


def _divergence(
    target: Float[Tensor, "model scored_row d_vocab"], log_probs: Float[Tensor, "model scored_row d_vocab"]
) -> Float[Tensor, "model scored_row"]:
    """KL(target || prediction)."""
    return F.kl_div(log_probs, target, reduction="none", log_target=True).sum(-1)
