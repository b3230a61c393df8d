"""Clock or pizza: how a model of modular addition combines its two numbers.

Two measures of Zhong, Liu, Tegmark and Andreas, "The Clock and the Pizza" (arXiv 2306.17844, section 4), which
"Algorithmic Capabilities of Random Transformers" (the paper) applies too. A *clock* multiplies the two embeddings; a
*pizza* adds them first, so that its logits fade where the numbers are nearly opposite on its circle. Published:

=====================  =======================  ===================  ==================
measure                clock (their model B)    pizza (model A)      random transformer
=====================  =======================  ===================  ==================
gradient symmetricity  0.33                     0.99                 0.88
distance irrelevance   0.85                     0.17                 0.88
=====================  =======================  ===================  ==================

By this reference the printed 0.88 of symmetricity is nearly a pizza's, and contradicts the conclusion of the paper that
prints it, which is a clock. Our random transformers are clocks by both measures (figure 3): the conclusion is
reproduced, the number is not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from rtinterp.tasks import ModularAddition, draws

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel
N_TRIPLES = 100
"""Triples (a, b, c) in the papers' gradient symmetricity. So few leave it uncertain by about 0.04 at width 1024."""

N_RESAMPLES = 1000
CONFIDENCE = 0.95

PAIRS_PER_PASS = 256
"""Pairs in one forward pass: about 0.2 GB of activations and gradients at width 1024 with two layers."""


class Estimate(NamedTuple):
    """A measure of a sample, and the ends of its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


def gradient_symmetricity(
    model: HookedModel, task: ModularAddition, generator: torch.Generator, n_triples: int = N_TRIPLES
) -> float:
    """Measure how alike a logit feels both numbers: the mean of ``gradient_cosines``, in [-1, 1].

    Exactly 1 if the model reads nothing but E_a + E_b, or another positive mixture.

    Raises:
        ValueError: as ``gradient_cosines``.
    """
    return gradient_cosines(model, task, generator, n_triples).mean().item()


def gradient_cosines(
    model: HookedModel, task: ModularAddition, generator: torch.Generator, n_triples: int = N_TRIPLES
) -> Float64[Tensor, " triple"]:
    """Compute cos(dQ_abc / dE_a, dQ_abc / dE_b) of triples (a, b, c), each in [-1, 1].

    Q_abc is the logit of residue c, right or wrong, after ``a b``; E_a and E_b are the token embeddings at positions 0
    and 1, before the positional ones are added, and count as two variables even where a = b. A logit that ignores one
    of the numbers counts 0.

    Args:
        generator: draws ``n_triples`` triples, independent and uniform; the global generator is not touched.

    Raises:
        ValueError: n_triples below 1; a model of another vocabulary than the task's.
    """
    if n_triples < 1:
        raise ValueError(f"n_triples is {n_triples}; pass at least 1")
    _check_vocabulary(model, task)
    triples = draws.uniform(0, task.p - 1, (n_triples, 3), generator).to(model.W_E.device)
    return torch.cat([_gradient_cosines(model, chunk) for chunk in triples.split(PAIRS_PER_PASS)])


@torch.no_grad()
def correct_logits(model: HookedModel, task: ModularAddition) -> Float[Tensor, "a b"]:
    """Compute the logit, not normalised, of (a + b) mod p after ``a b``, for all p^2 pairs, trained on or not.

    The model runs with the hooks it has, ``PAIRS_PER_PASS`` pairs at a time.

    Raises:
        ValueError: a model of another vocabulary than the task's.
    """
    _check_vocabulary(model, task)
    return _logits_of_sums(model, task, task.pairs).view(task.p, task.p)


@torch.no_grad()
def correct_logits_at(
    model: HookedModel, task: ModularAddition, distances: Int64[Tensor, " distance"]
) -> Float[Tensor, "distance a"]:
    """Compute the same logits for the pairs a, (a - d) mod p of some distances d only, which a wide model is slow at.

    Raises:
        ValueError: a model of another vocabulary than the task's.
    """
    _check_vocabulary(model, task)
    a = torch.arange(task.p).expand(len(distances), -1)
    pairs = torch.stack([a, (a - distances[:, None]) % task.p], dim=-1)
    return _logits_of_sums(model, task, pairs.flatten(0, 1)).view(len(distances), task.p)


def distance_irrelevance(correct_logits: Float[Tensor, "a b"]) -> float:
    """Measure how little the logit of the right sum depends on the distance a - b, in [0, 1].

    q = (1/p) sum_d std_a(L[a, a - d]) / std_ab(L[a, b]), with indices mod p and standard deviations of whole
    populations: the spread left when the distance d is held fixed, as a share of the spread over all pairs. 0 if L is a
    function of a - b alone (pizza), 1 if all distances have the same mean and the same spread (clock). For odd p, a
    function of a + b with variance V plus one of a - b with variance W gives sqrt(V / (V + W)).

    Args:
        correct_logits: L, from the function of that name.

    Raises:
        ValueError: a table that is not square, not finite or constant.
    """
    if correct_logits.ndim != 2 or correct_logits.shape[0] != correct_logits.shape[1]:
        raise ValueError(f"correct_logits has shape {tuple(correct_logits.shape)}; pass [a b], all p^2 pairs")
    logits = correct_logits.detach().to("cpu", torch.float64)
    if not logits.isfinite().all():
        raise ValueError(f"{int((~logits.isfinite()).sum())} logits are not finite; look for a diverged run")
    if (logits == logits[0, 0]).all():
        raise ValueError(f"all logits equal {logits[0, 0]:g}; without spread there is no share of it")
    a = torch.arange(len(logits))
    return irrelevance_of(logits[a, (a - a[:, None]) % len(a)]).item()


def irrelevance_of(by_distance: Float[Tensor, "*sample distance a"]) -> Float[Tensor, "*sample"]:
    """Compute distance irrelevance from the correct logits of all distances, or estimate it from those of some."""
    spread_within = by_distance.std(dim=-1, correction=0).mean(-1)
    return spread_within / by_distance.flatten(-2).std(dim=-1, correction=0)


def bootstrap(
    units: Float[Tensor, "unit ..."],
    measure: Callable[[Float[Tensor, "unit ..."]], Float[Tensor, ""]],
    generator: torch.Generator,
) -> Estimate:
    """Measure a sample of units, such as triples or distances, and how far other samples would lie from it.

    The interval is between quantiles of the measure over ``N_RESAMPLES`` samples of as many units, drawn from these
    with replacement by a CPU generator.
    """
    units = units.to("cpu", torch.float64)
    resamples = torch.randint(len(units), (N_RESAMPLES, len(units)), generator=generator)
    measured = torch.stack([measure(units[chosen]) for chosen in resamples])
    tail = (1 - CONFIDENCE) / 2
    low, high = measured.quantile(torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return Estimate(measure(units).item(), low, high)


def _logits_of_sums(
    model: HookedModel, task: ModularAddition, pairs: Int64[Tensor, "pair 2"]
) -> Float[Tensor, " pair"]:
    chunks = pairs.to(model.W_E.device).split(PAIRS_PER_PASS)
    return torch.cat([model(pair)[:, -1].gather(1, pair.sum(dim=1, keepdim=True) % task.p)[:, 0] for pair in chunks])


# Callers of TransformerLens often switch gradients off for the whole process.
@torch.enable_grad()
def _gradient_cosines(model: HookedModel, triples: Int64[Tensor, "triple 3"]) -> Float64[Tensor, " triple"]:
    embeddings = []

    def make_leaf(embedding: Tensor, hook: object) -> Tensor:
        embeddings.append(embedding.detach().requires_grad_())
        return embeddings[0]

    with model.hooks(fwd_hooks=[("hook_embed", make_leaf)]):
        logits = model(triples[:, :2])[:, -1]
    # A triple's logit depends on its own embeddings only, so the gradient of the sum holds that of each.
    (gradients,) = torch.autograd.grad(logits.gather(1, triples[:, 2:]).sum(), embeddings)
    first, second = gradients.to("cpu", torch.float64).unbind(dim=1)
    return torch.cosine_similarity(first, second, dim=-1, eps=torch.finfo(torch.float64).tiny)


def _check_vocabulary(model: HookedModel, task: ModularAddition) -> None:
    sizes = (model.cfg.d_vocab, model.cfg.d_vocab_out)
    if sizes != (task.d_vocab, task.d_vocab):
        raise ValueError(
            f"the model reads {sizes[0]} tokens and predicts {sizes[1]}, the task has p = {task.p}; "
            "pass the task that the model was trained on"
        )
