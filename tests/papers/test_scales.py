"""The paper scale is the official code's, written out a second time; the others are what they say."""

from __future__ import annotations

import dataclasses

import pytest

from rtinterp.models.recurrent.spec import RecurrentSpec
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.papers.random_transformers.scales import MEMORIZATION_IN_TEXT, PAPER, QUICK, SCALES, SHORT, Scale
from rtinterp.tasks import (
    CircuitImitation,
    DecimalAddition,
    Memorization,
    ModularAddition,
    NeedleInAHaystack,
    ParenthesisBalancing,
    Task,
)
from rtinterp.training.cost import cost
from rtinterp.training.spec import TrainSpec

#: Of the official code: steps, batch size, learning rate and weight decay, widths.
SWEPT = (16, 32, 64, 128, 256, 512, 1024)
OFFICIAL = {
    ModularAddition(199): (50_000, 4000, 1e-3, 1e-3, SWEPT),
    NeedleInAHaystack(30, 127): (10_000, 1000, 1e-3, 1e-3, SWEPT),
    DecimalAddition(10): (10_000, 1000, 1e-3, 1e-3, SWEPT),
    ParenthesisBalancing(30): (10_000, 1000, 1e-3, 1e-3, SWEPT),
    Memorization(512): (168_000, 32_768, 5e-3, 1e-4, (128,)),
}
LSTM_RATE = 5e-3


def budget(training: TrainSpec) -> tuple[int, int, float, float]:
    return training.n_steps, training.batch_size, training.learning_rate, training.weight_decay


def test_tasks_widths_and_budgets_of_the_paper() -> None:
    budgets = (*PAPER.algorithmic, PAPER.memorization)
    assert {b.task: (*budget(b.random), b.widths) for b in budgets} == OFFICIAL
    for b in budgets:
        assert b.normal == b.random, "the paper trains both alike"
        expected = TrainSpec(b.random.n_steps, b.random.batch_size, weight_decay=b.random.weight_decay)
        assert dataclasses.replace(b.random, learning_rate=1e-3) == expected, "the rest is the code's default"


def test_lstms_differ_in_their_rate_alone_as_in_the_paper() -> None:
    for of_task in PAPER.algorithmic:
        (spec,) = of_task.runs(RecurrentSpec(of_task.wide), "all", [0])
        assert spec.training == dataclasses.replace(of_task.normal, learning_rate=LSTM_RATE)


@pytest.mark.parametrize("scale", [QUICK, SHORT], ids=["quick", "short"])
def test_lstms_have_their_rate_at_other_scales_too(scale: Scale) -> None:
    assert {of_task.lstm.learning_rate for of_task in scale.algorithmic} == {LSTM_RATE}


def test_imitation_of_the_paper() -> None:
    spec, *others = PAPER.imitation.runs(12, "embeddings", [0])
    assert spec.task == CircuitImitation(12, n_tokens=40, d_vocab=512)
    assert [dataclasses.replace(spec.task, target_seed=seed) for seed in (1, 2)] == [other.task for other in others]
    assert spec.model == ModelSpec(512, n_layers=3)
    assert budget(spec.training) == (10_000, 1000, 1e-3, 1e-3)
    assert PAPER.imitation.target_widths == (4, 8, 12, 16, 32, 64, 128)
    assert PAPER.imitation.normal == PAPER.imitation.random


def test_language_of_the_paper() -> None:
    language = PAPER.language
    assert (language.d_vocab, language.context_length, language.depths) == (10_000, 512, (2, 4))
    assert language.widths == SWEPT[:-1]
    assert budget(language.random) == budget(language.normal) == (230_000, 20, 6e-4, 0.1)
    assert language.analysed == ModelSpec(512, n_layers=4, n_heads=8)


def test_memorization_differs_between_text_and_code() -> None:
    assert MEMORIZATION_IN_TEXT == {"learning_rate": 1e-3, "weight_decay": 1e-3}
    assert budget(QUICK.memorization.random)[2:] == (5e-3, 1e-4)


#: Of random models at the paper's sizes: steps, batch size, learning rate, warmup steps and beta2 that suffice.
FOUND = {
    ModularAddition(199): (1000, 1000, 3e-3, 100, 0.98),
    NeedleInAHaystack(30, 127): (2400, 250, 5e-3, 100, 0.98),
    DecimalAddition(10): (700, 250, 3e-3, 100, 0.98),
    ParenthesisBalancing(30): (600, 250, 3e-3, 100, 0.999),
}


def test_random_models_have_the_budgets_that_were_found_for_them_at_the_short_scale() -> None:
    for of_task in SHORT.algorithmic:
        n_steps, batch_size, rate, n_warmup_steps, beta2 = FOUND[of_task.task]
        found = {"learning_rate": rate, "n_warmup_steps": n_warmup_steps, "adam_beta2": beta2}
        assert of_task.random == TrainSpec(n_steps, batch_size, precision="bfloat16", **found)


def test_the_short_scale_is_the_paper_with_less_data_in_bfloat16() -> None:
    pairs = zip((*SHORT.algorithmic, SHORT.memorization), (*PAPER.algorithmic, PAPER.memorization), strict=True)
    for short, paper in pairs:
        assert (short.task, short.widths) == (paper.task, paper.widths)
        for kind in ("random", "normal", "lstm"):
            ours, theirs = getattr(short, kind), getattr(paper, kind)
            assert ours.precision == "bfloat16"
            assert ours.n_steps < theirs.n_steps
            assert ours.batch_size <= theirs.batch_size


def test_seeds_on_which_a_scale_was_chosen_are_not_reported() -> None:
    assert list(SHORT.seeds(3)) == [1, 2, 3]
    for scale in (QUICK, PAPER):
        assert list(scale.seeds(2)) == [0, 1]


def test_scales_grow() -> None:
    """The best that is stored is the last of them."""
    names = ["quick", "short", "paper"]
    assert list(SCALES)[:3] == names

    def flops(task_type: type[Task]) -> list[float]:
        budgets = [SCALES[name].budget_of(task_type) for name in names]
        return [cost(budget.runs(budget.wide, "embeddings", [0]), 1.0).flops for budget in budgets]

    for task_type in (ModularAddition, NeedleInAHaystack, DecimalAddition, ParenthesisBalancing):
        assert flops(task_type) == sorted(flops(task_type))
