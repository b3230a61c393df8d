"""What experiments are made of: tasks at a size, widths, and the training of each kind of model."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from rtinterp.models.body import Body
from rtinterp.models.regimes import Trainable
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import CircuitImitation, Corpus, LanguageModelling, Task
from rtinterp.training.spec import RunSpec, TrainSpec


@dataclasses.dataclass(frozen=True)
class TaskBudget:
    """A task at a size, with the training that its models get at every width.

    Attributes:
        widths: values of d_model, ascending; the first is the tables' narrow model, the last their wide one.
        random: training of models of which only a part trains.
        normal: training of fully trained models.
        lstm: training of the recurrent baseline.
    """

    task: Task
    widths: tuple[int, ...]
    random: TrainSpec
    normal: TrainSpec
    lstm: TrainSpec

    @property
    def narrow(self) -> int:
        return self.widths[0]

    @property
    def wide(self) -> int:
        return self.widths[-1]

    def runs(self, body: Body | int, trainable: Trainable, seeds: Iterable[int]) -> list[RunSpec]:
        """List the runs of some seeds.

        Args:
            body: a body, or the width of a transformer.
        """
        body = ModelSpec(body) if isinstance(body, int) else body
        training = self.normal if trainable == "all" else self.random
        if not isinstance(body, ModelSpec):
            training = self.lstm
        return [RunSpec(self.task, body, training, trainable, seed) for seed in seeds]

    def with_training(self, **fields: Any) -> TaskBudget:
        """Return the same budget but for some fields of its ``TrainSpec``s."""
        trainings = {name: dataclasses.replace(getattr(self, name), **fields) for name in ("random", "normal", "lstm")}
        return dataclasses.replace(self, **trainings)


@dataclasses.dataclass(frozen=True)
class ImitationBudget:
    """Targets of growing width, several of each, and the student that imitates them.

    Attributes:
        target_seeds: draw the targets of a width. Every student seed imitates every target, so that how much targets
            differ and how much students of one target differ are told apart.
    """

    target_widths: tuple[int, ...]
    n_tokens: int
    d_vocab: int
    student: ModelSpec
    random: TrainSpec
    normal: TrainSpec
    target_seeds: tuple[int, ...] = (0,)

    def task(self, target_d_model: int, target_seed: int = 0) -> CircuitImitation:
        return CircuitImitation(target_d_model, target_seed=target_seed, n_tokens=self.n_tokens, d_vocab=self.d_vocab)

    def runs(self, target_d_model: int, trainable: Trainable, seeds: Iterable[int]) -> list[RunSpec]:
        """List the students of all targets of a width."""
        tasks = [self.task(target_d_model, target_seed) for target_seed in self.target_seeds]
        training = self.normal if trainable == "all" else self.random
        return [RunSpec(task, self.student, training, trainable, seed) for task in tasks for seed in seeds]


@dataclasses.dataclass(frozen=True)
class LanguageBudget:
    """Language models of growing width and two depths on a corpus.

    Attributes:
        analysed: the body of the model whose variance and completions are shown.
    """

    d_vocab: int
    context_length: int
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    n_heads: int
    random: TrainSpec
    normal: TrainSpec

    def body(self, d_model: int, n_layers: int) -> ModelSpec:
        return ModelSpec(d_model, n_layers, self.n_heads)

    @property
    def analysed(self) -> ModelSpec:
        return self.body(self.widths[-1], self.depths[-1])

    def runs(self, corpus: Corpus, body: ModelSpec, trainable: Trainable, seeds: Iterable[int]) -> list[RunSpec]:
        """Raises ValueError if the corpus is too small."""
        task = LanguageModelling.from_corpus(corpus, self.d_vocab, self.context_length)
        training = self.normal if trainable == "all" else self.random
        return [RunSpec(task, body, training, trainable, seed) for seed in seeds]


@dataclasses.dataclass(frozen=True)
class Scale:
    """All that the experiments need to become lists of runs.

    Attributes:
        algorithmic: the four tasks of tables 1, 2, 4, 7, 9 and figure 7.
        first_seed: the first of the seeds that are reported; budgets were chosen on others.
    """

    algorithmic: tuple[TaskBudget, ...]
    memorization: TaskBudget
    imitation: ImitationBudget
    language: LanguageBudget
    first_seed: int = 0

    def seeds(self, n_seeds: int) -> range:
        """Return the first ``n_seeds`` of the seeds that are reported."""
        return range(self.first_seed, self.first_seed + n_seeds)

    def budget_of(self, task_type: type[Task]) -> TaskBudget:
        """Return the scale's budget of that kind of algorithmic task."""
        return next(budget for budget in self.algorithmic if isinstance(budget.task, task_type))
