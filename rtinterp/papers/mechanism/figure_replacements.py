"""Which heads, MLPs and positions a model cannot do without, by role and by what replaces them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
import polars as pl
import torch
from jaxtyping import Float, Int64
from plotly.subplots import make_subplots
from torch import Tensor

from rtinterp.analysis import (
    Intervention,
    activations_at,
    intervene,
    is_right,
    margins,
    nats,
    nodes_of,
    positions_that_feed,
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
EMBEDDING, AFTER_FIRST = "embedding", "after layer 0"
#: Pixels of a row of a panel, and of what a row of panels has beside them.
ROW_HEIGHT, PANEL_HEIGHT = 17, 120
#: Pixels above the panels, whose titles have three lines.
TITLES_HEIGHT = 40


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run, item and replacement: what is left on test sequences where the item is replaced.

    An item is a node, a head or an MLP, replaced at all positions; or a role, at a site of the residual stream
    (``embedding`` or ``after layer 0``), replaced at the positions that have it;
    roles that no prediction depends on are left out. Zero, the mean over training
    sequences' positions of the same role, or what is drawn from these for each position, stands in its place.
    ``intact`` is the accuracy without. Accuracies are in [0, 1], ``cross_entropy`` in nats, ``logit_difference`` is the
    mean of the right logit less the largest wrong one.
    """
    return pl.concat(with_run_columns(run, _of_run(run)) for run in runs)


def _of_run(run: Run) -> pl.DataFrame:
    task, model = task_of(run, CausalTask), run.model
    pool, batch = torch.cat([one.tokens for one in training_batches(run)]), some_test_sequences(task)
    intact = _measures(model, batch)["accuracy"]
    rows = [
        {"site": site, "item": item, "replacement": name, **_measures(model, batch, change)}
        for site, item, name, change in _changes(model, task, pool, batch)
    ]
    extra = {"intact": intact, "n_test_rows": len(batch), **floor_columns(task)}
    return pl.DataFrame(rows).with_columns(**{name: pl.lit(value) for name, value in extra.items()})


def _changes(
    model: HookedModel, task: CausalTask, pool: Int64[Tensor, "n n_pos"], batch: Batch
) -> Iterator[tuple[str, str, str, Intervention]]:
    """Every item and replacement: where, what, by what, and the intervention that does it."""
    roles, pool_roles, n_roles = task.roles(batch.tokens), task.roles(pool), len(task.role_names)
    that_feed = roles[positions_that_feed(batch.scored)].unique().tolist()

    def instead(point: str) -> Iterator[tuple[str, Float[Tensor, ...]]]:
        generator = torch.Generator().manual_seed(RESAMPLE_SEED)
        return replacements(activations_at(model, pool, point), pool_roles, roles, n_roles, generator)

    for layer in range(model.cfg.n_layers):
        for point in (f"blocks.{layer}.attn.hook_z", f"blocks.{layer}.hook_mlp_out"):
            nodes = [
                node for node in nodes_of(model) if node.layer == layer and (node.head is None) == ("mlp" in point)
            ]
            for name, values in instead(point):
                for node in nodes:
                    heads = None if node.head is None else (node.head,)
                    yield f"layer {layer}", str(node), name, _put(point, values, None, heads)
    sites = residual_sites(model)
    for site, point in ((EMBEDDING, sites[0]), (AFTER_FIRST, sites[2])):
        for name, values in instead(point):
            for role in that_feed:
                yield site, task.role_names[role], name, _put(point, values, roles == role, None)


def _put(point: str, values: Tensor, where: Tensor | None, heads: tuple[int, ...] | None) -> Intervention:
    return Intervention(point, lambda *_: values, where, heads)


@torch.no_grad()
def _measures(model: HookedModel, batch: Batch, *changes: Intervention) -> dict[str, float]:
    with intervene(model, *changes):
        logits = model(batch.tokens)[batch.scored]
    expected = batch.scored_targets
    return {
        "accuracy": is_right(logits, expected).double().mean().item(),
        "cross_entropy": nats(logits, expected).double().mean().item(),
        "logit_difference": margins(logits, expected).double().mean().item(),
    }


def ranked(table: pl.DataFrame) -> pl.DataFrame:
    """Name heads by how much their mean costs, layer by layer, since those of two seeds do not correspond.

    Returns:
        the same rows with ``name``: ``"head 1 of layer 0"`` is the head of the layer without which least is left.
    """
    keys = ["task", "trainable", "seed", "site"]
    is_head = pl.col("item").str.contains(r"^L\d+H\d+$")
    by_mean = table.filter(is_head, pl.col("replacement") == "mean").sort(*keys, "accuracy", "item")
    order = by_mean.select(*keys, "item", pl.col("item").cum_count().over(keys).alias("place"))
    told = pl.when(pl.col("place").is_not_null()).then(pl.format("head {} of {}", "place", "site"))
    named = told.when(pl.col("item").str.ends_with("MLP")).then(pl.format("MLP of {}", "site"))
    joined = table.join(order, on=[*keys, "item"], how="left", maintain_order="left")
    return joined.with_columns(named.otherwise(pl.format("{}: {}", "site", "item")).alias("name")).drop("place")


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
    figure.update_yaxes(autorange="reversed", tickfont_size=10).update_annotations(font_size=12)
    bar = colour_bar("accuracy left") | {"tickformat": ".0%"}
    figure.update_layout(coloraxis={"colorscale": "RdBu", "cmin": 0, "cmax": 1, "colorbar": bar})
    text = (
        f"{style.subtitle(table)}<br>accuracy left, in % (median over seeds), where a head, an MLP or all positions of "
        "a role are replaced; heads by how much their mean costs"
    )
    n_rows = max(panel["name"].n_unique() for panel in panels)
    height = (ROW_HEIGHT * n_rows + PANEL_HEIGHT) * len(regimes)
    style.finish_with(figure, FIGURE.title, text, width=1320, height=height)
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
    z = [[values[name, replacement] for replacement in REPLACEMENTS] for name in names]
    text: list[list[Any]] = [[f"{100 * value:.0f}" for value in row] for row in z]
    return go.Heatmap(
        x=list(REPLACEMENTS), y=names, z=z, text=text, texttemplate="%{text}", coloraxis="coloraxis",
        textfont={"size": 10},
    )  # fmt: skip


def _place(name: str) -> tuple[Any, ...]:
    """Nodes layer by layer, the heads first; then roles, in the order in which they were."""
    return (1,) if ":" in name else (0, name[-1], name.startswith("MLP"), name)


FIGURE = Figure(
    name="figure_replacements",
    title="What a model cannot do without, by role and by what replaces it",
    caption=(
        "Claim tested: whether a head, an MLP or the positions of a role seem necessary does not depend on what "
        "replaces them. One at a time is replaced: by zero; by the mean over positions of the same role, over training "
        "sequences; or by what is drawn from these, for each position apart (resample). Roles are replaced in the "
        "residual stream, at the embedding and after layer 0. Heads are in the order of what their means cost, since "
        "head numbers of two seeds do not correspond. The csv has loss and logit difference, too. Found: for heads it "
        "does. On needle, a random transformer can do without any one head if zero or a mean replaces it, at a cost of "
        "29 % at most, but one that writes what belongs to other sequences costs up to 92 %. For roles it does not: "
        "after layer 0 markers are no longer needed, nor is most of the first summand of modular addition, whatever "
        "replaces them; at the embedding they are."
    ),
    experiment="subspaces",
    compute=compute,
    plot=plot,
    n_bodies=N_BODIES,
    rows=(TASK, "trainable"),
)
