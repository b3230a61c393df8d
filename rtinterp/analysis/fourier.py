"""Which frequencies a model adds modulo p with: restricted and excluded loss, over all p^2 pairs.

The logits of all pairs are a function of a, b and the residue c that is predicted. What a model that adds knows is a
function of a + b alone, and such a function is a sum of waves cos(2 pi k (a + b) / p) and sin(2 pi k (a + b) / p), one
pair for each frequency k of 1 .. p // 2, around a constant. They are some of the terms of the Fourier transform of the
logits in a and b (Nanda et al. 2023, arXiv 2301.05217):

- *restricted* logits keep the constant and the waves of some frequencies; if the loss stays, those are enough;
- *excluded* logits keep all but these waves; if the loss rises to that of guessing, nothing else knows the sum.

The control is as many of the other frequencies. A model that knows the sum through frequency 1 alone, p = 5:

>>> a, b, c = torch.meshgrid(*[torch.arange(5)] * 3, indexing="ij")
>>> logits = 9 * torch.cos(2 * torch.pi * (a + b - c) / 5)
>>> sum_frequency_power(logits).round(decimals=3)
tensor([1., 0.], dtype=torch.float64)
>>> torch.allclose(restricted_logits(logits, [1]), logits.double(), atol=1e-5)
True
>>> round(excluded_logits(logits, [1]).abs().max().item(), 3)
0.0
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from rtinterp.tasks import ModularAddition

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel

#: Pairs in one forward pass.
PAIRS_PER_PASS = 1024


@torch.no_grad()
def logits_of_all_pairs(model: HookedModel, task: ModularAddition) -> Float[Tensor, "a b c"]:
    """Compute the logits of every residue after every pair ``a b``, on the CPU, with the hooks that the model has.

    Raises:
        ValueError: a model of another vocabulary than the task's.
    """
    if (model.cfg.d_vocab, model.cfg.d_vocab_out) != (task.p, task.p):
        raise ValueError(
            f"the model reads {model.cfg.d_vocab} tokens and predicts {model.cfg.d_vocab_out}, the task has "
            f"p = {task.p}; pass the task that the model was trained on"
        )
    chunks = task.pairs.to(model.W_E.device).split(PAIRS_PER_PASS)
    return torch.cat([model(pairs)[:, -1].cpu() for pairs in chunks]).view(task.p, task.p, task.p)


def sum_frequency_power(logits: Float[Tensor, "a b c"]) -> Float64[Tensor, " frequency"]:
    """Measure the share of the logits' variance over pairs that each frequency of a + b has, from frequency 1 on.

    They add up to at most 1; the rest depends on a and b in other ways. For even p the last one is p / 2.

    Raises:
        ValueError: logits of another shape, not finite, or that are the same for all pairs.
    """
    _check(logits)
    variation = logits.double() - logits.double().mean((0, 1))
    total = variation.square().sum()
    if total == 0:
        raise ValueError("the logits are the same for all pairs; without variance there is no share of it")
    return torch.stack(
        [len(logits) * _wave(_by_sum(variation), [k]).square().sum() / total for k in _frequencies(len(logits))]
    )


def key_frequencies(logits: Float[Tensor, "a b c"], n: int) -> list[int]:
    """Find the ``n`` frequencies of a + b with most of the variance, the largest share first.

    Raises:
        ValueError: as ``sum_frequency_power``; or n is not in 1 .. p / 2.
    """
    power = sum_frequency_power(logits)
    if not 1 <= n <= len(power):
        raise ValueError(f"n is {n}; p = {len(logits)} has the frequencies 1 to {len(power)}")
    return [int(index) + 1 for index in power.argsort(descending=True)[:n]]


def restricted_logits(logits: Float[Tensor, "a b c"], frequencies: Sequence[int]) -> Float64[Tensor, "a b c"]:
    """Keep of the logits their mean over pairs, and the waves of some frequencies of a + b.

    Raises:
        ValueError: logits of another shape or not finite, or a frequency that p does not have.
    """
    _check(logits, frequencies)
    of_sums = _by_sum(logits.double())
    return _of_pairs(of_sums.mean(0) + _wave(of_sums, frequencies))


def excluded_logits(logits: Float[Tensor, "a b c"], frequencies: Sequence[int]) -> Float64[Tensor, "a b c"]:
    """Take the waves of some frequencies of a + b out of the logits, and keep all else.

    Raises:
        ValueError: as ``restricted_logits``.
    """
    _check(logits, frequencies)
    return logits.double() - _of_pairs(_wave(_by_sum(logits.double()), frequencies))


def pair_loss(logits: Float[Tensor, "a b c"], pairs: Bool[Tensor, "a b"] | None = None) -> float:
    """Compute the mean cross-entropy of a + b mod p, in nats, over some pairs or all of them; guessing has log(p).

    Raises:
        ValueError: logits of another shape or not finite, or no pair.
    """
    _check(logits)
    p = len(logits)
    sums = (torch.arange(p)[:, None] + torch.arange(p)) % p
    chosen = torch.ones(p, p, dtype=torch.bool) if pairs is None else pairs
    if not chosen.any():
        raise ValueError("no pair is chosen; pass at least one")
    return F.cross_entropy(logits.double()[chosen], sums[chosen]).item()


def frequency_loss_table(
    logits: Float[Tensor, "a b c"],
    frequencies: Sequence[int],
    generator: torch.Generator,
    n_controls: int = 20,
    pairs: Bool[Tensor, "a b"] | None = None,
) -> pl.DataFrame:
    """Measure the loss with only, and without, some frequencies, and with as many others drawn at random.

    Args:
        frequencies: the key frequencies, such as ``key_frequencies(logits, 5)``.
        generator: draws the controls.
        n_controls: draws of other frequencies.
        pairs: the pairs to score, such as those of the test set; all if not given.

    Returns:
        a row for every kind of logits with columns ``logits`` ("all", "restricted", "excluded"), ``frequencies``
        ("none", "key" or "control"), ``draw`` (0 but for controls) and ``loss`` in nats.

    Raises:
        ValueError: as ``restricted_logits``; or too few other frequencies.
    """
    _check(logits, frequencies)
    others = [k for k in _frequencies(len(logits)) if k not in set(frequencies)]
    if len(others) < len(frequencies):
        raise ValueError(f"{len(frequencies)} key frequencies leave {len(others)} others as controls; pass fewer")
    rows: list[tuple[str, str, int, float]] = [("all", "none", 0, pair_loss(logits, pairs))]
    draws = [("key", 0, list(frequencies))]
    for draw in range(n_controls):
        order = torch.randperm(len(others), generator=generator)[: len(frequencies)]
        draws.append(("control", draw, [others[index] for index in order]))
    for name, draw, chosen in draws:
        rows.append(("restricted", name, draw, pair_loss(restricted_logits(logits, chosen), pairs)))
        rows.append(("excluded", name, draw, pair_loss(excluded_logits(logits, chosen), pairs)))
    return pl.DataFrame(rows, schema=["logits", "frequencies", "draw", "loss"], orient="row")


def _by_sum(logits: Float64[Tensor, "a b c"]) -> Float64[Tensor, "sum c"]:
    """The mean over all pairs of the same sum: the part of the logits that is a function of a + b."""
    a = torch.arange(len(logits))
    return torch.stack([logits[a, (total - a) % len(logits)].mean(0) for total in range(len(logits))])


def _of_pairs(of_sums: Float64[Tensor, "sum c"]) -> Float64[Tensor, "a b c"]:
    residues = torch.arange(len(of_sums))
    return of_sums[(residues[:, None] + residues) % len(of_sums)]


def _wave(of_sums: Float64[Tensor, "sum c"], frequencies: Sequence[int]) -> Float64[Tensor, "sum c"]:
    """The waves of some frequencies in a function of the sum."""
    spectrum = torch.fft.rfft(of_sums, dim=0)
    kept = torch.zeros_like(spectrum)
    kept[list(frequencies)] = spectrum[list(frequencies)]
    return torch.fft.irfft(kept, n=len(of_sums), dim=0)


def _frequencies(p: int) -> range:
    return range(1, p // 2 + 1)


def _check(logits: Tensor, frequencies: Sequence[int] = ()) -> None:
    if logits.ndim != 3 or len(set(logits.shape)) != 1:
        raise ValueError(f"logits have shape {list(logits.shape)}; pass [a b c] of all p^2 pairs and p residues")
    if not math.isfinite(logits.sum().item()):
        raise ValueError("the logits are not finite; look for a diverged run")
    wrong = set(frequencies).difference(_frequencies(len(logits)))
    if wrong:
        raise ValueError(f"frequencies {sorted(wrong)}: p = {len(logits)} has 1 to {len(logits) // 2}")
