"""Warm starts: a model's own end is there at once, shuffled it is not, and no start is the spec's own training."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from rtinterp.analysis.warm_start import accuracies_from, step_of
from rtinterp.models.parametrisations import LowRank
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.store.training import train
from rtinterp.tasks import Memorization
from rtinterp.training.run import Run
from rtinterp.training.spec import RunSpec, TrainSpec

TRAINING = TrainSpec(n_steps=60, batch_size=64, learning_rate=2e-2, n_warmup_steps=5, steps_per_evaluation=20)
SPEC = RunSpec(Memorization(n_keys=2), ModelSpec(d_model=64, n_heads=2), TRAINING, seed=1)
LEVEL = 0.9


@pytest.fixture(scope="module")
def run() -> Run:
    return train(SPEC, device="cpu", progress=False)


def test_no_start_is_the_training_of_the_spec(run: Run) -> None:
    curve = accuracies_from(SPEC, {}, SPEC.task.test_set(), level=2.0, steps_between=20)
    assert curve["step"].to_list() == [0, *run.history["step"]]
    assert curve["accuracy"].to_list()[1:] == pytest.approx(run.history["test_accuracy"].to_list(), abs=1e-6)


def test_a_models_own_end_is_there_at_once_and_its_shuffled_rows_are_not(run: Run) -> None:
    test = SPEC.task.test_set()
    assert run.test_accuracy is not None
    assert run.test_accuracy > LEVEL
    own = accuracies_from(SPEC, run.trained, test, LEVEL)
    assert own.rows() == [(0, pytest.approx(run.test_accuracy, abs=1e-6))]
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(run.trained["embed.W_E"]), generator=generator)
    shuffled = accuracies_from(SPEC, {**run.trained, "embed.W_E": run.trained["embed.W_E"][order]}, test, LEVEL)
    assert shuffled["accuracy"][0] < LEVEL
    assert step_of(own, LEVEL) == 0
    assert step_of(shuffled, LEVEL) != 0


def test_training_ends_where_the_level_is_first_reached() -> None:
    test = SPEC.task.test_set()
    whole = accuracies_from(SPEC, {}, test, level=2.0, steps_between=7)
    assert whole["step"].to_list() == [*range(0, 60, 7), 60]
    cut = accuracies_from(SPEC, {}, test, LEVEL, steps_between=7)
    assert cut.rows() == whole.rows()[: len(cut)]
    assert (cut["accuracy"] >= LEVEL).to_list() == [False] * (len(cut) - 1) + [True]
    assert step_of(whole, LEVEL) == cut["step"][-1]
    assert step_of(whole, 2.0) is None


def test_leaves_are_started_from_too() -> None:
    spec = dataclasses.replace(SPEC, parametrisation=LowRank(2, ("embed.W_E",)))
    leaf = torch.zeros(spec.task.d_vocab, 2)
    curve = accuracies_from(spec, {"low_rank.embed.W_E.A": leaf}, spec.task.test_set(), level=0.0)
    assert len(curve) == 1


def test_what_does_not_train_is_no_start() -> None:
    test = SPEC.task.test_set()
    with pytest.raises(ValueError, match=r"does not train 'ln_final.w'; it trains embed.W_E"):
        accuracies_from(SPEC, {"ln_final.w": torch.ones(64)}, test, LEVEL)
    with pytest.raises(ValueError, match=r"embed.W_E is of shape .* got \[1, 1\]"):
        accuracies_from(SPEC, {"embed.W_E": torch.ones(1, 1)}, test, LEVEL)
    with pytest.raises(ValueError, match="steps_between is 0"):
        accuracies_from(SPEC, {}, test, LEVEL, steps_between=0)
