"""Loss and accuracy over the scored predictions."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from rtinterp.models.stacked import StackedTransformer
from rtinterp.training.packing import Chunk


def n_counted(chunks: Iterable[Chunk]) -> Float[Tensor, " model"]:
    """Scored predictions of each model, at least 1 so that means of none are 0."""
    return torch.stack([chunk.counted.sum((1, 2)) for chunk in chunks]).sum(0).clamp(min=1).float()


def summed_loss(model: StackedTransformer, chunk: Chunk) -> Float[Tensor, " model"]:
    """Cross-entropy in nats, summed over the chunk's scored predictions."""
    logits = model.scored_logits(chunk.prefixes, chunk.scored_positions)
    losses = F.cross_entropy(logits.flatten(0, 2), chunk.targets.flatten(), reduction="none")
    return (losses.view_as(chunk.targets) * chunk.counted).sum((1, 2))


@torch.no_grad()
def accuracy(model: StackedTransformer, chunks: list[Chunk]) -> Float[Tensor, " model"]:
    """Fraction of scored predictions whose most likely token is right (micro average), in [0, 1]."""
    n_correct = torch.zeros(model.W_E.shape[0], device=model.W_E.device)
    for chunk in chunks:
        predicted = model.scored_logits(chunk.prefixes, chunk.scored_positions).argmax(-1)
        n_correct += ((predicted == chunk.targets) & chunk.counted).sum((1, 2))
    return n_correct / n_counted(chunks)
