"""Runs that keep steps: which, and that no run that keeps none can stand in for them."""

from __future__ import annotations

import dataclasses

import pytest

from rtinterp.figures.paper import Experiment
from rtinterp.papers.mechanism.grid import EXPERIMENTS
from rtinterp.papers.mechanism.watched_runs import RELEASED_TASKS, frequencies, release, spread
from rtinterp.papers.random_transformers import PAPER
from rtinterp.papers.random_transformers.scales import SCALES
from rtinterp.training.spec import RunSpec


def watched(experiment: Experiment, scale: str) -> list[RunSpec]:
    """All but the ones that are other figures' runs."""
    return [spec for spec in experiment(SCALES[scale], 2, None) if spec.training.kept_steps != "none"]


def test_the_runs_that_are_not_watched_are_those_of_other_figures() -> None:
    of_others = set(EXPERIMENTS["subspaces"](SCALES["quick"], 2, None))
    rest = [spec for spec in frequencies(SCALES["quick"], 2, None) if spec.training.kept_steps == "none"]
    assert [(spec.trainable, spec.seed) for spec in rest] == [("all", 0), ("all", 1)]
    assert of_others.issuperset(rest)
    assert len(watched(release, "quick")) == len(release(SCALES["quick"], 2, None))


def test_steps_rise_by_the_same_factor_up_to_the_last() -> None:
    assert spread(800, 2) == (200, 252, 317, 400, 504, 635, 800)
    assert spread(3, 2) == (1, 2, 3)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("experiment", [frequencies, release], ids=lambda experiment: experiment.__name__)
def test_every_run_keeps_its_start_its_end_and_what_lies_between(scale: str, experiment) -> None:
    for spec in watched(experiment, scale):
        kept = spec.training.kept_steps
        assert (kept[0], kept[-1]) == (0, spec.training.n_steps)
        assert len(kept) >= 10
        assert spec.training.release_at in kept


@pytest.mark.parametrize("scale", SCALES)
def test_no_run_of_another_experiment_is_the_same_but_for_what_it_keeps(scale: str) -> None:
    of_language = PAPER.on_language
    others = {
        spec
        for experiments in (EXPERIMENTS, {n: e for n, e in PAPER.experiments.items() if n not in of_language})
        for experiment in experiments.values()
        if experiment not in (frequencies, release)
        for spec in experiment(SCALES[scale], 2, None)
    }
    specs = [spec for experiment in (frequencies, release) for spec in watched(experiment, scale)]
    assert len(set(specs)) == len(specs)
    assert others.isdisjoint(specs)


@pytest.mark.parametrize("scale", SCALES)
def test_the_arms_start_from_the_same_tensors_and_end_with_the_same_training(scale: str) -> None:
    specs = release(SCALES[scale], 2, None)
    assert len(specs) == 2 * 2 * len(RELEASED_TASKS)
    for arm in range(0, len(specs), 4):
        for released, of_all in zip(specs[arm : arm + 2], specs[arm + 2 : arm + 4], strict=True):
            assert released.held_back(0) | {"embed.W_E", "pos_embed.W_pos", "unembed.W_U"} == {
                parameter.name for parameter in of_all.trained_parameters()
            }
            after = dataclasses.replace(
                released.training, release_at=0, rate_before_release=None, kept_steps="none",
                n_steps=of_all.training.n_steps,
            )  # fmt: skip
            assert released.training.n_steps - released.training.release_at == of_all.training.n_steps
            assert after == of_all.training
            assert dataclasses.replace(released, training=of_all.training) == of_all
