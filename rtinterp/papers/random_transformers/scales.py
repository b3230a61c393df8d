"""Three budgets for the same experiments: task sizes, widths, steps."""

from __future__ import annotations

import dataclasses
from typing import Any

from rtinterp.models.body import Body
from rtinterp.models.regimes import Trainable
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import (
    CircuitImitation,
    Corpus,
    DecimalAddition,
    LanguageModelling,
    Memorization,
    ModularAddition,
    NeedleInAHaystack,
    ParenthesisBalancing,
    Task,
)
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

    def runs(self, body: Body | int, trainable: Trainable, n_seeds: int) -> list[RunSpec]:
        """List the runs of seeds 0, 1, ...

        Args:
            body: a body, or the width of a transformer.
        """
        body = ModelSpec(body) if isinstance(body, int) else body
        training = self.normal if trainable == "all" else self.random
        if not isinstance(body, ModelSpec):
            training = self.lstm
        return [RunSpec(self.task, body, training, trainable, seed) for seed in range(n_seeds)]

    def with_training(self, **fields: Any) -> TaskBudget:
        """Return the same budget but for some fields of its ``TrainSpec``s."""
        trainings = {name: dataclasses.replace(getattr(self, name), **fields) for name in ("random", "normal", "lstm")}
        return dataclasses.replace(self, **trainings)


@dataclasses.dataclass(frozen=True)
class ImitationBudget:
    """Targets of growing width, and the student that imitates them."""

    target_widths: tuple[int, ...]
    n_tokens: int
    d_vocab: int
    student: ModelSpec
    random: TrainSpec
    normal: TrainSpec

    def task(self, target_d_model: int) -> CircuitImitation:
        return CircuitImitation(target_d_model, n_tokens=self.n_tokens, d_vocab=self.d_vocab)

    def runs(self, target_d_model: int, trainable: Trainable, n_seeds: int) -> list[RunSpec]:
        task, training = self.task(target_d_model), self.normal if trainable == "all" else self.random
        return [RunSpec(task, self.student, training, trainable, seed) for seed in range(n_seeds)]


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

    def runs(self, corpus: Corpus, body: ModelSpec, trainable: Trainable, n_seeds: int) -> list[RunSpec]:
        """Raises ValueError if the corpus is too small."""
        task = LanguageModelling.from_corpus(corpus, self.d_vocab, self.context_length)
        training = self.normal if trainable == "all" else self.random
        return [RunSpec(task, body, training, trainable, seed) for seed in range(n_seeds)]


@dataclasses.dataclass(frozen=True)
class Scale:
    """All that the experiments need to become lists of runs.

    Attributes:
        algorithmic: the four tasks of tables 1, 2, 4, 7, 9 and figure 7.
    """

    algorithmic: tuple[TaskBudget, ...]
    memorization: TaskBudget
    imitation: ImitationBudget
    language: LanguageBudget

    def budget_of(self, task_type: type[Task]) -> TaskBudget:
        """Return the scale's budget of that kind of algorithmic task."""
        return next(budget for budget in self.algorithmic if isinstance(budget.task, task_type))


#: Memorization is the one task for which the paper's text and its code differ in these; the default is the code's.
MEMORIZATION_IN_TEXT: dict[str, Any] = {"learning_rate": 1e-3, "weight_decay": 1e-3}
MEMORIZATION_IN_CODE: dict[str, Any] = {"learning_rate": 5e-3, "weight_decay": 1e-4}


def _quick(n_steps: int, batch_size: int, learning_rate: float = 1e-3, **fields: Any) -> TrainSpec:
    return TrainSpec(n_steps, batch_size, learning_rate, n_warmup_steps=50, **fields)


#: Sizes and budgets found by search for two CPU cores, on seeds 3 to 10, parentheses' on 0 to 2: embeddings-only
#: training passes 99 % within a minute and a half a task. Random transformers learn late and suddenly, so the steps
#: leave room: seeds 0 to 2 and 11 to 13 pass 95 % in three quarters of them.
#: Fully trained models and LSTMs need fewer steps, each of which costs more.
QUICK = Scale(
    algorithmic=(
        TaskBudget(
            ModularAddition(p=79), (16, 128, 512),
            random=_quick(1000, 250, 7e-3, adam_beta2=0.98), normal=_quick(500, 250, adam_beta2=0.98),
            lstm=_quick(300, 250, 5e-3),
        ),
        TaskBudget(
            NeedleInAHaystack(max_pairs=4, n_values=16), (16, 128, 384),
            random=_quick(700, 256, 5e-3), normal=_quick(250, 256, 5e-4), lstm=_quick(250, 256, 5e-3),
        ),
        TaskBudget(
            DecimalAddition(n_digits=2), (16, 128, 256),
            random=_quick(600, 128, 5e-3, adam_beta2=0.98), normal=_quick(300, 128), lstm=_quick(250, 128, 5e-3),
        ),
        TaskBudget(
            ParenthesisBalancing(max_pairs=10), (4, 32, 128),
            random=_quick(700, 256, 1e-2), normal=_quick(250, 256), lstm=_quick(100, 256, 5e-3),
        ),
    ),
    memorization=TaskBudget(
        Memorization(n_keys=64), (16,),
        random=_quick(1000, 2048), normal=_quick(1000, 2048), lstm=_quick(1000, 2048),
    ).with_training(**MEMORIZATION_IN_CODE),
    imitation=ImitationBudget(
        target_widths=(4, 8, 16, 32), n_tokens=10, d_vocab=64, student=ModelSpec(128, n_layers=3),
        random=_quick(300, 256, 5e-3), normal=_quick(300, 256, 3e-3),
    ),
    language=LanguageBudget(
        d_vocab=1024, context_length=64, widths=(16, 32, 64), depths=(2, 4), n_heads=8,
        random=_quick(700, 32, 1e-2, weight_decay=0.1, steps_per_evaluation=350),
        normal=_quick(700, 32, 1e-2, weight_decay=0.1, steps_per_evaluation=350),
    ),
)  # fmt: skip

PAPER_WIDTHS = (16, 32, 64, 128, 256, 512, 1024)
PAPER_TARGET_WIDTHS = (4, 8, 12, 16, 32, 64, 128)
PAPER_LANGUAGE_WIDTHS = (16, 32, 64, 128, 256, 512)


def _paper_sizes(
    pairs: TrainSpec, stream: TrainSpec, imitation: TrainSpec, memorization: TrainSpec, language: TrainSpec
) -> Scale:
    """The official code's tasks and models, under given budgets; LSTMs differ in their learning rate alone."""

    def budget(task: Task, training: TrainSpec, widths: tuple[int, ...] = PAPER_WIDTHS) -> TaskBudget:
        lstm = dataclasses.replace(training, learning_rate=5e-3)
        return TaskBudget(task, widths, random=training, normal=training, lstm=lstm)

    streams = (NeedleInAHaystack(), DecimalAddition(), ParenthesisBalancing())
    return Scale(
        algorithmic=(budget(ModularAddition(), pairs), *(budget(task, stream) for task in streams)),
        memorization=budget(Memorization(), memorization, (128,)),
        imitation=ImitationBudget(
            PAPER_TARGET_WIDTHS, n_tokens=40, d_vocab=512, student=ModelSpec(512, n_layers=3),
            random=imitation, normal=imitation,
        ),
        language=LanguageBudget(
            d_vocab=10_000, context_length=512, widths=PAPER_LANGUAGE_WIDTHS, depths=(2, 4), n_heads=8,
            random=language, normal=language,
        ),
    )  # fmt: skip


#: Sizes and budgets of the official code (paper section 3); a GPU and days.
PAPER = _paper_sizes(
    pairs=TrainSpec(n_steps=50_000, batch_size=4000),
    stream=TrainSpec(n_steps=10_000, batch_size=1000),
    imitation=TrainSpec(n_steps=10_000, batch_size=1000),
    memorization=TrainSpec(n_steps=168_000, batch_size=32_768, **MEMORIZATION_IN_CODE),
    # Five epochs of TinyStories' training split: about 470 million tokens in windows of 512, 20 a step.
    language=TrainSpec(n_steps=230_000, batch_size=20, learning_rate=6e-4, weight_decay=0.1),
)

#: The paper's sizes with fewer steps. Measured here: modular addition at width 1024, one seed, 98.5 % after its 1500
#: steps, 95 % after 1100. The other tasks have as many steps as others needed to converge at width 1024.
SHORT = _paper_sizes(
    pairs=TrainSpec(n_steps=1500, batch_size=1000),
    stream=TrainSpec(n_steps=3000, batch_size=500),
    imitation=TrainSpec(n_steps=3000, batch_size=500),
    memorization=TrainSpec(n_steps=10_000, batch_size=32_768, **MEMORIZATION_IN_CODE),
    language=TrainSpec(n_steps=5000, batch_size=20, learning_rate=6e-4, weight_decay=0.1),
)

SCALES: dict[str, Scale] = {"quick": QUICK, "short": SHORT, "paper": PAPER}
