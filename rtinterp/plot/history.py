"""How runs went: a measure over their training steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from rtinterp.plot.look import COLOURS, axes, finish_cell
from rtinterp.training.run import Run

HEIGHT = 280
#: Columns that are no measure of a task's own.
LOSS, STEP = "test_loss", "step"


def history(runs: Run | Sequence[Run], measure: str | None = None) -> go.Figure:
    """Draw a measure of runs over their optimiser steps: a line for each run, a colour for runs that differ in seed.

    Args:
        runs: one run or several, of any tasks.
        measure: a column of their histories, such as ``"test_loss"``; if not given, the first metric that all of them
            have, such as ``"test_accuracy"``, and else the test loss.

    Raises:
        ValueError: no runs, or a measure that some run does not have.
    """
    runs = [runs] if isinstance(runs, Run) else list(runs)
    if not runs:
        raise ValueError("no runs were given; pass a run, or several")
    shared = [name for name in runs[0].history.columns if all(name in run.history.columns for run in runs)]
    if measure is None:
        metrics = [name for name in shared if name.startswith("test_") and name != LOSS]
        measure = metrics[0] if metrics else LOSS
    elif measure not in shared or measure == STEP:
        raise ValueError(f"not every run has the measure {measure!r}; all have {', '.join(shared[1:])}")
    names = differences(runs)
    colours = {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(dict.fromkeys(names))}
    figure = go.Figure()
    for run, name in zip(runs, names, strict=True):
        steps, values = run.history[STEP].to_list(), run.history[measure].to_list()
        add_run(figure, steps, values, name=name, seed=run.spec.seed, colour=colours[name])
    axes(figure).update_xaxes(title_text="training step", rangemode="tozero")
    figure.update_yaxes(title_text=measure.replace("_", " "))
    if measure.endswith("accuracy"):
        figure.update_yaxes(range=[-0.02, 1.02], tickformat=".0%")
    figure.update_layout(showlegend=len(colours) > 1, legend={"orientation": "h", "y": -0.25})
    return finish_cell(figure, HEIGHT + (30 * len(colours) if len(colours) > 1 else 0))


def add_run(
    figure: go.Figure,
    steps: Sequence[int],
    values: Sequence[float],
    *,
    name: str,
    seed: int,
    colour: str,
    dash: str = "solid",
    number_format: str = ".3~g",
) -> None:
    """Add the line of one run; the legend shows a name once.

    Args:
        number_format: of the values that the pointer shows, as d3-format writes it.
    """
    figure.add_scatter(
        x=steps,
        y=values,
        name=name,
        legendgroup=name,
        mode="lines" if len(steps) > 1 else "markers",
        line={"color": colour, "width": 1.5, "dash": dash},
        showlegend=next(figure.select_traces({"name": name}), None) is None,
        hovertemplate=f"seed {seed}, step %{{x:,}}: %{{y:{number_format}}}<extra>{name}</extra>",
    )


def differences(runs: Sequence[Run]) -> list[str]:
    """Name runs by no more of what differs between them than tells them apart, but for their seeds."""
    fields = [_fields(run) for run in runs]
    named: list[tuple[str, ...]] = [()] * len(runs)
    for name in dict.fromkeys(name for of_run in fields for name in of_run):
        finer = [(*words, _told(name, of_run)) for words, of_run in zip(named, fields, strict=True)]
        if len(set(finer)) > len(set(named)):
            named = finer
    return [", ".join(filter(None, words)) or run.spec.task.name for words, run in zip(named, runs, strict=True)]


def _fields(run: Run) -> dict[str, Any]:
    """What a run is, what tells most coming first; inner fields by their part and name."""
    spec = run.spec
    parts = {"task": spec.task, "body": spec.model, "training": spec.training}
    inner = {
        f"{part} {field.name}": getattr(value, field.name)
        for part, value in parts.items()
        for field in dataclasses.fields(value)
        if field.compare
    }
    return {"task": spec.task.name, "body": spec.model.label, "trained": spec.trainable, **inner}


def _told(name: str, fields: dict[str, Any]) -> str:
    """``"d_model 128"``, and of what needs no name the value alone; nothing where a run has no such field."""
    _, _, field = name.partition(" ")
    return f"{field} {fields.get(name, '')}".strip() if name in fields else ""
