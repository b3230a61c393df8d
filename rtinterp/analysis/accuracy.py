"""How often a model is right: the measure of an ablation or a patch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from rtinterp.tasks import Batch

#: A HookedTransformer, a HookedRecurrent, or anything else that makes logits of tokens.
Model: TypeAlias = Callable[[Int64[Tensor, "batch pos"]], Float[Tensor, "batch pos d_vocab"]]


@torch.no_grad()
def accuracy(model: Model, batch: Batch) -> float:
    """Measure the fraction of scored predictions whose most likely token is right (micro average), in [0, 1].

    The model runs with the hooks it has, so ``with model.hooks(...): accuracy(model, batch)`` measures an intervention.
    A model from ``build_model`` or a run may be on another device than the batch.

    Raises:
        ValueError: the batch scores nothing, or its targets are not tokens.
    """
    right, scored = _right(model, batch)
    return right[scored].double().mean().item()


@torch.no_grad()
def exact_match(model: Model, batch: Batch) -> float:
    """Measure the fraction of sequences all of whose scored predictions are right, in [0, 1].

    It is at most the accuracy where all sequences have as many scored predictions, and equal where they have one.
    Sequences without any are left out. Every prediction sees the right tokens before it, as in training.

    Raises:
        ValueError: the batch scores nothing, or its targets are not tokens.
    """
    right, scored = _right(model, batch)
    return (right | ~scored).all(dim=1)[scored.any(dim=1)].double().mean().item()


def _right(model: Model, batch: Batch) -> tuple[Bool[Tensor, "batch pos"], Bool[Tensor, "batch pos"]]:
    """Which predictions are right, and which are scored, up to the last scored position."""
    if not batch.scored.any():
        raise ValueError("no position of the batch is scored; a task's sample() and test_set() score at least one")
    # Nothing after the last scored position is read.
    n_pos = int(batch.scored.any(dim=0).nonzero().max()) + 1
    expected = batch.expected(n_pos)
    if expected.is_floating_point():
        raise ValueError("the targets of the batch are numbers, of which none can be the most likely token")
    predicted = model(batch.tokens[:, :n_pos]).argmax(dim=-1).to(batch.tokens.device)
    return predicted == expected, batch.scored[:, :n_pos]
