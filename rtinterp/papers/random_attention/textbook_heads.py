"""The textbook pair of heads: which heads they are in a model, and when the paper's finding counts as reproduced."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import polars as pl
import torch

from rtinterp.analysis import Node, retrieval_scores
from rtinterp.figures.figure import task_of
from rtinterp.tasks import NeedleInAHaystack
from rtinterp.training.run import Run

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel

#: Test sequences that heads are scored on.
N_SCORED_SEQUENCES = 500
#: The layers of the previous-token head and of the retrieval head.
PREVIOUS_LAYER, RETRIEVAL_LAYER = 0, 1
#: Reproduced is an accuracy of at least the first, with a head of either kind above the second; MixiT fails below the
#: third.
LEAST_ACCURACY, LEAST_SCORE, MIXIT_AT_MOST = 0.9, 0.4, 0.2


class Pair(NamedTuple):
    """The head of layer 0 that looks most from values to the position before, and that of layer 1 that looks most from
    the query to the value asked for."""

    previous: Node
    retrieval: Node


def head_scores(run: Run, model: HookedModel) -> pl.DataFrame:
    """Score every head of a model of the run on test sequences, as ``retrieval_scores`` does."""
    task = task_of(run, NeedleInAHaystack)
    return retrieval_scores(model, task.test_set().tokens[:N_SCORED_SEQUENCES], task)


def pair_of(scores: pl.DataFrame) -> Pair:
    """Find the pair among scored heads."""
    kinds = ((PREVIOUS_LAYER, "prev_score"), (RETRIEVAL_LAYER, "retr_score"))
    return Pair(*(Node(layer, _best(scores, layer, score)) for layer, score in kinds))


def _best(scores: pl.DataFrame, layer: int, score: str) -> int:
    of_layer = scores.filter(pl.col("layer") == layer)
    return int(of_layer.sort(score, descending=True)["head"][0])


def has_pair(scores: pl.DataFrame) -> bool:
    """Tell whether both heads look where they should more than the threshold asks."""
    kinds = ((PREVIOUS_LAYER, "prev_score"), (RETRIEVAL_LAYER, "retr_score"))
    return all(max(scores.filter(pl.col("layer") == layer)[score].to_list()) > LEAST_SCORE for layer, score in kinds)


def frozen_unchanged(run: Run) -> bool:
    """Tell whether all that does not train is, bit by bit, what was drawn."""
    trained = {parameter.name for parameter in run.spec.trained_parameters()}
    before, after = (dict(model.named_parameters()) for model in (run.initial_model, run.model))
    return all(torch.equal(before[name], after[name]) for name in before.keys() - trained)
