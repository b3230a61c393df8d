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
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from rtinterp.tasks import ModularAddition, draws

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel
N_TRIPLES = 100
"""Triples (a, b, c) in the papers' gradient symmetricity."""

PAIRS_PER_PASS = 256
"""Pairs in one forward pass: about 0.2 GB of activations and gradients at width 1024 with two layers."""


def gradient_symmetricity(
    model: HookedModel, task: ModularAddition, generator: torch.Generator, n_triples: int = N_TRIPLES
) -> float:
    """Measure how alike a logit feels both numbers: mean of cos(dQ_abc / dE_a, dQ_abc / dE_b), in [-1, 1].

    Q_abc is the logit of residue c, right or wrong, after ``a b``; E_a and E_b are the token embeddings at positions 0
    and 1, before the positional ones are added, and count as two variables even where a = b. Exactly 1 if the model
    reads nothing but E_a + E_b, or another positive mixture. A logit that ignores one of the numbers counts 0.

    Args:
        generator: draws ``n_triples`` triples (a, b, c), independent and uniform; the global generator is not touched.

    Raises:
        ValueError: n_triples below 1; a model of another vocabulary than the task's.
    """
    if n_triples < 1:
        raise ValueError(f"n_triples is {n_triples}; pass at least 1")
    _check_vocabulary(model, task)
    triples = draws.uniform(0, task.p - 1, (n_triples, 3), generator).to(model.W_E.device)
    return torch.cat([_gradient_cosines(model, chunk) for chunk in triples.split(PAIRS_PER_PASS)]).mean().item()


@torch.no_grad()
def correct_logits(model: HookedModel, task: ModularAddition) -> Float[Tensor, "a b"]:
    """Compute the logit, not normalised, of (a + b) mod p after ``a b``, for all p^2 pairs, trained on or not.

    The model runs with the hooks it has, ``PAIRS_PER_PASS`` pairs at a time.

    Raises:
        ValueError: a model of another vocabulary than the task's.
    """
    _check_vocabulary(model, task)
    chunks = task.pairs.to(model.W_E.device).split(PAIRS_PER_PASS)
    sums = [model(pairs)[:, -1].gather(1, pairs.sum(dim=1, keepdim=True) % task.p) for pairs in chunks]
    return torch.cat(sums).view(task.p, task.p)


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
    by_distance = logits[a, (a - a[:, None]) % len(a)]  # [distance a]
    return (by_distance.std(dim=1, correction=0).mean() / logits.std(correction=0)).item()


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
