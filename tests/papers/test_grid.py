"""Every experiment has the runs that its figure or table in the paper shows, each with the budget of its kind."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable

import pytest
from corpus_references import made_up_corpus

from rtinterp.figures import NoCorpusError
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.papers.random_transformers.budgets import ImitationBudget, LanguageBudget, Scale, TaskBudget
from rtinterp.papers.random_transformers.grid import EXPERIMENTS, ON_LANGUAGE
from rtinterp.papers.random_transformers.scales import SCALES
from rtinterp.tasks import DecimalAddition, Memorization, ModularAddition, NeedleInAHaystack, ParenthesisBalancing
from rtinterp.training.spec import RunSpec, TrainSpec

#: Distinct steps, so that every run tells whose budget it has.
RANDOM, NORMAL, LSTM = (TrainSpec(n_steps=n, batch_size=8, n_warmup_steps=0) for n in (1, 2, 3))
ADD, NEEDLE, SUM, BALANCE = ModularAddition(p=13), NeedleInAHaystack(4, 16), DecimalAddition(2), ParenthesisBalancing(5)
TASKS = (ADD, NEEDLE, SUM, BALANCE)
SCALE = Scale(
    algorithmic=tuple(TaskBudget(task, (8, 16, 24), RANDOM, NORMAL, LSTM) for task in TASKS),
    memorization=TaskBudget(Memorization(n_keys=6), (12,), RANDOM, NORMAL, LSTM).with_training(
        learning_rate=5e-3, weight_decay=1e-4
    ),
    imitation=ImitationBudget((4, 8), 5, 16, ModelSpec(16, n_layers=3), RANDOM, NORMAL),
    language=LanguageBudget(300, 16, (8, 16), (2, 3), 4, RANDOM, NORMAL),
)
N_SEEDS = 2

Kind = tuple[str, str, int, int, str]


def kinds(specs: Iterable[RunSpec]) -> list[Kind]:
    """Task, body, depth, width and what is trained of the runs of one seed."""
    return [(s.task.name, s.model.label, s.model.n_layers, s.model.d_model, s.trainable) for s in specs if not s.seed]


def expected(tasks: Iterable[object], bodies: Iterable[tuple[str, int, int]], regimes: Iterable[str]) -> set[Kind]:
    return {(task.name, *body, regime) for task, body, regime in itertools.product(tasks, bodies, regimes)}


def transformers(*widths: int, n_layers: int = 2) -> list[tuple[str, int, int]]:
    return [("transformer", n_layers, width) for width in widths]


BOTH = ("embeddings", "all")
MEMORIZATION = (SCALE.memorization.task,)
LANGUAGE, IMITATION = (type("Named", (), {"name": name}) for name in ("language_modelling", "circuit_imitation"))
RUNS: dict[str, set[Kind]] = {
    "figure2": expected([NEEDLE], transformers(24), ["embeddings"]),
    "figure3": expected([ADD], transformers(24), ["embeddings"]),
    "table1": expected(TASKS, [*transformers(24, 8), ("lstm", 2, 24)], BOTH) - expected(TASKS, [("lstm", 2, 8)], BOTH),
    "table2": expected(
        TASKS, transformers(24), ["embeddings", "unembedding", "input_embeddings", "token_embedding+unembedding"]
    ),
    "memorization": expected(MEMORIZATION, transformers(12), BOTH),
    "table4": expected(TASKS, transformers(24), BOTH) | expected(MEMORIZATION, transformers(12), BOTH),
    "parentheses_lengths": expected([BALANCE], transformers(24, 8), BOTH)
    | expected([BALANCE], [("lstm", 2, 24)], ["all"]),
    "figure7": expected(TASKS, transformers(8, 16, 24), BOTH),
    "table7": expected(TASKS[1:], transformers(16), BOTH),
    "table9": expected(TASKS[1:], [*transformers(16), ("linearised transformer", 2, 16)], ["all"]),
    "figure6": expected([IMITATION], transformers(16, n_layers=3), BOTH),
    "figure4": expected([LANGUAGE], [*transformers(8, 16), *transformers(8, 16, n_layers=3)], BOTH),
    "table5": expected([LANGUAGE], transformers(16, n_layers=3), BOTH),
}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_has_the_runs_of_its_figure(name: str) -> None:
    specs = EXPERIMENTS[name](SCALE, N_SEEDS, made_up_corpus())
    assert set(kinds(specs)) == RUNS[name]
    assert len(set(specs)) == len(specs)
    assert {spec.seed for spec in specs} == set(range(N_SEEDS))
    assert {spec.with_seed(0) for spec in specs if spec.seed} == {spec for spec in specs if not spec.seed}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_seeds_count_from_the_first_that_the_scale_reports(name: str) -> None:
    from_three = EXPERIMENTS[name](dataclasses.replace(SCALE, first_seed=3), N_SEEDS, made_up_corpus())
    assert from_three == [spec.with_seed(spec.seed + 3) for spec in EXPERIMENTS[name](SCALE, N_SEEDS, made_up_corpus())]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_run_has_the_budget_of_its_kind(name: str) -> None:
    for spec in EXPERIMENTS[name](SCALE, 1, made_up_corpus()):
        budget = LSTM if spec.model.label == "lstm" else NORMAL if spec.trainable == "all" else RANDOM
        assert spec.training.n_steps == budget.n_steps, spec


def test_sums_are_scored_from_the_first_digit_too_where_models_are_wide() -> None:
    scored = [spec for spec in EXPERIMENTS["table1"](SCALE, 1, None) if getattr(spec.task, "score_first_digit", False)]
    assert kinds(scored) == [("decimal_addition", "transformer", 2, 24, trainable) for trainable in BOTH]


def test_memorization_is_trained_as_in_the_code_and_as_in_the_text() -> None:
    trainings = [spec.training for spec in EXPERIMENTS["memorization"](SCALE, 1, None)]
    rates = [(training.learning_rate, training.weight_decay) for training in trainings]
    assert rates == [(5e-3, 1e-4), (5e-3, 1e-4), (1e-3, 1e-3), (1e-3, 1e-3)]


def test_every_target_is_imitated() -> None:
    three = dataclasses.replace(SCALE, imitation=dataclasses.replace(SCALE.imitation, target_seeds=(0, 1, 5)))
    specs = EXPERIMENTS["figure6"](three, 2, None)
    found = {(spec.task.target_d_model, spec.task.target_seed, spec.trainable, spec.seed) for spec in specs}
    assert found == set(itertools.product((4, 8), (0, 1, 5), BOTH, (0, 1)))
    assert len(specs) == len(found)


def test_short_strings_are_trained_on_too_where_the_official_list_is_tested() -> None:
    specs = EXPERIMENTS["parentheses_lengths"](SCALES["short"], 1, None)
    n = len(specs) // 2
    assert [spec.task for spec in specs] == [ParenthesisBalancing()] * n + [
        ParenthesisBalancing(short_strings="trained on")
    ] * n
    assert [(spec.model, spec.training) for spec in specs[:n]] == [(spec.model, spec.training) for spec in specs[n:]]
    assert {spec.task for spec in EXPERIMENTS["parentheses_lengths"](SCALE, 1, None)} == {BALANCE}


def test_experiments_on_language_and_no_others_need_a_corpus() -> None:
    for name, experiment in EXPERIMENTS.items():
        if name in ON_LANGUAGE:
            with pytest.raises(NoCorpusError):
                experiment(SCALE, 1, None)
        else:
            assert experiment(SCALE, 1, None)
