"""What stands in the place of what is taken out, and how much the answers hinge on it: directions and circuits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import plotly.graph_objects as go
import polars as pl
import torch
from jaxtyping import Float
from torch import Tensor

from rtinterp.analysis import (
    Continuation,
    GivenAblation,
    Intervention,
    Subspace,
    accuracy,
    activations_at_sites,
    minimal_circuits,
    most_disjoint,
    node_writes,
    nodes_in,
    positions_that_feed,
    principal_subspace,
    ranks_up_to,
    refined_curve,
    replacements,
    residual_sites,
    subset_values,
)
from rtinterp.analysis.explained_variance import StreamingCovariance
from rtinterp.figures import style
from rtinterp.figures.accuracies import floor_columns
from rtinterp.figures.figure import TASK, Figure, task_of, with_run_columns
from rtinterp.figures.regime_style import regime_name
from rtinterp.papers.mechanism.bases import training_batches
from rtinterp.papers.mechanism.figure_circuits import ENOUGH
from rtinterp.papers.mechanism.figure_rank_curves import site_name
from rtinterp.papers.mechanism.grid import N_BODIES
from rtinterp.papers.mechanism.rank_measurements import N_TEST_SEQUENCES, least_rank_or_none, some_test_sequences
from rtinterp.papers.mechanism.table_ranks import NOT_LEARNT
from rtinterp.tasks import Batch
from rtinterp.tasks.causal_task import CausalTask
from rtinterp.training.run import Run

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel

#: Draws what is resampled, the same of every run of a task.
RESAMPLE_SEED = 0
#: What stands in the place of what is taken out. That of nodes is by role.
OVERALL = "mean"
REFERENCES = (OVERALL, "mean by role", "resample by role", "zero")
OF_REPLACEMENT = {"mean": "mean by role", "resample": "resample by role", "zero": "zero"}
#: Directions are kept until this share of the accuracy above guessing is there, or taken out until so little is left.
KEPT, LEFT = 0.95, 0.5
COUNTS = ("k95", "gone", "n_minimal", "smallest", "n_disjoint")


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run, site and reference: what stands in the place of what is taken out.

    Of the principal directions of the site, ``k95`` is how many have to be kept for 95 % of the accuracy above
    guessing, the reference in the place of the rest; ``gone`` how many have to be replaced by the reference for half of
    it to be lost; null where that is never so. Of the run, with the reference in the place of the nodes that are not
    in them: the minimal circuits, how many there are, how many nodes the smallest has, and how many share no node; null
    for the mean over all positions, and where nothing was learnt.
    """
    return pl.concat(with_run_columns(run, _of_run(run)) for run in runs)


@torch.no_grad()
def _of_run(run: Run) -> pl.DataFrame:
    task, model, batch = task_of(run, CausalTask), run.model, some_test_sequences(run.spec.task)
    floors, intact = floor_columns(task), accuracy(model, batch)
    floor = float(floors["floor_accuracy"])
    circuits = dict(_circuits(model, task, run, batch, floor)) if intact > floor else {}
    rows = [
        {"site": site, "reference": reference, **counts, **circuits.get(reference, {})}
        for site, reference, counts in _directions(model, task, run, batch, intact, floor)
    ]
    extra = {"intact": intact, "n_test_rows": len(batch), **floors}
    # All columns of counts are there even if all are null.
    counts = dict.fromkeys(COUNTS, pl.Int64)
    table = pl.DataFrame(rows, schema={"site": pl.String, "reference": pl.String, **counts})
    return table.with_columns(**{name: pl.lit(value) for name, value in extra.items()})


def _of_references(
    pool: Float[Tensor, "n n_pos *shape"], task: CausalTask, run: Run, batch: Batch
) -> Iterator[tuple[str, Float[Tensor, "batch pos *shape"]]]:
    """What stands at every position of a batch, by role."""
    tokens, generator = torch.cat([one.tokens for one in training_batches(run)]), torch.Generator()
    generator.manual_seed(RESAMPLE_SEED)
    made = replacements(pool, task.roles(tokens), task.roles(batch.tokens), len(task.role_names), generator)
    yield from ((OF_REPLACEMENT[name], values) for name, values in made)


def _directions(
    model: HookedModel, task: CausalTask, run: Run, batch: Batch, intact: float, floor: float
) -> Iterator[tuple[str, str, dict[str, int | None]]]:
    sites = [site for site in residual_sites(model) if not site.endswith("resid_mid")]
    training = training_batches(run)
    fed = torch.cat([positions_that_feed(one.scored) for one in training])
    pools = activations_at_sites(model, torch.cat([one.tokens for one in training]), sites)
    for site in sites:
        of_site = StreamingCovariance(model.cfg.d_model)
        of_site.update(pools[site][fed])
        principal = principal_subspace(of_site.covariance, of_site.mean).to(torch.zeros(()))
        rest = Continuation(model, batch, site)
        references = {OVERALL: principal.centre, **dict(_of_references(pools[site], task, run, batch))}
        for name in REFERENCES:
            values = references[name]
            reference = values if values.ndim == 1 else values[:, : rest.activations.shape[1]]
            yield site, name, _counts(rest, principal, reference, intact, floor)


def _counts(
    rest: Continuation, principal: Subspace, reference: Tensor, intact: float, floor: float
) -> dict[str, int | None]:
    if intact <= floor:
        return {}

    def kept(rank: int) -> float:
        first = principal.first(rank)
        return rest.value(Intervention(rest.site, lambda h, _: first.interchange(reference.expand_as(h), h)))

    def lost(rank: int) -> float:
        """How much of the accuracy is lost, from the floor up, so that more is more."""
        first = principal.first(rank)
        return intact + floor - rest.value(Intervention(rest.site, lambda h, _: first.interchange(h, reference)))

    found = {}
    for name, share, value_at in (("k95", KEPT, kept), ("gone", LEFT, lost)):
        curve = refined_curve(value_at, ranks_up_to(principal.d_model), intact, floor, (share,))
        found[name] = least_rank_or_none(curve.rename({"value": "accuracy"}), intact, floor, share)
    return found


def _circuits(
    model: HookedModel, task: CausalTask, run: Run, batch: Batch, floor: float
) -> Iterator[tuple[str, dict[str, int]]]:
    pool = node_writes(model, torch.cat([one.tokens for one in training_batches(run)]))
    # The nodes after the positions, as roles are of positions.
    for reference, values in _of_references(pool.movedim(0, 2), task, run, batch):
        of_subsets = subset_values(model, batch, GivenAblation(values.movedim(2, 0)))
        enough = floor + ENOUGH * (of_subsets[-1].item() - floor)
        circuits = minimal_circuits(of_subsets, enough)
        smallest = min(len(nodes_in(circuit)) for circuit in circuits)
        yield (
            reference,
            {"n_minimal": len(circuits), "smallest": smallest, "n_disjoint": len(most_disjoint(circuits))},
        )


def plot(table: pl.DataFrame) -> go.Figure:
    sites = table["site"].unique(maintain_order=True).to_list()
    header = [
        "task, model",
        "in place of what<br>is taken out",
        *(f"k95,<br>{site_name(site)}" for site in sites),
        *(f"half is gone,<br>{site_name(site)}" for site in sites),
        "minimal<br>circuits",
        "nodes of<br>the smallest",
        "disjoint",
    ]
    groups = table.partition_by("task", "trainable", "reference", maintain_order=True)
    rows = [_row(of_model, sites) for of_model in groups]
    figure = style.table_figure(header, rows, [1.7, 1.5, *[1.0] * (len(header) - 2)])
    text = (
        f"{style.subtitle(table)}<br>numbers of principal directions, and of circuits and nodes: median over seeds, "
        "minimum to maximum below"
    )
    return style.finish_table_with(figure, FIGURE.title, text, width=1240)


def _row(of_model: pl.DataFrame, sites: list[str]) -> list[str]:
    task, trainable, reference = of_model.select("task", "trainable", "reference").row(0)
    label = [style.task_title(task) + style.small(regime_name(trainable)), reference]
    if (of_model["intact"] <= of_model["heuristic_accuracy"]).any():
        return [*label, NOT_LEARNT, *[""] * (2 * len(sites) + 2)]
    of_sites = [_cell(of_model.filter(site=site)[name]) for name in ("k95", "gone") for site in sites]
    runs = of_model.filter(site=sites[0])
    return [*label, *of_sites, *(_cell(runs[name]) for name in ("n_minimal", "smallest", "n_disjoint"))]


def _cell(counts: pl.Series) -> str:
    return "" if counts.null_count() else style.median_and_range_of(counts, ".0f")


FIGURE = Figure(
    name="table_references",
    title="What is put in the place of what is taken out",
    caption=(
        "Claim tested, of random transformers: how many directions suffice, how many are missed, and which circuits do "
        "the task does not depend on what stands in the place of what is taken out. There stand: the mean over all "
        "positions, as in the curves; the mean over positions of the same role; what another training sequence has at "
        "a position of the same role, drawn for each position apart; or zero, which the model never sees, for "
        "comparison only. <i>k95</i>: the least number of principal directions that, kept, leave 95 % of the accuracy "
        "above guessing. <i>Half is gone</i>: the least number that, taken out, leave no more than half of it; empty "
        "where in some seed no number does. Circuits as in the figure of circuits: they reach "
        f"{ENOUGH:.0%} of it, and nodes that are not in them write the reference. Measured on {N_TEST_SEQUENCES} test "
        "sequences. Found: that few directions suffice does not, at most 50 if the rest is resampled and 46 if it is a "
        "mean, nor that no two circuits are disjoint. The numbers do: resampled, needle's smallest circuits grow from "
        "3 to 4 nodes to 6 to 7, and those of parentheses from 6 to 7 to all 10."
    ),
    experiment="bodies",
    compute=compute,
    plot=plot,
    n_bodies=N_BODIES,
    rows=(TASK,),
)
