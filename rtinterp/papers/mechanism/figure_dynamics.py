"""What is left of heads, subspaces and circuits once the body of a random transformer trains too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots

from rtinterp.analysis import distances_travelled, models_of, over_steps
from rtinterp.figures import style
from rtinterp.figures.accuracies import floor_columns
from rtinterp.figures.figure import TASK, Figure, with_run_columns
from rtinterp.papers.mechanism.grid import N_BODIES
from rtinterp.papers.mechanism.release_measures import Measures
from rtinterp.papers.mechanism.watched_runs import STEPS_PER_OCTAVE
from rtinterp.plot.look import COLOURS, axes
from rtinterp.tasks.causal_task import CausalTask
from rtinterp.training.run import Run

#: Arms by name and colour.
ARMS = {"embeddings": COLOURS[0], "then all": COLOURS[1], "all": COLOURS[2]}
PANELS = {
    "accuracy": "accuracy on test sequences",
    "least rank": "k95 after layer 0",
    "score": "attention of the leading heads: marker (solid), retrieval (dotted)",
    "similarity": "similarity of the Shapley values to those at the release",
    "distance": "relative distance gone: QK (solid), OV (dotted), MLP (dashed)",
}
BODY = ("qk", "ov", "mlp")


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run, kept step, measure and item: the value.

    ``release_at`` is 0 where everything trains from the start. Measures: ``accuracy``; ``marker score`` and ``retrieval
    score`` of the heads of the layer in question (needle in a haystack); ``distance`` of each component group from
    where it began, relative to its norm there. Once an octave of steps, where most has been learnt: ``least rank``
    (k95), the ``Shapley value`` of every head and MLP, and the least size and the number of ``minimal circuits``.
    """
    return pl.concat(with_run_columns(run, _measured(run)) for run in runs)


def _release(run: Run) -> int:
    return run.spec.training.release_at


def _measured(run: Run) -> pl.DataFrame:
    task = run.spec.task
    if not isinstance(task, CausalTask):
        raise TypeError(f"{run.run_id}: {task.name} has no causal model, whose roles means are taken by")
    measures = Measures(task, float(floor_columns(task)["floor_accuracy"]))
    some = steps_of_an_octave(run.kept_steps, _release(run))
    distances = distances_travelled(models_of(run)).select(
        "step", pl.lit("distance").alias("measure"), pl.col("group").alias("item"), pl.col("relative").alias("value")
    )
    dear = over_steps(((step, model) for step, model in models_of(run) if step in some), measures.dear)
    table = pl.concat([over_steps(models_of(run), measures.cheap), dear, distances.filter(pl.col("value").is_finite())])
    return table.select(pl.lit(_release(run)).alias("release_at"), *table.columns)


def steps_of_an_octave(kept_steps: Sequence[int], release_at: int) -> set[int]:
    """Choose the last step of each phase, and every third kept one before it, but for the start."""
    phases = [[step for step in kept_steps if 0 < step <= release_at], [s for s in kept_steps if s > release_at]]
    return {step for phase in phases for step in phase[::-1][::STEPS_PER_OCTAVE]}


def similarities(table: pl.DataFrame) -> pl.DataFrame:
    """Compare the Shapley values of every run with those that its seed had at the release: cosines, by step.

    Returns:
        columns ``task``, ``seed``, ``release_at``, ``step`` and ``value``; nothing of a seed that had not learnt the
        task by the release.
    """
    keys = ["task", "seed", "release_at", "step"]
    values = table.filter(pl.col("measure") == "Shapley value").select(*keys, "item", "value")
    at_release = values.filter((pl.col("release_at") > 0) & (pl.col("step") == pl.col("release_at")))
    both = values.join(at_release.select("task", "seed", "item", "value"), on=["task", "seed", "item"], suffix="_then")
    dot = pl.col("value").dot("value_then")
    norms = pl.col("value").dot("value").sqrt() * pl.col("value_then").dot("value_then").sqrt()
    return both.group_by(keys, maintain_order=True).agg((dot / norms).alias("value"))


def leading_heads(table: pl.DataFrame) -> pl.DataFrame:
    """Follow, for each role, the head that looked most at the release: its score in every arm of its seed, by step.

    Returns:
        columns ``task``, ``seed``, ``release_at``, ``step``, ``measure`` (the role's score), ``item`` (the head) and
        ``value``.
    """
    keys = ["task", "seed", "release_at", "step", "measure", "item"]
    scores = table.filter(pl.col("measure").str.ends_with(" score")).select(*keys, "value")
    at_release = scores.filter((pl.col("release_at") > 0) & (pl.col("step") == pl.col("release_at")))
    leading = at_release.sort("value", descending=True).unique(["task", "seed", "measure"], keep="first")
    return scores.join(leading.select("task", "seed", "measure", "item"), on=["task", "seed", "measure", "item"])


def plot(table: pl.DataFrame) -> go.Figure:
    tasks = table["task"].unique(maintain_order=True).to_list()
    titles = [style.task_title(task) + style.small(title) for title in PANELS.values() for task in tasks]
    figure = make_subplots(
        len(PANELS), len(tasks), subplot_titles=titles, horizontal_spacing=0.1, vertical_spacing=0.065
    )
    for column, task in enumerate(tasks, 1):
        of_task = table.filter(pl.col("task") == task)
        release_at = int(of_task["release_at"].max())  # pyright: ignore[reportArgumentType]
        panels = _panels(of_task)
        for row, name in enumerate(PANELS, 1):
            if panels[name].is_empty():
                place: dict[str, Any] = {"row": row, "col": column}
                figure.update_xaxes(visible=False, **place).update_yaxes(visible=False, **place)
                figure.add_annotation(x=release_at, y=0.5, text="no head has a known role", showarrow=False, **place)
                continue
            _add_panel(figure, panels[name], release_at, row, column)
    axes(figure).update_xaxes(title_text="step", row=len(PANELS)).update_xaxes(range=_range(table))
    figure.update_yaxes(range=[-0.03, 1.05], row=1).update_yaxes(rangemode="tozero", row=2)
    figure.update_yaxes(range=[-0.03, 1.05], row=3).update_yaxes(range=[-0.03, 1.05], row=4)
    figure.update_annotations(font_size=12)
    figure.update_layout(legend={"orientation": "h", "x": 0.5, "xanchor": "center", "y": -0.07})
    text = f"{style.subtitle(table)}<br>{_budgets(table)}"
    style.finish_with(figure, FIGURE.title, text, width=400 + 420 * len(tasks), height=190 * len(PANELS))
    return figure.update_layout(margin_b=100)


def _range(table: pl.DataFrame) -> list[float]:
    last = float(table["n_steps"].max())  # pyright: ignore[reportArgumentType]
    return [-0.02 * last, 1.02 * last]


def _budgets(table: pl.DataFrame) -> str:
    """``"embeddings alone for 840 steps, then all for 300; or all for 300 from the start"``."""
    released, of_all = table.filter(pl.col("release_at") > 0), table.filter(pl.col("release_at") == 0)
    pairs = released.select("release_at", pl.col("n_steps") - pl.col("release_at")).unique().sort("release_at").rows()
    first = " or ".join(f"embeddings alone for {before:,} steps, then all for {after:,}" for before, after in pairs)
    return f"{first}; or all for {', '.join(map(str, of_all['n_steps'].unique().sort()))} from the start"


def _panels(table: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """What each panel shows of a task: ``seed release_at step value``, and ``line`` where a run has several."""
    keys = ["seed", "release_at", "step", "value"]

    def of(measure: str) -> pl.DataFrame:
        return table.filter(pl.col("measure") == measure).select(*keys, pl.col("item").alias("line"))

    heads = leading_heads(table).select(*keys, pl.col("measure").alias("line"))
    return {
        "accuracy": of("accuracy"),
        "least rank": of("least rank"),
        "score": heads,
        "similarity": similarities(table).select(*keys, pl.lit("all nodes").alias("line")),
        "distance": of("distance").filter(pl.col("line").is_in(BODY)),
    }


def _add_panel(figure: go.Figure, table: pl.DataFrame, release_at: int, row: int, column: int) -> None:
    place: dict[str, Any] = {"row": row, "col": column}
    dashes = dict(zip(table["line"].unique(maintain_order=True), ("solid", "dot", "dash"), strict=False))
    for (seed, released, line), of_run in table.group_by("seed", "release_at", "line", maintain_order=True):
        before = of_run.filter((pl.col("step") <= released) & (pl.col("release_at") > 0))
        after = of_run.filter((pl.col("step") >= released) & (pl.col("release_at") > 0))
        for arm, part in zip(ARMS, (before, after, of_run.filter(pl.col("release_at") == 0)), strict=True):
            if part.is_empty():
                continue
            part = part.sort("step")
            figure.add_scatter(
                x=part["step"].to_list(), y=part["value"].to_list(), name=arm, legendgroup=arm, mode="lines+markers",
                showlegend=False, line={"color": ARMS[arm], "width": 1.4, "dash": dashes[line]}, marker={"size": 3},
                hovertext=f"seed {seed}, {line}", **place,
            )  # fmt: skip
    if (row, column) == (1, 1):
        for arm, colour in ARMS.items():
            figure.add_scatter(x=[None], y=[None], name=arm, legendgroup=arm, line={"color": colour}, **place)
    figure.add_vline(x=release_at, line={"color": style.FLOOR_COLOUR, "dash": "dash", "width": 1}, **place)


FIGURE = Figure(
    name="figure_dynamics",
    title="What is left of heads, subspaces and circuits once the body trains too",
    caption=(
        "Claim tested: once the body of a random transformer trains too, the heads, the subspace and the circuit that "
        "its embeddings had selected stay. The embeddings train alone up to the release (dashed), then everything "
        "does; beside it, everything trains from the start, from the same initial tensors. Found at the quick scale: "
        "on needle, half of it holds. The two heads that looked most at the release still look as much as any "
        "afterwards. But where queries and keys moved by more than a tenth, in two seeds of three, the work was shared "
        "out anew: the Shapley values (by accuracy, with means by role in the place of what is ablated) grew unlike "
        "those at the release, though less than those of a model that trained everything from the start, and fewer "
        "directions sufficed. In the third seed the body hardly moved, and all stayed. On parentheses nothing of it "
        "holds: the Shapley values end as unlike those at the release as if all had trained from the start. k95: the "
        "least number of principal directions that keep 95 % of the accuracy above chance, of models that have learnt "
        "most of the task."
    ),
    experiment="release",
    compute=compute,
    plot=plot,
    n_bodies=N_BODIES,
    rows=(TASK,),
    hyper_parameters=("release_at",),
)
