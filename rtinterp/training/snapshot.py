"""What ``train(..., on_evaluation=...)`` shows of one model at one evaluation."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping

from jaxtyping import Float
from torch import Tensor

from rtinterp.training.spec import RunSpec


@dataclasses.dataclass
class Visit:
    """One call of the callback, as the training sees it."""

    read_trained: Callable[[], Mapping[str, Float[Tensor, ...]]]
    asked_to_stop: bool = False
    is_over: bool = False

    def check(self, what: str) -> None:
        if self.is_over:
            raise RuntimeError(f"{what} belongs to an evaluation that is over; use it within the callback")


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """One model of a stack at one evaluation.

    Attributes:
        step: finished optimiser steps.
        metrics: the new row of the run's history by column, without the step.
    """

    spec: RunSpec
    step: int
    metrics: Mapping[str, float]
    _visit: Visit = dataclasses.field(repr=False, compare=False)

    @functools.cached_property
    def trained(self) -> Mapping[str, Float[Tensor, ...]]:
        """A copy of the trained tensors by name, on the CPU; made when it is first asked for.

        Raises:
            RuntimeError: it is first asked for after the callback has returned, when training has gone on.
        """
        self._visit.check("trained")
        return self._visit.read_trained()

    def stop(self) -> None:
        """End this run here; the others of its stack go on. After the last step it has no effect.

        Raises:
            RuntimeError: the callback has returned.
        """
        self._visit.check("stop()")
        self._visit.asked_to_stop = True


OnEvaluation = Callable[[Snapshot], object]
