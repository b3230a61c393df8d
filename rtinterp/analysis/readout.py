"""What can be read linearly from the end of a model: an unembedding fitted anew, the rest as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from rtinterp.analysis.activations import activations_at
from rtinterp.analysis.stitching import with_tensors
from rtinterp.tasks import Batch

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel

#: Sequences in one forward pass; iterations of the fit.
SEQUENCES_PER_PASS, N_ITERATIONS = 256, 100


@torch.enable_grad()
def fitted_readout(
    features: Float[Tensor, "n d_model"], targets: Int64[Tensor, " n"], d_vocab_out: int, ridge: float
) -> tuple[Float[Tensor, "d_model d_vocab_out"], Float[Tensor, " d_vocab_out"]]:
    """Fit weights and biases of logits by logistic regression, from zero (L-BFGS): the optimum is unique for ridge > 0.

    Args:
        ridge: how much half the squared length of the weights costs, against the mean cross-entropy in nats.

    Raises:
        ValueError: a negative ridge, features that are not finite, or not one target in range for each row.
    """
    if ridge < 0 or not features.isfinite().all():
        raise ValueError(f"ridge is {ridge}; pass 0 or more" if ridge < 0 else "some features are not finite")
    if (
        len(features) != len(targets)
        or not len(targets)
        or not 0 <= int(targets.min()) <= int(targets.max()) < d_vocab_out
    ):
        raise ValueError(f"{len(features)} rows of features need as many targets, of 0 to {d_vocab_out - 1}")
    weights = features.new_zeros(features.shape[1], d_vocab_out).requires_grad_()
    biases = features.new_zeros(d_vocab_out).requires_grad_()
    optimiser = torch.optim.LBFGS([weights, biases], max_iter=N_ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = F.cross_entropy(features @ weights + biases, targets) + ridge / 2 * weights.square().sum()
        value.backward()
        return value

    optimiser.step(loss)
    return weights.detach(), biases.detach()


def with_fitted_unembedding(model: HookedModel, batch: Batch, ridge: float = 1e-4) -> HookedModel:
    """Copy a model, with its unembedding fitted anew to the scored predictions of some sequences.

    Args:
        batch: sequences of the training stream.

    Raises:
        ValueError: nothing is scored, or the model has no final layer norm.
    """
    if not batch.scored.any():
        raise ValueError("no position of the batch is scored")
    features = []
    for start in range(0, len(batch), SEQUENCES_PER_PASS):
        part = batch[start : start + SEQUENCES_PER_PASS]
        normalized = activations_at(model, part.tokens, "ln_final.hook_normalized")
        features.append(normalized[part.scored.to(normalized.device)])
    norm: Any = model.ln_final
    read = torch.cat(features) * norm.w.detach()
    read = (read + norm.b.detach() if hasattr(norm, "b") else read) * getattr(norm, "factor", 1.0)
    weights, biases = fitted_readout(read, batch.scored_targets.to(read.device), model.W_U.shape[1], ridge)
    return with_tensors(model, {"unembed.W_U": weights, "unembed.b_U": biases})
