"""Which heads, MLPs and positions a model cannot do without, by role and by what replaces them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
import polars as pl
import torch
from jaxtyping import Float
from plotly.subplots import make_subplots
from torch import Tensor

from rtinterp.analysis import (
    Continuation,
    Intervention,
    accuracy,
    activations_at_sites,
    is_right,
    margins,
    means_by_role,
    nats,
    nodes_of,
    optimal_constants,
    positions_that_feed,
    replace,
    replace_by_role,
    replacements,
    residual_sites,
)
from rtinterp.analysis.role_replacements import REPLACEMENTS
from rtinterp.figures import style
from rtinterp.figures.accuracies import floor_columns
from rtinterp.figures.figure import TASK, Figure, task_of, with_run_columns
from rtinterp.figures.regime_style import regime_name
from rtinterp.papers.mechanism.bases import training_batches
from rtinterp.papers.mechanism.grid import N_BODIES
from rtinterp.papers.mechanism.rank_measurements import some_test_sequences
from rtinterp.plot.look import colour_bar
from rtinterp.tasks import Batch
from rtinterp.tasks.causal_task import CausalTask
from rtinterp.training.run import Run

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel

#: Draws what is resampled, the same of every run of a task.
RESAMPLE_SEED = 0
#: What is learnt of nodes: constants by role, from the first of the batches of training sequences that means are of.
OPTIMAL, N_EVALUATIONS = "optimal", 15
HEADS, MLP = "attn.hook_z", "hook_mlp_out"
EMBEDDING, AFTER_FIRST = "embedding", "after layer 0"
#: What the head is called whose mean costs most.
MOST_NEEDED = "most needed"
#: Pixels of a row of a panel, and of what a row of panels has beside them.
ROW_HEIGHT, PANEL_HEIGHT = 17, 120
#: Pixels above the panels, whose titles have three lines.
TITLES_HEIGHT = 40


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run, item and replacement: what is left on test sequences where the item is replaced.

    An item is a node, a head or an MLP, replaced at all positions; or a role, at a site of the residual stream
    (``embedding`` or ``after layer 0``), replaced at the positions that have it;
    roles that no prediction depends on are left out. Zero, the mean over training sequences' positions of the same
    role, or what is drawn from these for each position, stands in its place; in that of a node also ``optimal``, the
    constants by role that training sequences' loss is least with, as far as a short search finds them.
    ``intact`` is the accuracy without. Accuracies are in [0, 1], ``cross_entropy`` in nats, ``logit_difference`` is the
    mean of the right logit less the largest wrong one.
    """
    return pl.concat(with_run_columns(run, _of_run(run)) for run in runs)


def _of_run(run: Run) -> pl.DataFrame:
    task, model, batch = task_of(run, CausalTask), run.model, some_test_sequences(run.spec.task)
    rows = []
    with torch.no_grad():
        for rest, site, item, name, change in _changes(model, task, training_batches(run), batch):
            rows.append({"site": site, "item": item, "replacement": name, **_measures(rest, change)})
    extra = {"intact": accuracy(model, batch), "n_test_rows": len(batch), **floor_columns(task)}
    return pl.DataFrame(rows).with_columns(**{name: pl.lit(value) for name, value in extra.items()})


def _changes(
    model: HookedModel, task: CausalTask, training: Sequence[Batch], batch: Batch
) -> Iterator[tuple[Continuation, str, str, str, Intervention]]:
    """Every item and replacement: the model from there on, where, what, by what, and the intervention that does it."""
    pool, n_roles = torch.cat([one.tokens for one in training]), len(task.role_names)
    roles, pool_roles = task.roles(batch.tokens), task.roles(pool)
    that_feed = roles[positions_that_feed(batch.scored)].unique().tolist()
    nodes, sites = nodes_of(model), residual_sites(model)
    points = {f"blocks.{node.layer}.{HEADS if node.head is not None else MLP}": node.layer for node in nodes}
    ready = activations_at_sites(model, pool, [*points, sites[0], sites[2]])

    def instead(rest: Continuation) -> Iterator[tuple[str, Float[Tensor, ...]]]:
        generator = torch.Generator().manual_seed(RESAMPLE_SEED)
        for name, values in replacements(ready[rest.site], pool_roles, roles, n_roles, generator):
            yield name, values[:, : rest.activations.shape[1]]

    for point, layer in points.items():
        rest, learnt_on = Continuation(model, batch, point), Continuation(model, training[0], point)
        means = means_by_role(ready[point], pool_roles, n_roles)
        of_point = [node for node in nodes if node.layer == layer and (node.head is None) == point.endswith(MLP)]
        by_node = {node: None if node.head is None else (node.head,) for node in of_point}
        for name, values in instead(rest):
            for node, heads in by_node.items():
                yield rest, f"layer {layer}", str(node), name, replace(point, values, heads=heads)
        for node, heads in by_node.items():
            constants = optimal_constants(learnt_on, task.roles, means, heads=heads, n_evaluations=N_EVALUATIONS)
            change = replace_by_role(point, constants, task.roles, heads=heads)
            yield rest, f"layer {layer}", str(node), OPTIMAL, change
    for site, point in ((EMBEDDING, sites[0]), (AFTER_FIRST, sites[2])):
        rest = Continuation(model, batch, point)
        for name, values in instead(rest):
            for role in that_feed:
                where = (roles == role)[:, : values.shape[1]]
                yield rest, site, task.role_names[role], name, replace(point, values, where)


def _measures(rest: Continuation, change: Intervention) -> dict[str, float]:
    logits, expected = rest.logits(change), rest.expected
    return {
        "accuracy": is_right(logits, expected).double().mean().item(),
        "cross_entropy": nats(logits, expected).double().mean().item(),
        "logit_difference": margins(logits, expected).double().mean().item(),
    }


def ranked(table: pl.DataFrame) -> pl.DataFrame:
    """Name heads by how much their mean costs, layer by layer, since those of two seeds do not correspond.

    Returns:
        the same rows with ``name``: ``"most needed head of L0"`` is that of layer 0 without which least is left.
    """
    keys = ["task", "trainable", "seed", "site"]
    is_head = pl.col("item").str.contains(r"^L\d+H\d+$")
    by_mean = table.filter(is_head, pl.col("replacement") == "mean").sort(*keys, "accuracy", "item")
    order = by_mean.select(*keys, "item", pl.col("item").cum_count().over(keys).alias("place"))
    nth = {place: _nth_most_needed(place) for place in order["place"].unique()}
    rank = pl.col("place").replace_strict(nth, default=None, return_dtype=pl.String)
    told = pl.when(pl.col("place").is_not_null()).then(
        pl.format("{} of {}", rank, pl.col("item").str.extract(r"^(L\d+)"))
    )
    named = told.when(pl.col("item").str.ends_with("MLP")).then(pl.col("item"))
    joined = table.join(order, on=[*keys, "item"], how="left", maintain_order="left")
    return joined.with_columns(named.otherwise(pl.format("{}: {}", "site", "item")).alias("name")).drop("place")


def _nth_most_needed(place: int) -> str:
    if place == 1:
        return f"{MOST_NEEDED} head"
    return f"{ {2: '2nd', 3: '3rd'}.get(place, f'{place}th') } {MOST_NEEDED}"


def plot(table: pl.DataFrame) -> go.Figure:
    named = ranked(table)
    tasks, regimes = (table[name].unique(maintain_order=True).to_list() for name in ("task", "trainable"))
    panels = [
        named.filter(pl.col("task") == task, pl.col("trainable") == trainable)
        for trainable in regimes
        for task in tasks
    ]
    figure = make_subplots(
        len(regimes), len(tasks), subplot_titles=[_title(panel) for panel in panels],
        horizontal_spacing=0.11, vertical_spacing=0.12 / len(regimes),
    )  # fmt: skip
    for number, panel in enumerate(panels):
        row, column = divmod(number, len(tasks))
        if not panel.is_empty():
            figure.add_trace(_heatmap(panel), row=row + 1, col=column + 1)
    figure.update_yaxes(autorange="reversed", tickfont_size=10).update_xaxes(tickangle=0, tickfont_size=10)
    figure.update_annotations(font_size=12)
    bar = colour_bar("accuracy left") | {"tickformat": ".0%"}
    figure.update_layout(coloraxis={"colorscale": "RdBu", "cmin": 0, "cmax": 1, "colorbar": bar})
    text = (
        f"{style.subtitle(table)}<br>accuracy left, in % (median over seeds), where a head, an MLP or all positions of "
        "a role are replaced; heads of a layer (L0, L1) by how much their mean costs"
    )
    n_rows = max(panel["name"].n_unique() for panel in panels)
    height = (ROW_HEIGHT * n_rows + PANEL_HEIGHT) * len(regimes)
    style.finish_with(figure, FIGURE.title, text, width=1480, height=height)
    above = figure.to_dict()["layout"]["margin"]["t"]
    return figure.update_layout(margin_t=above + TITLES_HEIGHT)


def _title(panel: pl.DataFrame) -> str:
    if panel.is_empty():
        return ""
    intact = style.small(f"intact: {panel['intact'].median():.0%}")
    return f"{style.task_title(panel['task'][0])},<br>{regime_name(panel['trainable'][0])}{intact}"


def _heatmap(panel: pl.DataFrame) -> go.Heatmap:
    names = panel["name"].unique(maintain_order=True).to_list()
    names.sort(key=_place)
    left = panel.group_by("name", "replacement").agg(pl.col("accuracy").median())
    values = dict(zip(zip(left["name"], left["replacement"], strict=True), left["accuracy"], strict=True))
    shown = [*REPLACEMENTS, *([OPTIMAL] if OPTIMAL in set(left["replacement"]) else [])]
    z = [[values.get((name, replacement)) for replacement in shown] for name in names]
    text: list[list[Any]] = [["" if value is None else f"{100 * value:.0f}" for value in row] for row in z]
    return go.Heatmap(
        x=shown, y=names, z=z, text=text, texttemplate="%{text}", coloraxis="coloraxis",
        textfont={"size": 10},
    )  # fmt: skip


def _place(name: str) -> tuple[Any, ...]:
    """Nodes layer by layer, the heads first; then roles, in the order in which they were."""
    if ":" in name:
        return (1,)
    is_first = name.startswith(MOST_NEEDED)
    return (0, re.findall(r"L(\d+)", name)[0], name.endswith("MLP"), not is_first, name)


FIGURE = Figure(
    name="figure_replacements",
    title="What a model cannot do without, by role and by what replaces it",
    caption=(
        "Claim tested: whether a head, an MLP or the positions of a role seem necessary does not depend on what "
        "replaces them. One at a time is replaced: by zero; by the mean over positions of the same role, over training "
        "sequences; by what is drawn from these, for each position apart (resample); or, heads and MLPs alone, by the "
        "constants by role with which the loss is least (optimal), as far as a short search on 128 training sequences "
        "finds them. Roles are replaced in the residual stream, at the embedding and after layer 0. Heads are in the "
        "order of what their means cost, since head numbers of two seeds do not correspond: the most needed head of a "
        "layer may be another one in every seed. The csv has loss and logit "
        "difference, too. Found: for heads it does. On needle, a random transformer can do without any one head if "
        "zero or a mean replaces it, at a cost of 29 % at most, but one that writes what belongs to other sequences "
        "costs up to 92 %; and where means in the place of a head of layer 0 make modular addition worse than "
        "guessing, learnt constants leave it there. For roles it does not: after layer 0 markers are no longer needed, "
        "nor is most of the first summand of modular addition, whatever replaces them; at the embedding they are."
    ),
    experiment="subspaces",
    compute=compute,
    plot=plot,
    n_bodies=N_BODIES,
    rows=(TASK, "trainable"),
)
