"""Parenthesis balancing by the length of the string: what no model could learn, because no training row shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
import polars as pl
import torch
from plotly.subplots import make_subplots

from rtinterp.analysis import accuracy_by_label, bootstrap_median
from rtinterp.figures import style
from rtinterp.figures.curves import FLOOR_LABEL
from rtinterp.figures.figure import TASK, Figure, task_of, with_run_columns
from rtinterp.figures.regime_style import regime_colour
from rtinterp.plot.look import axes
from rtinterp.tasks import Batch, ParenthesisBalancing
from rtinterp.training.predicted import predicted_tokens
from rtinterp.training.run import Run

#: Rows of the training stream, of seed 0, among which those of each kind are counted.
N_TRAINING_ROWS = 100_000
MODEL = ["body", "d_model", "trainable"]
KINDS = {"all": "all strings", "balanced": "balanced strings"}
#: Of intervals of medians.
INTERVAL_SEED = 0


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run, length of the string and kind of strings of that length in the test set.

    ``strings`` is "all", "balanced" or "unbalanced"; the next columns are those of ``accuracy_by_label``.
    ``n_trained`` counts such strings among ``N_TRAINING_ROWS`` rows of the training stream.
    """
    tasks = [task_of(run, ParenthesisBalancing) for run in runs]
    trained = {task: _kinds_in_training(task) for task in dict.fromkeys(tasks)}
    tables = (_by_length(run, task, trained[task]) for run, task in zip(runs, tasks, strict=True))
    return pl.concat(with_run_columns(run, table) for run, table in zip(runs, tables, strict=True))


def _by_length(run: Run, task: ParenthesisBalancing, trained: pl.DataFrame) -> pl.DataFrame:
    test_set = task.test_set()
    right = predicted_tokens(run, test_set) == test_set.scored_targets
    labels = _labels(task, test_set)
    kinds = accuracy_by_label(right, test_set, labels)
    of_length = accuracy_by_label(right, test_set, {"length": labels["length"]})
    everything = of_length.select("length", pl.lit("all").alias("strings"), *of_length.columns[1:])
    both = pl.concat([everything, kinds.select("length", _strings(), *kinds.columns[2:])])
    return both.join(trained, on=["length", "strings"], how="left", maintain_order="left").with_columns(
        pl.col("n_trained").fill_null(0)
    )


def _labels(task: ParenthesisBalancing, batch: Batch) -> dict[str, torch.Tensor]:
    return {"length": task.query_position(batch.tokens), "balanced": batch.scored_targets == task.BALANCED}


def _strings() -> pl.Expr:
    return pl.when(pl.col("balanced") == 1).then(pl.lit("balanced")).otherwise(pl.lit("unbalanced")).alias("strings")


def _kinds_in_training(task: ParenthesisBalancing) -> pl.DataFrame:
    """How many rows of each length and kind the training stream has."""
    batch = task.sample(N_TRAINING_ROWS, torch.Generator().manual_seed(0))
    labels = {name: of_rows.tolist() for name, of_rows in _labels(task, batch).items()}
    of_kind = pl.DataFrame(labels).select("length", _strings()).group_by("length", "strings").len("n_trained")
    of_length = of_kind.group_by("length").agg(pl.lit("all").alias("strings"), pl.col("n_trained").sum())
    return pl.concat([of_length, of_kind.select(of_length.columns)])


def plot(table: pl.DataFrame) -> go.Figure:
    tasks = table["task"].unique(maintain_order=True).to_list()
    titles = [f"{kind}: {style.task_parameters(task)}" for kind in KINDS.values() for task in tasks]
    figure = make_subplots(
        len(KINDS), len(tasks), subplot_titles=titles, vertical_spacing=0.14, horizontal_spacing=0.07
    )
    named: set[str] = set()
    for column, task in enumerate(tasks, 1):
        for row, strings in enumerate(KINDS, 1):
            panel = table.filter(pl.col("task") == task, pl.col("strings") == strings)
            _add_panel(figure, panel, named, _told_seeds(table), {"row": row, "col": column})
    axes(figure).update_yaxes(range=[-0.04, 1.06], tickformat=".0%").update_yaxes(title_text="test accuracy", col=1)
    figure.update_xaxes(title_text="length of the string", row=len(KINDS))
    figure.update_layout(legend={"orientation": "h", "x": 0.5, "xanchor": "center", "y": -0.13})
    text = "<br>".join([style.subtitle(table), *map(_unseen_line, table.partition_by("task", maintain_order=True))])
    title = "Parenthesis balancing by the length of the string"
    style.finish_with(figure, title, text, width=max(900, 560 * len(tasks)), height=620)
    return figure.update_layout(margin_b=100)


def _unseen_line(table: pl.DataFrame) -> str:
    """``"of 4,000 test rows, 209 are balanced strings of lengths that the training stream has none of"``."""
    one_run = table.filter(pl.col("strings") == "balanced").unique("length")
    unseen, n_rows = one_run.filter(pl.col("n_trained") == 0), _n_rows(table)
    lengths = ", ".join(map(str, unseen["length"].sort()))
    told = f"{unseen['n_rows'].sum():,} of {n_rows:,} test rows"
    task = style.task_parameters(table["task"][0])
    if unseen.is_empty():
        return f"{task}: balanced strings of all tested lengths are trained on ({n_rows:,} test rows)"
    return f"{task}: balanced strings of length {lengths} are never trained on: {told}"


def _n_rows(table: pl.DataFrame) -> int:
    return int(table.filter(pl.col("strings") == "all").unique("length")["n_rows"].sum())


def _told_seeds(table: pl.DataFrame) -> dict[tuple[str, int, str], str]:
    """By model: ``"5 seeds"``, or ``"5 and 3 seeds"`` of two tasks."""
    n_seeds: dict[tuple[str, int, str], list[str]] = {}
    for model in table.partition_by("task", *MODEL, maintain_order=True):
        n_seeds.setdefault(model.select(MODEL).row(0), []).append(str(model["seed"].n_unique()))
    told = {model: " and ".join(dict.fromkeys(counts)) for model, counts in n_seeds.items()}
    return {model: f"{counts} seed{'s' if counts != '1' else ''}" for model, counts in told.items()}


def _add_panel(
    figure: go.Figure,
    panel: pl.DataFrame,
    named: set[str],
    seeds: dict[tuple[str, int, str], str],
    place: dict[str, int],
) -> None:
    """A line per model, and below it where the training stream has no such strings."""
    models = panel.partition_by(MODEL, maintain_order=True)
    for n_before, of_model in enumerate(models):
        body, width, trainable = model = of_model.select(MODEL).row(0)
        name = f"{style.model_name(body, trainable)}, width {width} ({seeds[model]})"
        wide = width == panel["d_model"].max()
        look = {"dash": "dot" if body == "lstm" else "solid" if wide else "dash", "color": regime_colour(trainable)}
        _add_model(figure, _medians(of_model), name, look, named, {"n_before": n_before, **place})
    unseen = panel.filter(pl.col("n_trained") == 0)["length"].unique().sort().to_list()
    cell: dict[str, Any] = dict(place)
    for length in unseen:
        figure.add_vrect(x0=length - 0.5, x1=length + 0.5, fillcolor="#000000", opacity=0.07, line_width=0, **cell)
    if unseen:
        figure.add_annotation(
            x=unseen[-1] + 2.5, y=0.04, xanchor="left", text="grey: never trained on", showarrow=False,
            font=FLOOR_LABEL, **place,
        )  # fmt: skip


def _add_model(
    figure: go.Figure, medians: pl.DataFrame, name: str, line: dict[str, Any], named: set[str], place: dict[str, int]
) -> None:
    """Even lengths, joined, with intervals; no string of an odd length is balanced, so those say little."""
    even = medians.filter(pl.col("length") % 2 == 0)
    shift = 0.12 * place.pop("n_before")
    up, down = even["high"] - even["accuracy"], even["accuracy"] - even["low"]
    figure.add_scatter(
        x=(even["length"] + shift).to_list(), y=even["accuracy"].to_list(), name=name, legendgroup=name,
        mode="lines+markers", line={**line, "width": 1.6}, marker={"size": 5}, showlegend=name not in named,
        error_y={"type": "data", "array": up.to_list(), "arrayminus": down.to_list(), "thickness": 0.8, "width": 0},
        customdata=even["n_rows"].to_list(), hovertemplate="%{y:.1%} of %{customdata} rows", **place,
    )  # fmt: skip
    named.add(name)


def _medians(of_model: pl.DataFrame) -> pl.DataFrame:
    """The median over seeds at every length, and its interval over rows and seeds."""
    rows = []
    for runs in of_model.sort("length", "seed").partition_by("length", maintain_order=True):
        generator = torch.Generator().manual_seed(INTERVAL_SEED)
        low, high, _ = bootstrap_median(runs["accuracy"].to_list(), runs["n_effective"].to_list(), generator)
        median = runs["accuracy"].median()
        rows.append(
            {"length": runs["length"][0], "n_rows": runs["n_rows"][0], "accuracy": median, "low": low, "high": high}
        )
    return pl.DataFrame(rows)


FIGURE = Figure(
    name="figure_parentheses_lengths",
    title="Parentheses by length",
    caption=(
        "Not in the paper. Test accuracy by the length of the string, at even lengths; none of an odd length is "
        f"balanced. Grey: lengths of which {N_TRAINING_ROWS:,} rows of the training stream have no such string. Every "
        "balanced string of up to 6 symbols is in the official test set and so is never trained on, while some other "
        "strings of 4 to 6 symbols are: what training has to say of short strings is that none is balanced. Beside it, "
        "where such runs are stored, the same models with the short strings trained on. Medians over seeds, with 95 % "
        "intervals over test rows and seeds, which are wide where few rows are distinct."
    ),
    experiment="parentheses_lengths",
    compute=compute,
    plot=plot,
    rows=(TASK,),
    keeps_all_seeds=True,
)
