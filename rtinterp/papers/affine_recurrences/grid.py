"""The experiments by name: which runs each needs at a scale."""

from __future__ import annotations

import dataclasses

from rtinterp.figures.paper import Experiment
from rtinterp.models.regimes import Trainable
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.papers.affine_recurrences.scales import Scale
from rtinterp.tasks import Corpus
from rtinterp.training.spec import RunSpec

REGIMES: tuple[Trainable, ...] = ("all", "frozen_qk", "embeddings")


def opened(scale: Scale, n_seeds: int, corpus: Corpus | None) -> list[RunSpec]:
    """List the fully trained models that are opened."""
    return _runs(scale, scale.body(scale.width), "all", n_seeds)


def regimes(scale: Scale, n_seeds: int, corpus: Corpus | None) -> list[RunSpec]:
    """List models that train more or less of themselves, at growing widths, then such whose attention is random."""
    bodies = [scale.body(d_model) for d_model in scale.widths]
    mixing = [dataclasses.replace(body, attention="random_mixing") for body in bodies]
    kinds = [*((body, trainable) for body in bodies for trainable in REGIMES), *((body, "all") for body in mixing)]
    return [run for body, trainable in kinds for run in _runs(scale, body, trainable, n_seeds)]


def _runs(scale: Scale, body: ModelSpec, trainable: Trainable, n_seeds: int) -> list[RunSpec]:
    return [RunSpec(scale.task, body, scale.training, trainable, seed) for seed in scale.seeds(n_seeds)]


EXPERIMENTS: dict[str, Experiment] = {"opened": opened, "regimes": regimes}
