"""The experiments by name: which runs each needs at a scale, the most valuable first."""

from __future__ import annotations

from rtinterp.figures.paper import Experiment
from rtinterp.models.regimes import Trainable
from rtinterp.papers.ladder.bodies import BODIES, body_of
from rtinterp.papers.ladder.initial_values import INITIAL_VALUES, transformer
from rtinterp.papers.ladder.scales import Scale
from rtinterp.tasks import Corpus
from rtinterp.training.spec import RunSpec

RANDOM_AND_TRAINED: tuple[Trainable, ...] = ("embeddings", "all")


def least_widths(scale: Scale, n_seeds: int, corpus: Corpus | None) -> list[RunSpec]:
    """List random and fully trained transformers of the widths among which the least is looked for."""
    return [
        run
        for course in scale.courses
        for rung in scale.rungs((course.place,))
        for trainable, widths in zip(RANDOM_AND_TRAINED, (course.random, course.trained), strict=True)
        for width in widths
        for run in rung.runs(transformer(width, 2), trainable, range(n_seeds))
    ]


def bodies(scale: Scale, n_seeds: int, corpus: Corpus | None) -> list[RunSpec]:
    """List random and fully trained models of all bodies."""
    return [
        run
        for rung in scale.rungs(scale.of_bodies)
        for trainable in RANDOM_AND_TRAINED
        for name in BODIES
        for run in rung.runs(body_of(name, scale.body_width), trainable, range(n_seeds))
    ]


def depths(scale: Scale, n_seeds: int, corpus: Corpus | None) -> list[RunSpec]:
    """List random transformers of growing depth, with each of the initial values."""
    return [
        run
        for course in scale.of_depth
        for rung in scale.rungs((course.place,))
        for n_layers in course.depths
        for name in INITIAL_VALUES
        for run in rung.runs(transformer(course.width, n_layers, name), "embeddings", range(n_seeds))
    ]


EXPERIMENTS: dict[str, Experiment] = {"least_widths": least_widths, "bodies": bodies, "depths": depths}
