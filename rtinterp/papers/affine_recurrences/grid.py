"""The experiments by name: which runs each needs at a scale."""

from __future__ import annotations

import dataclasses
import itertools

from rtinterp.figures.paper import Experiment
from rtinterp.models.regimes import Trainable
from rtinterp.models.transformer.presets import mixit
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.papers.affine_recurrences.scales import Scale
from rtinterp.tasks import Corpus
from rtinterp.training.spec import RunSpec

REGIMES: tuple[Trainable, ...] = ("all", "frozen_qk", "embeddings")
FULLY_TRAINED_AND_RANDOM: tuple[Trainable, ...] = ("all", "embeddings")


def opened(scale: Scale, n_seeds: int, corpus: Corpus | None) -> list[RunSpec]:
    """List the fully trained models that are opened."""
    return _runs(scale, scale.body(scale.width), "all", n_seeds)


def budgets(scale: Scale, n_seeds: int, corpus: Corpus | None) -> list[RunSpec]:
    """List the models that are opened, then such that train for longer."""
    runs = opened(scale, n_seeds, corpus)
    longer = dataclasses.replace(scale.training, n_steps=scale.longer)
    return runs + [dataclasses.replace(run, training=longer) for run in runs]


def regimes(scale: Scale, n_seeds: int, corpus: Corpus | None) -> list[RunSpec]:
    """List models that train more or less of themselves, at growing widths, then such whose attention is random.

    Of these the first differ from the others in attention alone; the second are MixiT as published.
    """
    bodies = [scale.body(d_model) for d_model in scale.widths]
    mixing = [dataclasses.replace(body, attention="random_mixing") for body in bodies]
    mixing += [mixit(body.d_model, body.n_layers) for body in bodies]
    kinds = [*((body, trainable) for body in bodies for trainable in REGIMES), *((body, "all") for body in mixing)]
    return [run for body, trainable in kinds for run in _runs(scale, body, trainable, n_seeds)]


def tasks(scale: Scale, n_seeds: int, corpus: Corpus | None) -> list[RunSpec]:
    """List a fully trained and a random transformer of the same width for every other task."""
    training = dataclasses.replace(scale.training, n_steps=scale.briefer)
    of_task = (dataclasses.replace(scale, task=task, training=training) for task in scale.other_tasks)
    kinds = itertools.product(of_task, FULLY_TRAINED_AND_RANDOM)
    return [run for each, trainable in kinds for run in _runs(each, each.body(each.width), trainable, n_seeds)]


def _runs(scale: Scale, body: ModelSpec, trainable: Trainable, n_seeds: int) -> list[RunSpec]:
    return [RunSpec(scale.task, body, scale.training, trainable, seed) for seed in scale.seeds(n_seeds)]


EXPERIMENTS: dict[str, Experiment] = {"opened": opened, "regimes": regimes, "budgets": budgets, "tasks": tasks}
