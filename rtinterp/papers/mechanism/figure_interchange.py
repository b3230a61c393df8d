"""Whether a subspace holds a variable of the task: interchange accuracy by variable, site, basis and rank."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import plotly.graph_objects as go
import polars as pl
import torch
from jaxtyping import Bool
from plotly.subplots import make_subplots
from torch import Tensor

from rtinterp.analysis import (
    PairsAtSite,
    Subspace,
    interchange_accuracies,
    interchange_accuracy,
    learned_subspace,
    pairs_at,
    positions_that_feed,
    random_subspace,
    site_statistics,
    split_by_readers,
    unembedding_readers,
)
from rtinterp.figures import style
from rtinterp.figures.curves import log_axis
from rtinterp.figures.figure import TASK, Figure, task_of, with_run_columns
from rtinterp.figures.regime_style import regime_name
from rtinterp.models.build import build_model
from rtinterp.papers.mechanism.grid import N_BODIES
from rtinterp.plot.look import COLOURS, axes
from rtinterp.tasks.causal_task import CausalTask, Counterfactuals
from rtinterp.training.run import Run

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel

#: Pairs that a subspace is learned from, and held-out ones on which it is judged.
N_LEARNED_FROM, N_TEST_PAIRS = 512, 256
RANKS = (2, 8, 32)
#: The rank of the controls, and of the subspace that is split by what reads it.
CONTROL_RANK = 8
#: A search is short: what it finds is a lower bound of what there is.
SEARCH: Mapping[str, Any] = {"n_steps": 15, "pairs_per_step": 128, "learning_rate": 3e-2}
N_RANDOM_SUBSPACES = 2
PAIRS_SEED = 0
#: Of tasks with more variables than these, which are shown.
VARIABLES = ("a", "sum", "queried value", "asked marker", "carry 1", "equal counts", "never negative")
#: Subspaces are looked for where interchanging the whole site does at least this.
WORTH_SEARCHING = 0.5
AFTER_FIRST, AFTER_LAST = "after the first layer", "after the last layer"
#: Where: at the position that predicts, or wherever the sequences of a pair differ up to it.
ANSWER, CHANGE = "answer", "change"
BASES = {
    "learned": "learned (DAS)",
    "principal": "largest variance",
    "sensitive": "read most",
    "random": "random",
    "placebo": "learned from shuffled answers",
    "untrained": "learned in the untrained model",
}
CURVES = ("learned", "principal", "sensitive", "random")

Named: TypeAlias = tuple[str, int, Subspace]


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run, variable, site, place, basis, draw and rank: the interchange accuracy, in [0, 1].

    Bases are those of ``BASES``; ``whole``, where all of the site changes; and ``seen`` and ``unseen``, the parts of
    the learned one that the unembedding reads and does not. ``share_seen`` is how much of its directions lies in the
    first. ``intact`` is how often the answer of the source is given without any interchange.
    """
    return pl.concat(with_run_columns(run, _of_run(run)) for run in runs)


def _of_run(run: Run) -> pl.DataFrame:
    task, last = task_of(run, CausalTask), run.model.cfg.n_layers - 1
    # The body of a random transformer, with the embeddings that training starts from.
    untrained = build_model(task, run.spec.model, run.spec.seed) if run.spec.trainable == "embeddings" else None
    rows: list[dict[str, Any]] = []
    for variable in (name for name in task.variables if name in VARIABLES):
        generator = torch.Generator().manual_seed(PAIRS_SEED)
        learn, test = (task.counterfactuals(n, variable, generator) for n in (N_LEARNED_FROM, N_TEST_PAIRS))
        places = dict.fromkeys([(0, CHANGE), (0, ANSWER), (last, ANSWER)])
        # What the model makes of the pairs is computed once for all searches and measurements.
        ready = [pairs_at(run.model, pairs, [_site(layer) for layer in (0, last)]) for pairs in (learn, test)]
        for layer, place in places:
            labels = {"variable": variable, "site": AFTER_LAST if layer == last else AFTER_FIRST, "place": place}
            pairs = _Pairs(learn, test, *(of[_site(layer)] for of in ready))
            found = _at(run.model, untrained, pairs, _site(layer), place, layer == last)
            rows += [{**labels, **one, "n_test_pairs": len(test)} for one in found]
    return pl.DataFrame(rows, schema_overrides={"share_seen": pl.Float64}, infer_schema_length=None)


def _site(layer: int) -> str:
    return f"blocks.{layer}.hook_resid_post"


class _Pairs(NamedTuple):
    """Pairs to learn from and to judge on, and the same with what the trained model makes of them at a site."""

    learn: Counterfactuals
    test: Counterfactuals
    learn_at: PairsAtSite
    test_at: PairsAtSite


def _at(
    model: HookedModel, untrained: HookedModel | None, pairs: _Pairs, site: str, place: str, is_last: bool
) -> list[dict[str, Any]]:
    """Everything about one site and place."""
    d_model, where = model.cfg.d_model, _where(pairs.test, place)
    nothing, whole = (Subspace(torch.eye(d_model)[:rank], torch.zeros(d_model)) for rank in (0, d_model))
    intact, full = interchange_accuracies(model, pairs.test_at, site, [nothing, whole], where)
    found: list[tuple[str, int, int, float]] = [("whole", 0, d_model, full)]
    share = None
    if place == ANSWER and full >= WORTH_SEARCHING:
        generator = torch.Generator().manual_seed(PAIRS_SEED)
        named = list(_subspaces(model, pairs, site, generator))
        if is_last:
            rank = _control_rank(d_model)
            (whole_one,) = [one for basis, _, one in named if (basis, one.rank) == ("learned", rank)]
            split = split_by_readers(whole_one, unembedding_readers(model))
            named, share = [*named, ("seen", 0, split.seen), ("unseen", 0, split.unseen)], split.share_seen
        values = interchange_accuracies(model, pairs.test_at, site, [subspace for *_, subspace in named], where)
        found += [(basis, draw, one.rank, value) for (basis, draw, one), value in zip(named, values, strict=True)]
        if untrained is not None:
            null = _learned(untrained, pairs.learn, site, _control_rank(d_model))
            found.append(("untrained", 0, null.rank, interchange_accuracy(untrained, pairs.test, site, null, where)))
    return [
        {"basis": basis, "draw": draw, "rank": rank, "accuracy": value, "intact": intact, "share_seen": share}
        for basis, draw, rank, value in found
    ]


def _subspaces(model: HookedModel, pairs: _Pairs, site: str, generator: torch.Generator) -> Iterator[Named]:
    learn, learn_at, d_model = pairs.learn, pairs.learn_at, model.cfg.d_model
    ranks = sorted({*(rank for rank in RANKS if rank <= d_model), _control_rank(d_model)})
    for rank in ranks:
        yield "learned", 0, _learned(model, learn_at, site, rank)
    statistics = site_statistics(model, [learn.factual], site, _where(learn, ANSWER))
    for name, basis in (("principal", statistics.principal), ("sensitive", statistics.sensitive)):
        yield from ((name, 0, basis.first(rank).to(model.W_E)) for rank in ranks)
    for draw in range(N_RANDOM_SUBSPACES):
        drawn = random_subspace(ranks[-1], torch.zeros(d_model), generator)
        yield from (("random", draw, drawn.first(rank)) for rank in ranks)
    targets = learn.base.expected(learn.base.tokens.shape[1])
    order = torch.randperm(len(learn), generator=generator)
    at = learn.base.scored.int().argmax(1)
    shuffled = targets.scatter(1, at[:, None], targets.gather(1, at[:, None])[order])
    placebo = dataclasses.replace(learn_at, base=dataclasses.replace(learn.base, targets=shuffled))
    yield "placebo", 0, _learned(model, placebo, site, _control_rank(d_model))


def _learned(model: HookedModel, pairs: Counterfactuals | PairsAtSite, site: str, rank: int) -> Subspace:
    generator = torch.Generator().manual_seed(PAIRS_SEED)
    return learned_subspace(model, pairs, site, rank, generator, _where(pairs, ANSWER), **SEARCH)


def _control_rank(d_model: int) -> int:
    return min(CONTROL_RANK, d_model)


def _where(pairs: Counterfactuals | PairsAtSite, place: str) -> Bool[Tensor, "batch pos"]:
    tokens, scored = pairs.base.tokens, pairs.base.scored
    if place == ANSWER:
        return scored
    return (tokens != pairs.sources[:, : tokens.shape[1]]) & positions_that_feed(scored)


def plot(table: pl.DataFrame) -> go.Figure:
    models = table.select("task", "trainable").unique(maintain_order=True).rows()
    of_task = table.select("task", "variable").unique(maintain_order=True).group_by("task").len()["len"]
    sites = [AFTER_FIRST, AFTER_LAST]
    n_columns = len(sites) * int(of_task.max())  # pyright: ignore[reportArgumentType]
    panels: list[tuple[int, int, pl.DataFrame, str]] = []
    for row, (task, trainable) in enumerate(models, 1):
        of_model = table.filter(pl.col("task") == task, pl.col("trainable") == trainable)
        for number, variable in enumerate(of_model["variable"].unique(maintain_order=True)):
            for column, site in enumerate(sites, 1 + len(sites) * number):
                rows = of_model.filter(pl.col("variable") == variable, pl.col("site") == site)
                title = f"{style.task_title(task)}, {regime_name(trainable)}{style.small(f'{variable}, {site}')}"
                panels.append((row, column, rows, title))
    titles = {(row, column): title for row, column, _, title in panels}
    places = [(row, column) for row in range(1, len(models) + 1) for column in range(1, n_columns + 1)]
    figure = make_subplots(
        len(models), n_columns, subplot_titles=[titles.get(place, " ") for place in places],
        horizontal_spacing=0.035, vertical_spacing=0.3 / len(models) ** 0.9,
    )  # fmt: skip
    for row, column, rows, _ in panels:
        _add_panel(figure, rows, row, column)
    axes(figure).update_yaxes(range=[-0.03, 1.05], tickformat=".0%")
    for row, column in set(places) - set(titles):
        figure.update_xaxes(visible=False, row=row, col=column).update_yaxes(visible=False, row=row, col=column)
    figure.update_annotations(font_size=12)
    figure.update_layout(legend={"orientation": "h", "x": 0.5, "xanchor": "center", "y": -0.3 / len(models)})
    text = f"{style.subtitle(table)}<br>at the position that predicts; line: the whole site; by number of directions"
    style.finish_with(
        figure, "Which variables a subspace holds, where", text, width=1180, height=90 + 240 * len(models)
    )
    return figure.update_layout(margin_b=110)


def _add_panel(figure: go.Figure, table: pl.DataFrame, row: int, column: int) -> None:
    place: dict[str, Any] = {"row": row, "col": column}
    at_answer = table.filter(pl.col("place") == ANSWER)
    for (basis, name), colour in zip(BASES.items(), COLOURS, strict=False):
        rows = at_answer.filter(pl.col("basis") == basis)
        medians = rows.group_by("rank", maintain_order=True).agg(pl.col("accuracy").median()).sort("rank")
        figure.add_scatter(
            x=medians["rank"].to_list(), y=medians["accuracy"].to_list(), name=name, legendgroup=name,
            showlegend=(row, column) == (1, 2), mode="lines+markers" if basis in CURVES else "markers",
            line={"color": colour, "width": 1.8}, marker={"size": 5 if basis in CURVES else 9}, **place,
        )  # fmt: skip
    for basis, symbol in (("seen", "triangle-up"), ("unseen", "triangle-down")):
        rows = at_answer.filter(pl.col("basis") == basis)
        figure.add_scatter(
            x=[CONTROL_RANK] * len(rows), y=rows["accuracy"].to_list(), name=f"learned, part {basis}", mode="markers",
            legendgroup=basis, showlegend=(row, column) == (1, 2),
            marker={"symbol": symbol, "size": 8, "color": "#555"}, **place,
        )  # fmt: skip
    whole = at_answer.filter(pl.col("basis") == "whole")["accuracy"].median()
    figure.add_hline(y=whole, line={"color": style.FLOOR_COLOUR, "dash": "dash", "width": 1}, **place)
    log_axis(figure, list(RANKS), "", **place)


FIGURE = Figure(
    name="figure_interchange",
    title="Which variables a subspace holds, where",
    caption=(
        "Claim tested: a variable of the task lies in few directions of the residual stream at the position that "
        "predicts. Pairs of sequences differ in one variable; what lies in k directions of the source's "
        "activations is put in the place of the base's, and counts if the model then says what the base calls for "
        "with the source's value. Directions are those of largest variance, those read most, random ones, and "
        "learned ones (distributed alignment search, a short one: a lower bound), all from other pairs than are "
        "shown. Controls: the search with shuffled answers, and in the same body with untrained embeddings. "
        "Dashed: the whole site; below one half, as for the queried value of needle after the first layer, "
        "nothing is searched. Triangles: the parts of learned directions that the unembedding reads (up) and does "
        "not (down). Median over seeds. Found: yes, but for parentheses. After the last "
        "layer, 32 directions of any fitted basis hold each variable, and random ones none; of the learned ones "
        "the part that is read does it, the other nothing. The value asked for by needle arrives at the position "
        "that predicts in the last layer only. For parentheses the controls succeed, too: with two possible answers, "
        "interchange there proves little."
    ),
    experiment="subspaces",
    compute=compute,
    plot=plot,
    n_bodies=N_BODIES,
    rows=(TASK, "trainable"),
)
