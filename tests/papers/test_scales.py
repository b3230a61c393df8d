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


@pytest.mark.parametrize("scale", [PAPER, SHORT], ids=["paper", "short"])
def test_lstms_differ_in_their_rate_alone(scale: Scale) -> None:
    for of_task in scale.algorithmic:
        (spec,) = of_task.runs(RecurrentSpec(of_task.wide), "all", 1)
        assert spec.training == dataclasses.replace(of_task.normal, learning_rate=LSTM_RATE)


def test_lstms_have_their_rate_at_the_quick_scale_too() -> None:
    assert {of_task.lstm.learning_rate for of_task in QUICK.algorithmic} == {LSTM_RATE}


def test_imitation_of_the_paper() -> None:
    (spec,) = PAPER.imitation.runs(12, "embeddings", 1)
    assert spec.task == CircuitImitation(12, n_tokens=40, d_vocab=512)
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


def test_the_short_scale_is_the_paper_with_fewer_steps_and_smaller_batches() -> None:
    pairs = zip((*SHORT.algorithmic, SHORT.memorization), (*PAPER.algorithmic, PAPER.memorization), strict=True)
    for short, paper in pairs:
        assert (short.task, short.widths) == (paper.task, paper.widths)
        for kind in ("random", "normal", "lstm"):
            ours, theirs = getattr(short, kind), getattr(paper, kind)
            fewer = {"n_steps": ours.n_steps, "batch_size": ours.batch_size}
            assert dataclasses.replace(theirs, **fewer) == ours
            assert ours.n_steps < theirs.n_steps
            assert ours.batch_size <= theirs.batch_size


def test_scales_grow() -> None:
    """The best that is stored is the last of them."""
    names = ["quick", "short", "paper"]
    assert list(SCALES)[:3] == names

    def steps(task_type: type[Task]) -> list[int]:
        return [scale.budget_of(task_type).random.n_steps for scale in map(SCALES.__getitem__, names)]

    for task_type in (ModularAddition, NeedleInAHaystack, DecimalAddition, ParenthesisBalancing):
        assert steps(task_type) == sorted(steps(task_type))
