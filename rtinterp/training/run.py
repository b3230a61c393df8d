"""A finished run: what was trained, how it went, and the model that comes of it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING

import polars as pl
from jaxtyping import Float
from torch import Tensor

from rtinterp.cards import card, code, curve, facts, percent, text
from rtinterp.models.build import hooked_model
from rtinterp.models.initialisation import initialise
from rtinterp.training.environment import Environment
from rtinterp.training.history import test_column
from rtinterp.training.source import source_of
from rtinterp.training.spec import RunSpec

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel


@dataclasses.dataclass(frozen=True)
class Run:
    """One trained model. A random transformer is its seed plus its embeddings, so only those are held.

    Attributes:
        trained: final value of every trained tensor, by TransformerLens name, on the CPU; leaves where the spec has a
            parametrisation.
        history: one row per evaluation: ``step`` (finished optimiser steps), ``train_loss`` (mean since the row before)
            and ``test_loss``, in nats or squared units of the targets, and ``test_METRIC`` for each metric of the task,
            such as ``test_accuracy`` (in [0, 1]).
        fingerprint: hash of the frozen tensors.
        environment: what it ran on, and for how long.
        stopped_at_step: the step at which it was stopped, or as of which it is looked at; None for a finished run.
        kept: the trained tensors at the kept steps, by step, the earliest first.
    """

    spec: RunSpec
    trained: Mapping[str, Float[Tensor, ...]]
    history: pl.DataFrame
    fingerprint: str
    environment: Environment
    stopped_at_step: int | None = None
    kept: Mapping[int, Mapping[str, Float[Tensor, ...]]] = dataclasses.field(default_factory=dict)

    @property
    def run_id(self) -> str:
        """The id of the spec; of a run that was stopped, it says where."""
        return stopped_run_id(self.spec, self.stopped_at_step)

    @property
    def last_step(self) -> int:
        """Optimiser steps that made this run's tensors."""
        return self.spec.training.n_steps if self.stopped_at_step is None else self.stopped_at_step

    @property
    def kept_steps(self) -> tuple[int, ...]:
        """Steps of which ``at`` gives the run."""
        return tuple(self.kept)

    def at(self, step: int) -> Run:
        """The run as it stood after ``step`` steps, with the history up to there.

        Raises:
            ValueError: the trained tensors of that step were not kept.
        """
        if step == self.last_step:
            return self
        if step not in self.kept:
            kept = ", ".join(map(str, self.kept)) or "none; TrainSpec(kept_steps=...) keeps some while a run trains"
            raise ValueError(f"{self.run_id} did not keep step {step}; kept steps: {kept}")
        return dataclasses.replace(
            self,
            trained=self.kept[step],
            history=self.history.filter(pl.col("step") <= step),
            stopped_at_step=step,
            kept={earlier: tensors for earlier, tensors in self.kept.items() if earlier <= step},
        )

    @property
    def test_accuracy(self) -> float | None:
        """Fraction of scored test predictions that are right after the last step, in [0, 1].

        None where the task has no accuracy.
        """
        return self.test_metric("accuracy") if "accuracy" in self.spec.task.metrics else None

    @property
    def test_loss(self) -> float:
        """Mean loss of the scored test predictions after the last step, in nats or squared units of the targets."""
        return self._measured("test_loss")

    def test_metric(self, name: str) -> float:
        """A metric of the task, averaged over the scored test predictions after the last step.

        Raises:
            ValueError: the task has no metric of that name, or the run was not evaluated at its last step.
        """
        metrics = self.spec.task.metrics
        if name not in metrics:
            raise ValueError(f"{self.run_id} has no metric {name!r}; metrics: {', '.join(metrics) or 'none'}")
        return self._measured(test_column(name))

    @property
    def is_evaluated(self) -> bool:
        """Whether the history reaches the last step, which a kept step between two evaluations does not."""
        return len(self.history) > 0 and self.history["step"][-1] == self.last_step

    def _measured(self, column: str) -> float:
        if not self.is_evaluated:
            raise ValueError(f"{self.run_id} was not evaluated at step {self.last_step}; measure run.model instead")
        return self.history[column][-1]

    @functools.cached_property
    def model(self) -> HookedModel:
        """The trained model with hook points, built at first use; ``build_model`` says of which class."""
        return hooked_model(self.spec.task, self.spec.model, self.tensors())

    @functools.cached_property
    def initial_model(self) -> HookedModel:
        """The same model before training, built at first use."""
        initial = self.spec.model_tensors(initialise(self.spec.parameters(), self.spec.seed))
        return hooked_model(self.spec.task, self.spec.model, initial)

    def tensors(self) -> dict[str, Float[Tensor, ...]]:
        """Every parameter of the trained model: the frozen ones from the seed, the trained ones as they ended."""
        frozen = (parameter for parameter in self.spec.parameters() if parameter.name not in self.trained)
        return dict(self.spec.model_tensors({**initialise(frozen, self.spec.seed), **self.trained}))

    def __repr__(self) -> str:
        if not self.is_evaluated:
            return f"Run({self.run_id})"
        accuracy = self.test_accuracy
        tested = f"test_loss={self.test_loss:.4g}" if accuracy is None else f"test_accuracy={accuracy:.4f}"
        return f"Run({self.run_id}, {tested})"

    def _repr_html_(self) -> str:
        """The run as a card: how it ended beside what needs no understanding, its curve, and what makes it again."""
        task = self.spec.task
        try:
            floors = task.floors() if "accuracy" in task.metrics else {}
        except ValueError:  # such as a corpus that is not open
            floors = {}
        device, seconds = self.environment.device, self.environment.duration_seconds
        took = f"{self.last_step:,} of {self.spec.training.n_steps:,} steps in {seconds:,.0f} s on {device}"
        compared = {f"without understanding: {name}": percent(share) for name, share in floors.items()}
        remake = f"train({source_of(self.spec)}, device={self.environment.device_type!r})"
        return card(self.run_id, text(took), facts(self._measured_last() | compared), self._curve(floors), code(remake))

    def _measured_last(self) -> dict[str, str]:
        if not self.is_evaluated:
            return {}
        last = self.history.drop("step").row(-1, named=True)
        return {
            name.replace("_", " "): percent(value) if name == test_column("accuracy") else f"{value:.4g}"
            for name, value in last.items()
        }

    def _curve(self, floors: Mapping[str, float]) -> str:
        """Of the accuracy, with the best floor as a dashed line, or else of the loss."""
        steps, best = self.history["step"].to_list(), max(floors.values(), default=None)
        if "accuracy" in self.spec.task.metrics:
            return curve(steps, self.history[test_column("accuracy")].to_list(), 0, 1, "test accuracy", best)
        losses = self.history["test_loss"].to_list()
        return curve(steps, losses, min(losses), max(losses), "test loss") if losses else ""


def stopped_run_id(spec: RunSpec, stopped_at_step: int | None) -> str:
    """The id of a run of a spec; None for one that is finished."""
    return spec.run_id if stopped_at_step is None else f"{spec.run_id}-stopped-at-{stopped_at_step}"
