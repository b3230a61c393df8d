"""AdamW over stacked parameters: the official code's schedule, clipping and decay, each model for itself."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from rtinterp.training.spec import TrainSpec

#: torch.nn.utils.clip_grad_norm_ divides by the norm plus this.
CLIP_EPS = 1e-6
#: By torch's names: steps taken, first and second moment.
MOMENTS = ("step", "exp_avg", "exp_avg_sq")


def adamw(
    parameters: Mapping[str, Float[Tensor, "model ..."]], decayed: Iterable[str], training: TrainSpec
) -> torch.optim.AdamW:
    """AdamW; elementwise, hence exactly M optimisers on M stacked models."""
    decayed = frozenset(decayed)
    groups = [
        {"params": [p for name, p in parameters.items() if name in decayed], "weight_decay": training.weight_decay},
        {"params": [p for name, p in parameters.items() if name not in decayed], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=training.learning_rate,
        betas=(training.adam_beta1, training.adam_beta2),
        eps=training.adam_eps,
        fused=True,
    )


def moments(
    optimiser: torch.optim.AdamW, parameters: Mapping[str, Float[Tensor, "model ..."]]
) -> dict[str, Float[Tensor, ...]]:
    """All that the optimiser remembers, as ``MOMENT/NAME``; nothing of a parameter that has had no gradient."""
    return {
        f"{moment}/{name}": optimiser.state[parameter][moment]
        for name, parameter in parameters.items()
        if optimiser.state[parameter]
        for moment in MOMENTS
    }


def restore_moments(
    optimiser: torch.optim.AdamW,
    parameters: Mapping[str, Float[Tensor, "model ..."]],
    remembered: Mapping[str, Float[Tensor, ...]],
) -> None:
    """The inverse of ``moments``.

    Raises:
        ValueError: a moment is missing or of the wrong shape.
    """
    for name, parameter in parameters.items():
        there = {moment: remembered[key] for moment in MOMENTS if (key := f"{moment}/{name}") in remembered}
        if not there:
            continue
        shapes = {moment: () if moment == "step" else tuple(parameter.shape) for moment in MOMENTS}
        if {moment: tuple(tensor.shape) for moment, tensor in there.items()} != shapes:
            raise ValueError(f"the optimiser's moments of {name} are incomplete or of the wrong shape")
        optimiser.state[parameter] = {
            moment: tensor.to(parameter.device, torch.float32, copy=True) for moment, tensor in there.items()
        }


def learning_rate(step: int, training: TrainSpec) -> float:
    """Rate of the step after ``step`` finished ones: linear from 0 over the warmup, then half a cosine to 0.

    So it goes before a release, and again from there on.
    """
    start, end, highest = training.release_at, training.n_steps, training.learning_rate
    if step < training.release_at and training.rate_before_release is not None:
        start, end, highest = 0, training.release_at, training.rate_before_release
    n_done, n_warmup = step - start, training.n_warmup_steps
    if n_done < n_warmup:
        return highest * n_done / n_warmup
    progress = (n_done - n_warmup) / max(1, end - start - n_warmup)
    return highest * 0.5 * (1 + math.cos(math.pi * progress))


def clip_gradients(parameters: Iterable[Float[Tensor, "model ..."]], max_norm: float) -> Float[Tensor, " model"]:
    """Scale each model's gradients down to ``max_norm``, in place; returns the norms before."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norms = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients]).norm(dim=0)
    scale = (max_norm / (norms + CLIP_EPS)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(scale.view(-1, *(1,) * (gradient.dim() - 1)))
    return norms
