"""The training of one stack, step by step: losses, history, divergence, and where it stands."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Iterable, Iterator, Sequence

import polars as pl
import torch

from rtinterp.training.checkpoint import Checkpoint, CheckpointFacts, Divergence, EngineState
from rtinterp.training.engine import Engine
from rtinterp.training.environment import describe_environment
from rtinterp.training.history import history_schema, test_column
from rtinterp.training.kept_tensors import KeptTensors
from rtinterp.training.progress import TrainingProgress
from rtinterp.training.run import Run
from rtinterp.training.snapshot import OnEvaluation, Snapshot, Visit
from rtinterp.training.spec import RunSpec

#: A gradient of this norm, before clipping, comes of nothing that still learns.
EXPLODED_NORM = 1e10


class StackTraining:
    """Trains specs that differ in their seed alone, in one stack.

    A model that diverges or is stopped stays in the stack, where it costs what it did and reaches none of the others:
    those end as they would have ended beside it.

    Attributes:
        diverged: why models cannot be finished, by their place in the stack.
        stopped: the steps at which models were stopped, by their place.
    """

    def __init__(self, specs: Sequence[RunSpec], device: torch.device) -> None:
        self.specs = list(specs)
        self.diverged: dict[int, Divergence] = {}
        self.stopped: dict[int, int] = {}
        self._device = device
        self._start = time.perf_counter()
        self._engine = Engine(self.specs, device)
        self._n_steps = specs[0].training.n_steps
        self._losses: list[list[float]] = []
        self._history: list[tuple[int, list[tuple[float, ...]]]] = []
        self._columns = list(history_schema(self.specs[0].task))[1:]
        self._kept = KeptTensors(self.specs, self._engine.trained_tensors)
        self._kept.keep(self.step)

    @property
    def step(self) -> int:
        """Finished optimiser steps."""
        return self._engine.n_steps_done

    @property
    def finished(self) -> bool:
        return self.step >= self._n_steps or not self._in_training()

    @property
    def seconds(self) -> float:
        """Since the start, earlier attempts that this one continues included."""
        return time.perf_counter() - self._start

    def advance(self, bar: TrainingProgress) -> tuple[float | None, dict[int, Divergence]]:
        """One step, and an evaluation where one is due, shown on the bar.

        Returns:
            The mean loss of the models that still train, and which models have just diverged.
        """
        losses = self._engine.step().tolist()
        norms = self._engine.gradient_norms.tolist()
        self._losses.append(losses)
        self._kept.keep(self.step)
        new = {}
        for model, (loss, norm) in enumerate(zip(losses, norms, strict=True)):
            if not math.isfinite(loss):
                new[model] = self._divergence(f"the loss became {loss}")
            elif not norm < EXPLODED_NORM:
                new[model] = self._divergence(f"the norm of the gradient became {norm:g}")
        measured: dict[str, list[float]] = {}
        if self._evaluates_at(self.step):
            measured, of_test = self._evaluate()
            new = {**of_test, **new}
        new = {model: divergence for model, divergence in new.items() if model in self._in_training()}
        self.diverged |= new
        train_loss = self._mean_of_sound(losses)
        if train_loss is not None:
            bar.update(self.step, train_loss, {name: self._mean_of_sound(values) for name, values in measured.items()})
        return train_loss, new

    def runs(self) -> list[Run]:
        """The finished runs, without those that diverged or were stopped."""
        return self._runs(self._in_training(), stopped_at_step=None)

    def watch(self, on_evaluation: OnEvaluation | None) -> Iterator[Run]:
        """Show every model that still trains, if it has just been evaluated, and give the runs that are stopped.

        A model counts as stopped only when the next one is asked for: whoever asks has then kept its run.
        """
        if on_evaluation is None or not self._history or self._history[-1][0] != self.step:
            return
        for model in self._in_training():
            metrics = dict(zip(self._columns, self._history[-1][1][model], strict=True))
            visit = Visit(functools.partial(self._engine.trained_tensors, model))
            on_evaluation(Snapshot(self.specs[model], self.step, metrics, visit))
            visit.is_over = True
            if visit.asked_to_stop and self.step < self._n_steps:
                yield from self._runs([model], stopped_at_step=self.step)
                self.stopped[model] = self.step

    def checkpoint(self) -> Checkpoint:
        """All that the steps to come depend on, and all that came of those so far."""
        engine, n_models = self._engine.state(), len(self.specs)
        facts = CheckpointFacts(
            format_version=1,
            run_ids=tuple(spec.run_id for spec in self.specs),
            device=self._device.type,
            n_steps_done=engine.n_steps_done,
            n_used=engine.n_used,
            n_rows=engine.n_rows,
            n_places=engine.n_places,
            seconds=self.seconds,
            diverged={self.specs[model].run_id: divergence for model, divergence in self.diverged.items()},
            stopped={self.specs[model].run_id: step for model, step in self.stopped.items()},
        )
        history = [row for _, row in self._history]
        tensors = {
            **engine.tensors,
            **self._kept.tensors(),
            "losses": torch.tensor(self._losses, dtype=torch.float64).view(-1, n_models),
            "history_steps": torch.tensor([step for step, _ in self._history], dtype=torch.int64),
            "history": torch.tensor(history, dtype=torch.float64).view(-1, n_models, len(self._columns)),
        }
        return Checkpoint(facts, tensors)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint of the same stack on the same kind of device.

        Raises:
            ValueError: it is of another stack or device, or malformed; begin anew then, with another object.
        """
        facts, tensors = checkpoint.facts, checkpoint.tensors
        if list(facts.run_ids) not in ([spec.run_id for spec in self.specs], [s.former_run_id for s in self.specs]):
            raise ValueError(f"made for other runs: {', '.join(facts.run_ids)}")
        if facts.device != self._device.type:
            raise ValueError(f"made on device {facts.device!r}, cannot go on on {self._device.type!r}")
        self._engine.restore(
            EngineState(tensors, facts.n_steps_done, facts.n_used, facts.n_rows, facts.n_places),
        )
        try:
            self._losses = tensors["losses"].tolist()
            rows = zip(tensors["history_steps"].tolist(), tensors["history"].tolist(), strict=True)
            self._history = [(step, [tuple(of_model) for of_model in row]) for step, row in rows]
            self.diverged = {facts.run_ids.index(run_id): divergence for run_id, divergence in facts.diverged.items()}
            self.stopped = {facts.run_ids.index(run_id): step for run_id, step in facts.stopped.items()}
            self._kept.restore(tensors, self._engine.trained, self.step)
        except KeyError as error:
            raise ValueError(f"has no tensor {error}") from error
        self._start -= facts.seconds

    def _in_training(self) -> list[int]:
        """The places of the models that have neither diverged nor been stopped."""
        return [model for model in range(len(self.specs)) if model not in self.diverged and model not in self.stopped]

    def _runs(self, models: Iterable[int], stopped_at_step: int | None) -> list[Run]:
        environment = describe_environment(self._device, self.specs, self.seconds)
        return [
            Run(
                self.specs[model],
                self._engine.trained_tensors(model),
                self._history_of(model),
                self._engine.fingerprints[model],
                environment,
                stopped_at_step,
                self._kept.of(model),
            )
            for model in models
        ]

    def _evaluates_at(self, step: int) -> bool:
        return step % self.specs[0].training.steps_per_evaluation == 0 or step == self._n_steps

    def _evaluate(self) -> tuple[dict[str, list[float]], dict[int, Divergence]]:
        """Add to the history; what was measured of every model, by column, and which show here that they diverged."""
        tested = self._engine.test()
        measured = {"test_loss": tested.loss.tolist()}
        measured |= {test_column(metric): values.tolist() for metric, values in tested.metrics.items()}
        mean_losses = [_mean(of_model) for of_model in zip(*self._losses, strict=True)]
        self._history.append((self.step, list(zip(mean_losses, *measured.values(), strict=True))))
        self._losses = []
        new = {
            model: self._divergence(f"the {column.replace('_', ' ')} became {value}")
            for column, values in reversed(measured.items())
            for model, value in enumerate(values)
            if not math.isfinite(value)
        }
        if self.step == self._n_steps:
            trained = (self._engine.trained_tensors(model).values() for model in range(len(self.specs)))
            for model, tensors in enumerate(trained):
                if not all(bool(tensor.isfinite().all()) for tensor in tensors):
                    new.setdefault(model, self._divergence("a trained tensor became infinite or not a number"))
        return measured, new

    def _mean_of_sound(self, values: Sequence[float]) -> float | None:
        """Over the models that still train."""
        sound = [values[model] for model in self._in_training()] if values else []
        return _mean(sound) if sound else None

    def _divergence(self, what: str) -> Divergence:
        rate = self.specs[0].training.learning_rate
        advice = f"lower the learning rate ({rate:g}) or lengthen the warmup"
        return Divergence(self.step, f"{what} at step {self.step} of {self._n_steps}; {advice}")

    def _history_of(self, model: int) -> pl.DataFrame:
        rows = [(step, *row[model]) for step, row in self._history]
        return pl.DataFrame(rows, schema=history_schema(self.specs[model].task), orient="row")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
