"""What is measured of a model at the steps that its training kept, in a table with a row for every number."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import polars as pl
import torch

from rtinterp.analysis import (
    accuracy,
    attention_patterns,
    attention_score,
    mean_ablation,
    minimal_circuits,
    nodes_of,
    principal_subspace,
    project,
    ranks_up_to,
    shapley_values,
    subset_values,
)
from rtinterp.analysis.activations import activations_at
from rtinterp.analysis.batches import positions_that_feed
from rtinterp.analysis.continuation import Continuation
from rtinterp.analysis.explained_variance import StreamingCovariance
from rtinterp.analysis.rank_curves import least_rank
from rtinterp.analysis.rank_thresholds import refined_curve
from rtinterp.tasks import Batch, NeedleInAHaystack
from rtinterp.tasks.causal_task import CausalTask

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel

#: Test sequences of which accuracy and least ranks are measured, and the first of them whose circuits are.
N_TEST_SEQUENCES, N_CIRCUIT_SEQUENCES = 128, 64
#: Training sequences that bases and means are found from.
N_BASIS_SEQUENCES = 256
SEED = 0
SITE = "blocks.0.hook_resid_post"
#: Of the accuracy above the floor, what counts as enough.
SHARE = 0.95
#: Where less than this share of what can be learnt has been learnt, there is nothing to look for.
LEARNT = 0.5
ROLES = {"marker": "values attend to their marker", "retrieval": "the query attends to its value"}


class Measures:
    """The sequences of a task that models are measured on.

    Args:
        floor: the accuracy of who understands nothing.

    Attributes:
        test_sequences: those of which accuracies are.
    """

    def __init__(self, task: CausalTask, floor: float) -> None:
        generator = torch.Generator().manual_seed(SEED)
        test_set = task.test_set()
        self.test_sequences = test_set[torch.randperm(len(test_set), generator=generator)[:N_TEST_SEQUENCES]]
        self._training = task.sample(N_BASIS_SEQUENCES, generator)
        self._task, self._floor = task, floor

    def cheap(self, model: HookedModel) -> pl.DataFrame:
        """Measure accuracy and, where heads have known roles, the attention of every head that could play them."""
        return _rows([("accuracy", "test", accuracy(model, self.test_sequences)), *self._scores(model)])

    def dear(self, model: HookedModel) -> pl.DataFrame:
        """Measure the least rank and the circuits of a model that has learnt most of the task; no row otherwise."""
        intact = accuracy(model, self.test_sequences)
        if intact < self._floor + LEARNT * (1 - self._floor):
            return _rows([])
        rank = self._least_rank(model, intact)
        rows = [] if rank is None else [("least rank", SITE, float(rank))]
        return _rows([*rows, *self._circuits(model)])

    def _scores(self, model: HookedModel) -> Iterable[tuple[str, str, float]]:
        if not isinstance(self._task, NeedleInAHaystack):
            return
        tokens = self.test_sequences.tokens
        patterns = attention_patterns(model, tokens)
        row, marker_pos, value_pos = self._task.key_value_positions(tokens)
        query, asked_for = self._task.query_position(tokens), self._task.queried_value_position(tokens)
        looks = {"marker": (row, value_pos, marker_pos), "retrieval": (row.unique(), query, asked_for)}
        for layer, (role, (batch_index, query_pos, key_pos)) in enumerate(looks.items()):
            scores = attention_score(patterns, batch_index=batch_index, query_pos=query_pos, key_pos=key_pos)
            for head, score in enumerate(scores[layer].tolist()):
                yield f"{role} score", f"L{layer}H{head}", score

    def _least_rank(self, model: HookedModel, intact: float) -> int | None:
        h = activations_at(model, self._training.tokens, SITE)[positions_that_feed(self._training.scored)]
        covariance = StreamingCovariance(h.shape[1], device=h.device)
        covariance.update(h)
        subspace = principal_subspace(covariance.covariance, covariance.mean)
        rest = Continuation(model, self.test_sequences, SITE)
        curve = refined_curve(
            lambda rank: rest.value(project(SITE, subspace.first(rank))),
            ranks_up_to(subspace.d_model), intact, self._floor, (SHARE,),
        )  # fmt: skip
        return least_rank(curve, intact, self._floor, SHARE)

    def _circuits(self, model: HookedModel) -> Iterable[tuple[str, str, float]]:
        batch: Batch = self.test_sequences[:N_CIRCUIT_SEQUENCES]
        roles, n_roles = self._task.roles, len(self._task.role_names)
        values = subset_values(model, batch, mean_ablation(model, [self._training.tokens], roles, n_roles))
        yield from (
            ("Shapley value", str(node), value)
            for node, value in zip(nodes_of(model), shapley_values(values).tolist(), strict=True)
        )
        enough = self._floor + SHARE * (values[-1].item() - self._floor)
        sizes = [circuit.bit_count() for circuit in minimal_circuits(values, enough)]
        yield "minimal circuits", "number", float(len(sizes))
        if sizes:
            yield "minimal circuits", "least size", float(min(sizes))


def _rows(rows: Iterable[tuple[str, str, float]]) -> pl.DataFrame:
    schema = {"measure": pl.String, "item": pl.String, "value": pl.Float64}
    return pl.DataFrame(list(rows), schema=schema, orient="row")
