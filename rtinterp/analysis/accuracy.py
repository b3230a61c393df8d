"""How often a model is right: the measure of an ablation or a patch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from rtinterp.tasks import Batch

if TYPE_CHECKING:
    from transformer_lens import HookedTransformer


@torch.no_grad()
def accuracy(model: HookedTransformer, batch: Batch) -> float:
    """Fraction of scored predictions whose most likely token is right (micro average), in [0, 1].

    Runs the model with the hooks it has, so ``with model.hooks(...): accuracy(model, batch)`` measures an intervention.

    Raises:
        ValueError: the batch scores nothing.
    """
    if not batch.scored.any():
        raise ValueError("no position of the batch is scored; a task's sample() and test_set() score at least one")
    # The last scored position is followed by its target; nothing after that is read.
    n_pos = int(batch.scored.any(dim=0).nonzero().max()) + 1
    predicted = model(batch.tokens[:, :n_pos]).argmax(dim=-1)
    scored = batch.scored[:, :n_pos]
    return (predicted[scored] == batch.tokens[:, 1 : n_pos + 1][scored]).double().mean().item()
