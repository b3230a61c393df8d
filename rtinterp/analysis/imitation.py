"""How much the predictions of a model depend on what it reads: what there is to imitate (paper, figure 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel
INPUTS_PER_PASS = 250


class TargetStatistics(NamedTuple):
    """How far the predictions at the last position differ between inputs, in nats.

    Attributes:
        kl_between_inputs: mean KL(prediction of one input || prediction of another), over all ordered pairs of inputs.
        kl_from_mean: mean KL(prediction || mean prediction): what a student reaches that ignores its input and is
            otherwise as good as can be. At most ``kl_between_inputs``; both are 0 if no input matters.
        entropy: mean entropy of a prediction; ``log(d_vocab)`` if all tokens are equally likely.
    """

    kl_between_inputs: float
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
    n, probs = len(log_probs), log_probs.exp()
    with_itself = (probs * log_probs).sum(-1).mean()
    # The mean over all pairs is a product of means; each input's pair with itself comes off.
    with_any = (probs.mean(0) * log_probs.mean(0)).sum()
    with_another = (n * with_any - with_itself) / (n - 1)
    with_mean = (probs.mean(0) * probs.mean(0).log()).sum()
    return TargetStatistics(
        kl_between_inputs=(with_itself - with_another).item(),
        kl_from_mean=(with_itself - with_mean).item(),
        entropy=-with_itself.item(),
    )
