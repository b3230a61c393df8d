"""Loss and metrics over the scored predictions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from rtinterp.models.stacked import StackedModel
from rtinterp.training.losses import METRICS, Loss
from rtinterp.training.packing import Chunk, PackedBatch


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Every model's means over the scored predictions of a batch.

    Attributes:
        loss: that of the task, in nats, or in squared units of the targets.
        metrics: those of the task by name; the accuracy is the share that are right, in [0, 1].
    """

    loss: Float[Tensor, " model"]
    metrics: Mapping[str, Float[Tensor, " model"]]


def n_counted(chunks: Iterable[Chunk]) -> Float[Tensor, " model"]:
    """Scored predictions of each model, at least 1 so that means of none are 0."""
    return torch.stack([chunk.counted.sum((1, 2)) for chunk in chunks]).sum(0).clamp(min=1).float()


def summed_loss(
    model: StackedModel, embedded: list[Float[Tensor, "model entry columns"]], chunk: Chunk, loss: Loss
) -> Float[Tensor, " model"]:
    """The loss, summed over the chunk's scored predictions."""
    residual = model.scored_residual(embedded, chunk.prefixes, chunk.scored_positions)
    losses = loss.losses(residual, model.unembedding, chunk.targets.flatten(1, 2))
    return (losses.view_as(chunk.counted) * chunk.counted).sum((1, 2))


@torch.no_grad()
def evaluate(model: StackedModel, batch: PackedBatch, loss: Loss, metrics: Sequence[str]) -> Evaluation:
    """Loss and metrics of every model on its part of a batch."""
    n = n_counted(batch.chunks)
    summed, values = torch.zeros_like(n), {metric: torch.zeros_like(n) for metric in metrics}
    embedded = model.embed(batch.entries)
    for chunk in batch.chunks:
        residual = model.scored_residual(embedded, chunk.prefixes, chunk.scored_positions)
        judged = loss.judge(residual, model.unembedding, chunk.targets.flatten(1, 2))
        counted = chunk.counted.flatten(1)
        summed += (judged.losses * counted).sum(1)
        for metric, value in values.items():
            value += (METRICS[metric](judged) * counted).sum(1)
    return Evaluation(summed / n, {metric: value / n for metric, value in values.items()})
