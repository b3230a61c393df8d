"""How many dimensions embeddings need where training can use no more, beside how many it uses where it can."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
import polars as pl
import torch
from plotly.subplots import make_subplots

from rtinterp.analysis import (
    Continuation,
    accuracy,
    least_rank,
    project,
    ranks_up_to,
    refined_curve,
    residual_sites,
    site_statistics,
)
from rtinterp.figures import style
from rtinterp.figures.accuracies import floor_columns
from rtinterp.figures.curves import log_axis
from rtinterp.figures.figure import TASK, Figure, with_run_columns
from rtinterp.models.parametrisations import LowRank, Parametrisation, RandomSubspace, ReadSubspace
from rtinterp.papers.mechanism.grid import EMBEDDINGS, N_BODIES
from rtinterp.plot.look import COLOURS, axes
from rtinterp.tasks import Batch
from rtinterp.training.run import Run
from rtinterp.training.spec import RunSpec

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel

#: Training sequences that principal directions are found from, in batches; test sequences.
N_BATCHES, BATCH_SIZE, N_TEST_SEQUENCES = 4, 128, 512
BASES_SEED = 0
SHARE = 0.95
NOTHING = "nothing"
#: What is restricted, in the order of the legend.
KINDS = (
    "all embeddings",
    "all embeddings, random directions",
    "all embeddings, directions read most",
    "all embeddings, directions read least",
    "W_E",
    "W_pos",
    "W_U",
)


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run: what is restricted, to which rank, and the accuracy on test sequences, in [0, 1].

    Of runs without restriction, whose rank is d_model, ``k95_embedding`` and ``k95_end`` are the least numbers of
    principal directions of the embedding, and of the stream after the last layer, that keep 95 % of the accuracy above
    the task's chance level; null if none do, or if the model has nothing to keep.
    """
    return pl.concat(with_run_columns(run, _of_run(run)) for run in runs)


def _of_run(run: Run) -> pl.DataFrame:
    task, model, restriction = run.spec.task, run.model, run.spec.parametrisation
    generator = torch.Generator().manual_seed(BASES_SEED)
    batches = [task.sample(BATCH_SIZE, generator) for _ in range(N_BATCHES)]
    test_set = task.test_set()
    test = test_set[torch.randperm(len(test_set), generator=generator)[:N_TEST_SEQUENCES]]
    floors, reached = floor_columns(task), accuracy(model, test)
    sites = residual_sites(model)
    found = (None, None)
    if restriction is None and reached > float(floors["floor_accuracy"]):
        found = tuple(
            _k95(model, batches, test, site, reached, float(floors["floor_accuracy"])) for site in (sites[0], sites[-1])
        )
    row = {
        "parametrisation": parametrisation(run.spec),
        "restricted": kind(restriction),
        "rank": rank(restriction, model.cfg.d_model),
        "accuracy": reached,
        "k95_embedding": found[0],
        "k95_end": found[1],
        "n_test_rows": len(test),
        **floors,
    }
    return pl.DataFrame([row], schema_overrides={"k95_embedding": pl.Int64, "k95_end": pl.Int64})


def _k95(
    model: HookedModel, batches: Sequence[Batch], test: Batch, site: str, intact: float, floor: float
) -> int | None:
    principal, rest = site_statistics(model, batches, site).principal, Continuation(model, test, site)

    def kept(n_directions: int) -> float:
        return rest.value(project(site, principal.first(n_directions)))

    curve = refined_curve(kept, ranks_up_to(principal.d_model), intact, floor, shares=(SHARE,))
    return least_rank(curve, intact, floor, SHARE)


def parametrisation(spec: RunSpec) -> str:
    """What trains in place of embeddings, as a table tells it."""
    return repr(spec.parametrisation)


def kind(restriction: Parametrisation | None) -> str:
    """Which embeddings are restricted; a matrix that could be of no larger rank counts as restricted along."""
    if restriction is None:
        return NOTHING
    if isinstance(restriction, RandomSubspace):
        return KINDS[1]
    if isinstance(restriction, ReadSubspace):
        return KINDS[2] if restriction.end == "most" else KINDS[3]
    names = [name for name in EMBEDDINGS if name in restriction.tensors]
    return names[0].rpartition(".")[2] if len(names) == 1 else KINDS[0]


def rank(restriction: Parametrisation | None, d_model: int) -> int:
    """The rank that embeddings are restricted to; d_model where they are not."""
    if isinstance(restriction, LowRank):
        return restriction.rank
    return restriction.dimension if isinstance(restriction, RandomSubspace | ReadSubspace) else d_model


def least_sufficient_rank(table: pl.DataFrame, restricted: str) -> int | None:
    """Find r*: the least trained rank from which on 95 % of the accuracy above chance is kept; None if none does.

    Args:
        table: the rows of one task, of which medians over seeds count.
    """
    medians = table.group_by("restricted", "rank").agg(pl.col("accuracy").median().alias("value"))
    intact = medians.filter(pl.col("restricted") == NOTHING)["value"].item()
    curve = medians.filter(pl.col("restricted") == restricted).select("rank", "value")
    floor = table["floor_accuracy"][0]
    return least_rank(curve, intact, floor, SHARE) if intact > floor else None


def plot(table: pl.DataFrame) -> go.Figure:
    tasks = table["task"].unique(maintain_order=True).to_list()
    figure = make_subplots(1, len(tasks), subplot_titles=[_title(table, task) for task in tasks], shared_yaxes=True)
    for column, task in enumerate(tasks, 1):
        _add_panel(figure, table.filter(pl.col("task") == task), {"row": 1, "col": column})
    axes(figure).update_yaxes(range=[-0.03, 1.05], tickformat=".0%")
    figure.update_layout(legend={"orientation": "h", "x": 0.5, "xanchor": "center", "y": -0.2})
    text = f"{style.subtitle(table)}<br>by the rank that embeddings are trained in; line: without restriction"
    style.finish_with(figure, "Fewer dimensions for the embeddings", text, width=360 * len(tasks) + 100, height=470)
    return figure.update_layout(margin_b=110)


def _title(table: pl.DataFrame, task: str) -> str:
    of_task = table.filter(pl.col("task") == task)
    k95, least = of_task["k95_embedding"].drop_nulls(), least_sufficient_rank(of_task, KINDS[0])
    told = f"k95 = {k95.median():g}" if len(k95) else "no k95"
    return f"{style.task_title(task)}{style.small(f'{told}, r* = {least}' if least else f'{told}, no r*')}"


def _add_panel(figure: go.Figure, table: pl.DataFrame, place: dict[str, Any]) -> None:
    for name, colour in zip(KINDS, COLOURS, strict=False):
        rows = table.filter(pl.col("restricted") == name).sort("rank")
        medians = rows.group_by("rank", maintain_order=True).agg(pl.col("accuracy").median())
        look: dict[str, Any] = {"legendgroup": name, "marker": {"color": colour, "size": 5}}
        figure.add_scatter(
            x=medians["rank"].to_list(), y=medians["accuracy"].to_list(), name=name, mode="lines",
            line={"color": colour, "width": 1.8}, showlegend=place["col"] == 1, **look, **place,
        )  # fmt: skip
        figure.add_scatter(
            x=rows["rank"].to_list(), y=rows["accuracy"].to_list(), mode="markers", showlegend=False, **look, **place
        )
    whole = table.filter(pl.col("restricted") == NOTHING)["accuracy"].median()
    figure.add_hline(y=whole, line={"color": style.FLOOR_COLOUR, "dash": "dash", "width": 1}, **place)
    log_axis(figure, table.filter(pl.col("restricted") != NOTHING)["rank"].unique().sort().to_list(), "", **place)


FIGURE = Figure(
    name="figure_rank_dial",
    title="Fewer dimensions for the embeddings",
    caption=(
        "Claim tested: embeddings need as many dimensions as the principal directions that suffice to keep what they "
        "learnt without restriction. Embeddings of random transformers are trained as products of rank r, all of them "
        "or one alone, or in the span of r given directions that they share: random ones, or those that the body reads "
        "most or least; all else is as without (dashed). A "
        "matrix that could be of no larger rank stays as it is. In the titles, k95: the least number of "
        "principal directions of the unrestricted embedding that keeps 95 % of the accuracy above chance; r*: the "
        "least rank trained, of all embeddings, that reaches as much (medians). Every dot is a body; lines "
        "join medians. The budget is that of unrestricted training, so a rank that fails here may only be slow. "
        "Found: on decimal addition and parentheses no, fewer suffice; trained where there are only 4 (2) to use, "
        "these do what unrestricted training spreads over 13 (6 to 14), and it is the unembedding that needs them. In "
        "directions that training cannot choose, 64 are not enough for decimal addition, whether the body reads them "
        "or not. On modular addition and needle no rank that was trained is enough in this budget."
    ),
    experiment="rank_dial",
    compute=compute,
    plot=plot,
    n_bodies=N_BODIES,
    rows=(TASK,),
    more_columns={"parametrisation": parametrisation},
)
