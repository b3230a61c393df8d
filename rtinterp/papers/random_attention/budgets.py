"""What experiments are made of: tasks at a size, models at a size, and one training for all regimes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from rtinterp.models.regimes import Trainable
from rtinterp.papers.random_attention.regimes import Regime, Size
from rtinterp.tasks import Corpus, LanguageModelling, Task
from rtinterp.training.spec import RunSpec, TrainSpec

#: What of the squared norm MixiT's residual stream keeps in language, as released.
LANGUAGE_SKIP_SHARE = 0.25


@dataclasses.dataclass(frozen=True)
class Budget:
    """A task, and the size and the training of its models, which all regimes have in common."""

    task: Task
    size: Size
    training: TrainSpec

    def runs(self, regime: Regime, seeds: Iterable[int], n_layers: int | None = None) -> list[RunSpec]:
        """List the runs of some seeds, with another number of layers if one is given."""
        size = self.size if n_layers is None else dataclasses.replace(self.size, n_layers=n_layers)
        body = regime.body(size, self.task)
        return [RunSpec(self.task, body, self.training, regime.trainable, seed) for seed in seeds]

    def runs_of_set(self, trainable: Trainable, seeds: Iterable[int]) -> list[RunSpec]:
        """List the runs of GPT-2's block of which a set of component groups trains."""
        return self.runs(Regime(trainable), seeds)


@dataclasses.dataclass(frozen=True)
class LanguageBudget:
    """Language models on a corpus."""

    d_vocab: int
    context_length: int
    size: Size
    training: TrainSpec

    def runs(self, corpus: Corpus, regime: Regime, seeds: Iterable[int]) -> list[RunSpec]:
        """Raises ValueError if the corpus is too small."""
        task = LanguageModelling.from_corpus(corpus, self.d_vocab, self.context_length)
        body = regime.body(self.size, task, LANGUAGE_SKIP_SHARE)
        return [RunSpec(task, body, self.training, regime.trainable, seed) for seed in seeds]


@dataclasses.dataclass(frozen=True)
class Scale:
    """All that the experiments need to become lists of runs.

    Attributes:
        tasks: in the order of the tables; retrieval and decimal addition among them.
        depths: numbers of layers of the models that add decimally.
        first_seed: the first of the seeds that are reported; budgets were chosen on others.
    """

    tasks: tuple[Budget, ...]
    depths: tuple[int, ...]
    language: LanguageBudget
    first_seed: int = 0

    def seeds(self, n_seeds: int) -> range:
        """Return the first ``n_seeds`` of the seeds that are reported."""
        return range(self.first_seed, self.first_seed + n_seeds)

    def budget_of(self, task_type: type[Task]) -> Budget:
        """Return the scale's budget of that kind of task."""
        return next(budget for budget in self.tasks if isinstance(budget.task, task_type))
