"""How much the predictions of a model depend on what it reads: what there is to imitate (paper, figure 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel
INPUTS_PER_PASS = 250
#: Of pairs of inputs.
PERCENTILES = (0.05, 0.95)


class TargetStatistics(NamedTuple):
    """How far the predictions at the last position differ between inputs, in nats.

    Attributes:
        kl_between_inputs: mean KL(prediction of one input || prediction of another), over all ordered pairs of inputs.
        kl_between_inputs_low: the 5th percentile of the same over pairs.
        kl_between_inputs_high: the 95th percentile.
        kl_from_mean: mean KL(prediction || mean prediction): what a student reaches that ignores its input and is
            otherwise as good as can be. At most ``kl_between_inputs``; both are 0 if no input matters.
        entropy: mean entropy of a prediction; ``log(d_vocab)`` if all tokens are equally likely.
    """

    kl_between_inputs: float
    kl_between_inputs_low: float
    kl_between_inputs_high: float
    kl_from_mean: float
    entropy: float


@torch.no_grad()
def target_statistics(model: HookedModel, tokens: Int64[Tensor, "batch pos"]) -> TargetStatistics:
    """Measure whether a target is worth imitating: whether it differs between inputs and is neither flat nor sure.

    Args:
        tokens: inputs, drawn alike and independently of each other.

    Raises:
        ValueError: fewer than two inputs.
    """
    if tokens.ndim != 2 or len(tokens) < 2:
        raise ValueError(f"give at least two inputs as [batch, pos], got shape {list(tokens.shape)}")
    logits = torch.cat([model(rows)[:, -1] for rows in tokens.split(INPUTS_PER_PASS)])
    return _statistics(logits.double().log_softmax(dim=-1))


def _statistics(log_probs: Float64[Tensor, "batch d_vocab"]) -> TargetStatistics:
    probs = log_probs.exp()
    with_itself = (probs * log_probs).sum(-1)
    another = ~torch.eye(len(probs), dtype=torch.bool, device=probs.device)
    of_pairs = (with_itself[:, None] - probs @ log_probs.T)[another]
    low, high = of_pairs.quantile(of_pairs.new_tensor(PERCENTILES)).tolist()
    with_mean = (probs.mean(0) * probs.mean(0).log()).sum()
    return TargetStatistics(
        kl_between_inputs=of_pairs.mean().item(),
        kl_between_inputs_low=low,
        kl_between_inputs_high=high,
        kl_from_mean=(with_itself.mean() - with_mean).item(),
        entropy=-with_itself.mean().item(),
    )
