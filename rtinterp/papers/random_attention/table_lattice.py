"""The lattice between the random transformer and full training: the smallest sets of parts that suffice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import plotly.graph_objects as go
import polars as pl

from rtinterp.figures import certainty, style
from rtinterp.figures.accuracies import accuracies
from rtinterp.figures.figure import TASK, Figure
from rtinterp.models.regimes import Trainable, parse
from rtinterp.papers.random_attention.grid import PARTS, lattice_sets
from rtinterp.training.run import Run

#: A set suffices if every seed gets this share of the way from guessing to the median of full training.
ENOUGH = 0.9
WORDS = {"qk": "QK", "ov": "OV", "mlp": "MLP", "norms": "norms"}
SMALLEST = "●"


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run: test accuracy in [0, 1], test rows and floors, as ``accuracies`` has them.

    ``parts`` names what trains beside the embeddings, joined by " + ".
    """
    return accuracies(runs).with_columns(pl.Series("parts", [parts_of(run.spec.trainable) for run in runs]))


def parts_of(trainable: Trainable) -> str:
    """Name the parts that train beside the embeddings; "" if none does."""
    groups = parse(trainable)
    return " + ".join(WORDS[part] for part in PARTS if part in groups)


def enough(of_task: pl.DataFrame) -> float:
    """Return the accuracy from which on a set suffices, from the rows of one task."""
    full, floor = of_task.filter(pl.col("trainable") == "all")["test_accuracy"], of_task["floor_accuracy"][0]
    median = sorted(full.to_list())[len(full) // 2]
    return floor + ENOUGH * (median - floor)


def sufficient(of_task: pl.DataFrame) -> list[frozenset[str]]:
    """List the sets of component groups of which every seed gets far enough, from the rows of one task."""
    least = of_task.group_by("trainable", maintain_order=True).agg(pl.col("test_accuracy").min())
    bar = enough(of_task)
    return [parse(trainable) for trainable, accuracy in least.iter_rows() if accuracy >= bar]


def smallest(sets: Iterable[frozenset[str]]) -> list[frozenset[str]]:
    """Keep the sets of which no proper subset is among them."""
    sets = list(sets)
    return [one for one in sets if not any(other < one for other in sets)]


def plot(table: pl.DataFrame) -> go.Figure:
    tasks = {str(task): of_task for (task,), of_task in table.group_by("task", maintain_order=True)}
    minimal = {task: smallest(sufficient(of_task)) for task, of_task in tasks.items()}
    rows = []
    for trainable in lattice_sets():
        cells = []
        for task, of_task in tasks.items():
            runs = of_task.filter(pl.col("trainable") == trainable)
            cells.append(certainty.cell(runs, mark=SMALLEST if parse(trainable) in minimal[task] else ""))
        rows.append(["embeddings" + "".join(f" + {part}" for part in [parts_of(trainable)] if part), *cells])
    header = ["what trains", *(f"{style.task_title(task)}, %" for task in tasks)]
    figure = style.table_figure(header, rows, [1.6, *[1.0] * len(tasks)])
    bars = "; ".join(f"{style.task_title(task)} from {enough(of_task):.1%} on" for task, of_task in tasks.items())
    subtitle = f"{style.subtitle(table)}<br>{SMALLEST}: suffices ({bars}, in every seed), and no part of it does"
    return style.finish_table_with(figure, TITLE, subtitle, width=900)


TITLE = "Which sets of parts suffice: test accuracy, %"
FIGURE = Figure(
    name="table_lattice",
    title="Which sets of parts suffice",
    caption=(
        "All sets of parts that can train beside the embeddings of GPT-2's block, which the paper has not: from the "
        "random transformer, first, to full training, last; frozen QK is OV + MLP + norms, frozen MLP QK + OV + norms. "
        f"A set suffices if every seed gets {ENOUGH:.0%} of the way from guessing to what full training reaches; "
        f"{SMALLEST} marks those of which no proper subset suffices. All have one budget, so that a set may fail for "
        f"want of steps. {certainty.CAPTION}"
    ),
    experiment="lattice",
    compute=compute,
    plot=plot,
    rows=(TASK,),
)
