"""Figure 6: imitating random transformers of growing width."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots

from rtinterp.analysis import TargetStatistics, target_statistics
from rtinterp.figures import style
from rtinterp.figures.curves import add_curve, log_axis
from rtinterp.figures.figure import Figure, run_columns, task_of
from rtinterp.figures.regime_style import regime_colour, regime_name
from rtinterp.models.build import build_model
from rtinterp.papers.random_transformers import published
from rtinterp.papers.random_transformers.grid import RANDOM_AND_NORMAL
from rtinterp.plot.look import INK, axes
from rtinterp.tasks import CircuitImitation
from rtinterp.training.imitation import target_spec
from rtinterp.training.run import Run

N_INPUTS = 500
PANELS = ("students, linear scale", "students, logarithmic scale", "targets")
IGNORANT = "best student that ignores its input"
#: Column, name and dash of what is said of the targets.
TARGET_CURVES = (
    ("target_kl_between_inputs", "KL between a target's outputs on two inputs", "solid"),
    ("target_entropy", "entropy of a target's output", "dash"),
)


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run: KL(target || student) on the test sequences, agreement on the likeliest token, its target.

    Divergences and entropies are in nats; the target's own are at the last position of ``N_INPUTS`` test sequences, and
    ``_low`` and ``_high`` are the 5th and the 95th percentile over pairs of these.
    """
    tasks = [task_of(run, CircuitImitation) for run in runs]
    targets = {task: _target(task) for task in dict.fromkeys(tasks)}
    rows = ({**_student(run, task), **targets[task]._asdict()} for run, task in zip(runs, tasks, strict=True))
    return pl.DataFrame(rows).rename({name: f"target_{name}" for name in TargetStatistics._fields})


def _student(run: Run, task: CircuitImitation) -> dict[str, str | int | float]:
    target = {"target_d_model": task.target_d_model, "target_seed": task.target_seed}
    return {**run_columns(run), **target, "test_kl": run.test_loss, "agreement": run.test_metric("accuracy")}


def _target(task: CircuitImitation) -> TargetStatistics:
    target = build_model(task, target_spec(task), task.target_seed)
    return target_statistics(target, task.test_set().tokens[:N_INPUTS, : task.n_tokens])


def plot(table: pl.DataFrame) -> go.Figure:
    table = _of_one_scale(table)
    figure = make_subplots(1, 3, subplot_titles=PANELS, horizontal_spacing=0.075)
    for column in (1, 2):
        _add_students(figure, table, column)
    _add_targets(figure, _medians(table))
    axes(figure)
    widths = table["target_d_model"].unique().sort().to_list()
    for column in (1, 2, 3):
        log_axis(figure, widths, "width of the target (d<sub>model</sub>)", row=1, col=column)
    figure.update_yaxes(rangemode="tozero", row=1)
    figure.update_yaxes(title_text="KL(target || student), nats", row=1, col=1)
    figure.update_yaxes(type="log", dtick=1, row=1, col=2)
    figure.update_yaxes(title_text="nats", row=1, col=3)
    figure.update_layout(legend={"orientation": "h", "x": 0.5, "xanchor": "center", "y": -0.2})
    # All targets but their width and seed are alike: one line of budget for all.
    alike = table.with_columns(pl.col("task").str.replace_all(r"target_(d_model|seed)=\d+, ", ""))
    text = f"{style.subtitle(alike)}<br>{_targets_line(table)}"
    style.finish_with(figure, "Figure 6: imitating random transformers", text, width=1160, height=400)
    return figure.update_layout(margin_b=130)


def _of_one_scale(table: pl.DataFrame) -> pl.DataFrame:
    """The rows of the scale that stands last, which of a target is the complete one, if any is."""
    return table.filter(pl.col("scale") == pl.col("scale").last()) if "scale" in table.columns else table


def _targets(table: pl.DataFrame) -> pl.DataFrame:
    """A row per target. Tables of earlier drawings have one target of each width, that of seed 0."""
    if "target_seed" not in table.columns:
        table = table.with_columns(target_seed=pl.lit(0))
    return table.with_columns(pl.col("target_seed").fill_null(0)).unique(["target_d_model", "target_seed"])


def _medians(table: pl.DataFrame) -> pl.DataFrame:
    """What is said of targets, as the median over those of a width."""
    columns = [values for values, _, _ in TARGET_CURVES]
    of_width = _targets(table).group_by("target_d_model").agg(pl.col(*columns, "target_kl_from_mean").median())
    return of_width.sort("target_d_model")


def _targets_line(table: pl.DataFrame) -> str:
    """How many targets there are, and the range of their mean divergences beside the paper's."""
    targets = _targets(table)
    divergence = targets["target_kl_between_inputs"]
    n_widths = targets["target_d_model"].n_unique()
    low, high = published.TARGET_KL
    return (
        f"{len(targets)} targets of {n_widths} widths; mean KL between a target's outputs on two inputs: "
        f"{divergence.min():.2f} to {divergence.max():.2f} nats (paper: {low.value} to {high.value})"
    )


def _add_students(figure: go.Figure, table: pl.DataFrame, column: int) -> None:
    place = {"in_legend": column == 1, "row": 1, "col": column}
    for trainable in RANDOM_AND_NORMAL:
        runs = table.filter(pl.col("trainable") == trainable)
        name, colour = regime_name(trainable), regime_colour(trainable)
        add_curve(figure, runs, "target_d_model", "test_kl", name=name, colour=colour, **place)
    _add_line(figure, _medians(table), "target_kl_from_mean", IGNORANT, "dot", column, in_legend=column == 1)


def _add_targets(figure: go.Figure, targets: pl.DataFrame) -> None:
    for values, name, dash in TARGET_CURVES:
        _add_line(figure, targets, values, name, dash, column=3, in_legend=True)


def _add_line(
    figure: go.Figure, targets: pl.DataFrame, values: str, name: str, dash: str, column: int, in_legend: bool
) -> None:
    figure.add_scatter(
        x=targets["target_d_model"].to_list(),
        y=targets[values].to_list(),
        name=name,
        legendgroup=name,
        showlegend=in_legend,
        mode="lines+markers",
        line={"color": style.FLOOR_COLOUR if dash == "dot" else INK, "dash": dash},
        marker={"size": 5},
        row=1,
        col=column,
    )


FIGURE = Figure(
    name="figure6_imitation",
    title="Figure 6: circuit imitation",
    caption=(
        "Students of one width learn to predict what a random target transformer predicts. Where the random ones rise "
        "with the target's width and the fully trained ones do not, a frozen body lacks what the target does; where "
        "both rise, the budget may be what is lacking. Each point is a student of one seed and one target, lines join "
        "the medians; the same on a linear and a logarithmic scale. Dotted: the best that a student can do that "
        "ignores its input. Right: what there is to imitate. A target's outputs should differ from input to input, and "
        "be neither flat nor certain. Every student seed imitates every target of a width, so that the table tells how "
        f"much targets differ from how much students of one target do. Targets are measured on {N_INPUTS} test "
        "sequences; lines are medians over them."
    ),
    experiment="figure6",
    compute=compute,
    plot=plot,
    rows=(pl.col("task").str.extract(r"target_seed=(\d+)").alias("target seed"),),
)
