"""The paper's experiments by name: which runs each needs at a scale, most valuable first."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence

from rtinterp.figures.paper import Experiment, NoCorpusError
from rtinterp.models.recurrent.spec import RecurrentSpec
from rtinterp.models.regimes import Trainable
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.papers.random_transformers.budgets import Scale, TaskBudget
from rtinterp.papers.random_transformers.scales import MEMORIZATION_IN_TEXT
from rtinterp.tasks import Corpus, DecimalAddition, ModularAddition, NeedleInAHaystack, ParenthesisBalancing
from rtinterp.training.spec import RunSpec

#: The random transformer and the fully trained ("normal") one.
RANDOM_AND_NORMAL: tuple[Trainable, ...] = ("embeddings", "all")
#: Table 2: proper subsets of the embeddings.
SUBSETS: tuple[Trainable, ...] = ("unembedding", "input_embeddings", "token_embedding+unembedding")


def figure2(scale: Scale, n_seeds: int, corpus: Corpus | None) -> list[RunSpec]:
    """List random transformers that find needles, whose attention figure 2 shows."""
    budget = scale.budget_of(NeedleInAHaystack)
    return budget.runs(budget.wide, "embeddings", scale.seeds(n_seeds))


def figure3(scale: Scale, n_seeds: int, corpus: Corpus | None) -> list[RunSpec]:
    """List random transformers that add modulo p, whose embeddings figure 3 shows."""
    budget = scale.budget_of(ModularAddition)
    return budget.runs(budget.wide, "embeddings", scale.seeds(n_seeds))


def figure4(scale: Scale, n_seeds: int, corpus: Corpus | None) -> list[RunSpec]:
    """List language models of every width, at two depths."""
    language = scale.language
    return [
        run
        for n_layers in language.depths
        for d_model in reversed(language.widths)
        for trainable in RANDOM_AND_NORMAL
        for run in language.runs(_given(corpus), language.body(d_model, n_layers), trainable, scale.seeds(n_seeds))
    ]


def table5(scale: Scale, n_seeds: int, corpus: Corpus | None) -> list[RunSpec]:
    """List the language models whose variance table 5 explains, and which complete stories in figure 5."""
    language = scale.language
    return [
        run
        for trainable in RANDOM_AND_NORMAL
        for run in language.runs(_given(corpus), language.analysed, trainable, scale.seeds(n_seeds))
    ]


def figure6(scale: Scale, n_seeds: int, corpus: Corpus | None) -> list[RunSpec]:
    """List students of random targets of growing width."""
    return [
        run
        for target_d_model in scale.imitation.target_widths
        for trainable in RANDOM_AND_NORMAL
        for run in scale.imitation.runs(target_d_model, trainable, scale.seeds(n_seeds))
    ]


def figure7(scale: Scale, n_seeds: int, corpus: Corpus | None) -> list[RunSpec]:
    """List random and normal transformers of every width."""
    return [
        run
        for budget in scale.algorithmic
        for d_model in reversed(budget.widths)
        for trainable in RANDOM_AND_NORMAL
        for run in budget.runs(d_model, trainable, scale.seeds(n_seeds))
    ]


def table1(scale: Scale, n_seeds: int, corpus: Corpus | None) -> list[RunSpec]:
    """List random and normal transformers, wide and narrow, and the LSTM: trained, and with a frozen random body.

    Sums are scored as the official code does it, and for wide transformers also from their first digit on.
    """
    whole, seeds = whole_sums(scale), scale.seeds(n_seeds)
    first_digit = [run for t in RANDOM_AND_NORMAL for run in whole.runs(whole.wide, t, seeds)]
    return [
        run
        for budget in scale.algorithmic
        for run in (
            *_of_widths(budget.wide, budget.narrow, lambda d, t, b=budget: b.runs(d, t, seeds)),
            *budget.runs(RecurrentSpec(budget.wide), "all", seeds),
            *budget.runs(RecurrentSpec(budget.wide), "embeddings", seeds),
        )
    ] + first_digit


def whole_sums(scale: Scale) -> TaskBudget:
    """Return the scale's decimal addition with the first digit of sums scored too."""
    decimal = scale.budget_of(DecimalAddition)
    assert isinstance(decimal.task, DecimalAddition)
    return dataclasses.replace(decimal, task=dataclasses.replace(decimal.task, score_first_digit=True))


def table2(scale: Scale, n_seeds: int, corpus: Corpus | None) -> list[RunSpec]:
    """List wide models of which only some embeddings train, beside those of which all do."""
    return [
        run
        for budget in scale.algorithmic
        for trainable in ("embeddings", *SUBSETS)
        for run in budget.runs(budget.wide, trainable, scale.seeds(n_seeds))
    ]


def memorization(scale: Scale, n_seeds: int, corpus: Corpus | None) -> list[RunSpec]:
    """List models that memorize (table 3, figure 8), trained as in the official code, then as in the paper's text."""
    in_text = scale.memorization.with_training(**MEMORIZATION_IN_TEXT)
    return [*_wide(scale.memorization, scale.seeds(n_seeds)), *_wide(in_text, scale.seeds(n_seeds))]


def table4(scale: Scale, n_seeds: int, corpus: Corpus | None) -> list[RunSpec]:
    """List wide models of the algorithmic tasks and memorization, whose variance table 4 explains."""
    return [run for budget in (*scale.algorithmic, scale.memorization) for run in _wide(budget, scale.seeds(n_seeds))]


def table7(scale: Scale, n_seeds: int, corpus: Corpus | None) -> list[RunSpec]:
    """List models one width below the widest, where the random one does or does not solve the task."""
    return [
        run
        for budget in scale.algorithmic
        if not isinstance(budget.task, ModularAddition)
        for trainable in RANDOM_AND_NORMAL
        for run in budget.runs(budget.widths[-2], trainable, scale.seeds(n_seeds))
    ]


def table9(scale: Scale, n_seeds: int, corpus: Corpus | None) -> list[RunSpec]:
    """List fully trained linearised transformers beside softmax ones, one width below the widest."""
    return [
        run
        for budget in scale.algorithmic
        if not isinstance(budget.task, ModularAddition)
        for attention in ("prefix_sum", "softmax")
        for run in budget.runs(ModelSpec(budget.widths[-2], attention=attention), "all", scale.seeds(n_seeds))
    ]


def parentheses_lengths(scale: Scale, n_seeds: int, corpus: Corpus | None) -> list[RunSpec]:
    """List the models that balance parentheses, whose accuracy is told by the length of the string.

    Where the official list is tested, they stand beside the same with its short strings trained on.
    """
    budget, seeds = scale.budget_of(ParenthesisBalancing), scale.seeds(n_seeds)
    return [
        run
        for one in (budget, *_short_strings_trained_on(budget))
        for run in (
            *_of_widths(one.wide, one.narrow, lambda d, t, one=one: one.runs(d, t, seeds)),
            *one.runs(RecurrentSpec(one.wide), "all", seeds),
        )
    ]


def _short_strings_trained_on(budget: TaskBudget) -> Iterable[TaskBudget]:
    task = budget.task
    assert isinstance(task, ParenthesisBalancing)
    if task.test_rows == "official":
        yield dataclasses.replace(budget, task=dataclasses.replace(task, short_strings="trained on"))


def _wide(budget: TaskBudget, seeds: Sequence[int]) -> list[RunSpec]:
    return [run for trainable in RANDOM_AND_NORMAL for run in budget.runs(budget.wide, trainable, seeds)]


def _of_widths(wide: int, narrow: int, runs: Callable[[int, Trainable], list[RunSpec]]) -> Iterable[RunSpec]:
    return (run for d_model in (wide, narrow) for trainable in RANDOM_AND_NORMAL for run in runs(d_model, trainable))


def _given(corpus: Corpus | None) -> Corpus:
    if corpus is None:
        raise NoCorpusError
    return corpus


#: In the order in which they are worth training.
EXPERIMENTS: dict[str, Experiment] = {
    "figure3": figure3,
    "figure2": figure2,
    "table1": table1,
    "table4": table4,
    "parentheses_lengths": parentheses_lengths,
    "table2": table2,
    "figure7": figure7,
    "table7": table7,
    "memorization": memorization,
    "figure6": figure6,
    "table9": table9,
    "figure4": figure4,
    "table5": table5,
}
#: Those that need a corpus.
ON_LANGUAGE = frozenset({"figure4", "table5"})
