"""What training runs will cost."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable

from rtinterp.training.flops import step_flops
from rtinterp.training.spec import RunSpec

#: Of the matrix products' peak, what a training step reaches; for estimates.
ASSUMED_SHARE_OF_PEAK = 0.5


@dataclasses.dataclass(frozen=True)
class Cost:
    """What some runs cost.

    Attributes:
        n_runs: runs not yet trained.
        flops: floating-point operations that their training needs.
        seconds: estimate on the device, at ``ASSUMED_SHARE_OF_PEAK``.
    """

    n_runs: int
    flops: float
    seconds: float


def cost(specs: Iterable[RunSpec], flops_per_second: float) -> Cost:
    """Estimate of training runs, from the cost of a step of each kind.

    Raises:
        ValueError: a language model's corpus is not open.
    """
    specs = list(specs)
    flops = sum(spec.training.n_steps * _step_flops(spec.with_seed(0)) for spec in specs)
    return Cost(len(specs), flops, flops / (ASSUMED_SHARE_OF_PEAK * flops_per_second))


@functools.cache
def _step_flops(spec: RunSpec) -> float:
    return step_flops(spec)
