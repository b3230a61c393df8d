"""The experiments by name: which runs each needs at a scale."""

from __future__ import annotations

from rtinterp.figures.paper import Experiment
from rtinterp.models.regimes import Trainable
from rtinterp.papers.affine_recurrences.scales import Scale
from rtinterp.tasks import Corpus
from rtinterp.training.spec import RunSpec

REGIMES: tuple[Trainable, ...] = ("all", "frozen_qk", "embeddings")


def opened(scale: Scale, n_seeds: int, corpus: Corpus | None) -> list[RunSpec]:
    """List the fully trained models that are opened."""
    return _runs(scale, scale.width, "all", n_seeds)


def regimes(scale: Scale, n_seeds: int, corpus: Corpus | None) -> list[RunSpec]:
    """List models that train more or less of themselves, at growing widths."""
    return [
        run for d_model in scale.widths for trainable in REGIMES for run in _runs(scale, d_model, trainable, n_seeds)
    ]


def _runs(scale: Scale, d_model: int, trainable: Trainable, n_seeds: int) -> list[RunSpec]:
    body = scale.body(d_model)
    return [RunSpec(scale.task, body, scale.training, trainable, seed) for seed in scale.seeds(n_seeds)]


EXPERIMENTS: dict[str, Experiment] = {"opened": opened, "regimes": regimes}
