"""Is it the textbook pair that does the work? The two heads beside all others, by all subsets of heads and MLPs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
import polars as pl
import torch
from plotly.subplots import make_subplots

from rtinterp.analysis import ResampleAblation, mean_ablation, nodes_of, shapley_values, subset_values
from rtinterp.analysis.ablations import Ablation
from rtinterp.figures import style
from rtinterp.figures.accuracies import floor_columns
from rtinterp.figures.figure import Figure, task_of, with_run_columns
from rtinterp.papers.random_attention.grid import WITH_HEADS
from rtinterp.papers.random_attention.pair_effects import ENOUGH, circuit_columns, pair_effects, part_of
from rtinterp.papers.random_attention.regimes import COLOUR_OF, regime_of
from rtinterp.papers.random_attention.textbook_heads import head_scores, pair_of
from rtinterp.plot.look import axes, colour_bar
from rtinterp.tasks import NeedleInAHaystack
from rtinterp.training.run import Run

#: Test sequences on which subsets are measured, and training sequences over which means are taken.
N_ROWS, N_TRAINING_ROWS = 200, 2048
SEED = 0
TYPES = {
    **dict.fromkeys(("n_minimal", "n_with_pair", "smallest"), pl.Int64),
    "first_circuit": pl.String,
}
#: What stands on the left: columns, and what they are called.
ACCURACIES = {
    "intact": "intact",
    "without_others_median": "other pairs out",
    "without_pair": "the pair out",
    "pair_and_mlps": "the pair and<br>MLPs alone",
    "others_and_mlps_max": "best other pair<br>and MLPs alone",
    "mlps_alone": "MLPs alone",
}
#: The Shapley value of full colour.
MOST = 0.5


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run, ablation and node: its part, and its Shapley value of the accuracy on test sequences.

    ``ablation`` is ``mean``, the node's mean at positions of the same role over training sequences, or ``resample``,
    what it writes on another test sequence. Of the run: what ``pair_effects`` and ``circuit_columns`` return.
    """
    return pl.concat(with_run_columns(run, _nodes(run)) for run in runs)


def _nodes(run: Run) -> pl.DataFrame:
    model, task = run.model, task_of(run, NeedleInAHaystack)
    batch, nodes = task.test_set()[:N_ROWS], nodes_of(model)
    pair = pair_of(head_scores(run, model))
    floor = float(floor_columns(task)["floor_accuracy"])
    tables = []
    for name, ablation in _ablations(run).items():
        values = subset_values(model, batch, ablation)
        table = pl.DataFrame(
            {
                "node": list(map(str, nodes)),
                "part": [part_of(node, pair) for node in nodes],
                "shapley": shapley_values(values).tolist(),
            }
        )
        of_run = {
            **pair_effects(values, nodes, pair),
            **circuit_columns(values, nodes, pair, floor),
            "n_test_rows": len(batch),
        }
        columns = [pl.lit(value, dtype=TYPES.get(key)).alias(key) for key, value in of_run.items()]
        first = {"regime": pl.lit(regime_of(run.spec)), "ablation": pl.lit(name)}
        tables.append(table.select(**first, **{key: pl.col(key) for key in table.columns}).with_columns(columns))
    return pl.concat(tables)


def _ablations(run: Run) -> dict[str, Ablation]:
    task = task_of(run, NeedleInAHaystack)
    generator = torch.Generator().manual_seed(SEED)
    training = task.sample(N_TRAINING_ROWS, generator).tokens
    tokens = task.test_set().tokens[:N_ROWS]
    others = tokens[torch.randperm(len(tokens), generator=generator)]
    means = mean_ablation(run.model, training.split(N_ROWS), task.roles, len(task.role_names))
    return {"mean": means, "resample": ResampleAblation(others)}


def plot(table: pl.DataFrame) -> go.Figure:
    table = table.filter(pl.col("ablation") == "mean")
    found = [name for name in WITH_HEADS if name in table["regime"].to_list()]
    figure = make_subplots(
        1, 2, column_widths=[0.52, 0.48], horizontal_spacing=0.16,
        subplot_titles=["accuracy with some nodes ablated", "Shapley values (of the accuracy, in %) by seed"],
    )  # fmt: skip
    for name in found:
        _add_accuracies(figure, table.filter(pl.col("regime") == name).unique("seed"), name, COLOUR_OF[name])
    figure.add_trace(_shares(table, found), row=1, col=2)
    axes(figure).update_yaxes(tickformat=".0%", range=[-0.02, 1.03], col=1)
    figure.update_yaxes(autorange="reversed", col=2).update_xaxes(tickangle=0, tickfont_size=10)
    bar = colour_bar("Shapley value")
    figure.update_layout(coloraxis={"colorscale": "RdBu", "cmin": -MOST, "cmax": MOST, "colorbar": bar})
    text = style.subtitle(table) + "<br>" + _circuits_line(table, found)
    style.finish_with(figure, "Is it the textbook pair?", text, width=1240, height=400)
    return figure.update_layout(margin_b=120, legend={"orientation": "h", "x": 0, "y": -0.2})


def _add_accuracies(figure: go.Figure, runs: pl.DataFrame, name: str, colour: str) -> None:
    """Points are seeds, bars medians."""
    place: dict[str, Any] = {"row": 1, "col": 1}
    labels = list(ACCURACIES.values())
    medians = [runs[column].median() for column in ACCURACIES]
    figure.add_bar(x=labels, y=medians, name=name, marker_color=style.rgba(colour, 0.7), offsetgroup=name, **place)
    for seed in runs["seed"].sort():
        values = runs.filter(pl.col("seed") == seed).select(*ACCURACIES).row(0)
        figure.add_scatter(
            x=labels, y=values, mode="markers", marker={"color": colour, "size": 6}, showlegend=False,
            offsetgroup=name, hovertext=f"{name}, seed {seed}", **place,
        )  # fmt: skip
    figure.update_layout(barmode="group", scattermode="group")


def _shares(table: pl.DataFrame, found: Sequence[str]) -> go.Heatmap:
    """A column for each seed of each regime, a row for each part, whose nodes are added up."""
    shares = table.group_by("regime", "seed", "part").agg(pl.col("shapley").sum())
    parts = sorted(shares["part"].unique(), key=lambda part: (part.startswith(("other", "MLP")), part))
    columns = [(name, seed) for name in found for seed in table["seed"].unique().sort()]
    at = {(name, seed, part): share for name, seed, part, share in shares.iter_rows()}
    values = [[at.get((*column, part)) for column in columns] for part in parts]
    texts = [["" if value is None else f"{round(100 * value)}" for value in row] for row in values]
    return go.Heatmap(
        x=[[name for name, _ in columns], [f"{seed}" for _, seed in columns]], y=parts, z=values,
        coloraxis="coloraxis", text=texts, texttemplate="%{text}",
    )  # fmt: skip


def _circuits_line(table: pl.DataFrame, found: Sequence[str]) -> str:
    """Tell how many minimal circuits have both heads, by regime, over seeds."""
    words = []
    for name in found:
        runs = table.filter(pl.col("regime") == name).unique("seed").drop_nulls("n_minimal")
        if len(runs):
            counts = f"{runs['n_with_pair'].sum()} of {runs['n_minimal'].sum()}"
            sizes = f"{runs['smallest'].min()} to {runs['smallest'].max()}"
            words.append(f"{name} {counts} (smallest: {sizes} nodes)")
    return "minimal circuits that have both heads, where retrieval is learnt:<br>" + "; ".join(words)


FIGURE = Figure(
    name="figure_retrieval_circuits",
    title="Is it the textbook pair that retrieves?",
    caption=(
        "Claim tested: the previous-token head of layer 0 and the retrieval head of layer 1 do the work. They are the "
        "heads that look most where these should, in each seed. All 1,024 subsets of heads and MLPs are run; a node "
        "that is not in the subset writes, at every position, the mean of what it writes at positions of the same "
        "role. Left: accuracy where the pair is out, beside the median of the nine pairs of other heads of the two "
        "layers; and where a pair and the MLPs are all that is left. Right: what each part adds to the accuracy when "
        f"nodes are put back in random order. A minimal circuit reaches {ENOUGH:.0%} of the accuracy above guessing "
        "while no proper subset of it does; such circuits are told where retrieval is learnt. "
        f"{N_ROWS} test sequences; the csv has the same with what is written on another sequence in place of means."
    ),
    experiment="retrieval",
    compute=compute,
    plot=plot,
    more_columns={"regime": regime_of},
)
