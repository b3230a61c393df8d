"""Embeddings of one body as a start for training in another: how many steps that saves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import polars as pl
import torch
from plotly.subplots import make_subplots
from torch import Tensor

from rtinterp.analysis import accuracies_from, orthogonal_stitch, step_of
from rtinterp.figures import style
from rtinterp.figures.figure import TASK, Figure, with_run_columns
from rtinterp.models.initialisation import initialise
from rtinterp.models.parameters import TOKEN_EMBEDDING, UNEMBEDDING
from rtinterp.papers.mechanism.figure_transplants import INPUTS, donor_of
from rtinterp.papers.mechanism.grid import N_BODIES
from rtinterp.plot.look import COLOURS, axes
from rtinterp.training.run import Run

#: Training ends where it reaches this accuracy, measured every so many steps on so many test sequences.
LEVEL, STEPS_BETWEEN, N_TEST_SEQUENCES = 0.95, 10, 256
DRAWS_SEED = 0
#: What training starts from.
STARTS = {
    "drawn": "as drawn",
    "another": "another body's",
    "rotated": "another body's, rotated",
    "drawn, rotated": "as drawn, rotated",
    "shuffled": "another body's, rotated, tokens shuffled",
}


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run, start and measured step: the accuracy on test sequences, in [0, 1].

    ``donor`` is the seed that another body's embeddings were trained with; there is none where all is as drawn. The
    last row of a start is where it reaches 95 %, or the end of training. Without another body of the same kind, the
    one start is what is drawn.
    """
    return pl.concat(with_run_columns(run, _curves(run, donor_of(run, runs))) for run in runs)


def _curves(run: Run, donor: Run | None) -> pl.DataFrame:
    generator = torch.Generator().manual_seed(DRAWS_SEED)
    test_set = run.spec.task.test_set()
    batch = test_set[torch.randperm(len(test_set), generator=generator)[:N_TEST_SEQUENCES]]
    tables = []
    for name, start in starts(run, donor, generator).items():
        curve = accuracies_from(run.spec, start, batch, LEVEL, STEPS_BETWEEN)
        of = pl.lit(donor.spec.seed if donor is not None and not name.startswith("drawn") else None, pl.Int64)
        tables.append(curve.select(pl.lit(name).alias("start"), of.alias("donor"), pl.all()))
    return pl.concat(tables).with_columns(n_test_rows=pl.lit(len(batch)))


def starts(run: Run, donor: Run | None, generator: torch.Generator) -> dict[str, Mapping[str, Tensor]]:
    """Make the tensors that training starts from.

    Rotations are those that bring embeddings, and apart from them unembeddings, closest to the ones that the body was
    trained to. Shuffled tokens have the rows of others, the same ones in embedding and unembedding.
    """
    if donor is None:
        return {"drawn": {}}
    own, theirs = run.trained, donor.trained
    drawn = initialise(run.spec.trained_parameters(), run.spec.seed)
    rotated = _rotated(theirs, own)
    order = torch.randperm(len(rotated[TOKEN_EMBEDDING]), generator=generator)
    shuffled = {
        **rotated,
        TOKEN_EMBEDDING: rotated[TOKEN_EMBEDDING][order],
        UNEMBEDDING: rotated[UNEMBEDDING][:, order],
    }
    made = ({}, {name: theirs[name] for name in own}, rotated, _rotated(drawn, own), shuffled)
    return dict(zip(STARTS, made, strict=True))


def _rotated(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> dict[str, Tensor]:
    read, wanted = (torch.cat([tensors[name] for name in INPUTS]) for tensors in (source, target))
    rows = orthogonal_stitch(read, wanted)(read).split([len(source[name]) for name in INPUTS])
    columns = source[UNEMBEDDING].T
    return {
        **dict(zip(INPUTS, rows, strict=True)),
        UNEMBEDDING: orthogonal_stitch(columns, target[UNEMBEDDING].T)(columns).T,
    }


def steps_needed(table: pl.DataFrame) -> pl.DataFrame:
    """Find the step at which each seed and start of a task reaches 95 %: null where it does not."""
    keys = ["seed", "start"]
    found = [{**dict(zip(keys, key, strict=True)), "step": step_of(of, LEVEL)} for key, of in table.group_by(keys)]
    return pl.DataFrame(found, schema={"seed": pl.Int64, "start": pl.String, "step": pl.Int64}).sort(keys)


def plot(table: pl.DataFrame) -> go.Figure:
    tasks = table["task"].unique(maintain_order=True).to_list()
    figure = make_subplots(1, len(tasks), subplot_titles=[style.task_title(task) for task in tasks], shared_yaxes=True)
    for column, task in enumerate(tasks, 1):
        of_task = table.filter(pl.col("task") == task)
        needed = steps_needed(of_task)
        for (start, name), colour in zip(STARTS.items(), COLOURS, strict=False):
            steps = needed.filter(pl.col("start") == start)["step"]
            _add_lines(figure, of_task.filter(pl.col("start") == start), f"{name}: {_told(steps)}", colour, column)
    axes(figure).update_yaxes(range=[-0.03, 1.05], tickformat=".0%").update_xaxes(title_text="step")
    figure.add_hline(y=LEVEL, line={"color": style.FLOOR_COLOUR, "dash": "dash", "width": 1})
    figure.update_layout(legend={"title": {"text": f"start, and steps to {LEVEL:.0%}"}, "x": 1.02, "y": 0.5})
    text = f"{style.subtitle(table)}<br>training of a body's embeddings from different starts; every line is a body"
    return style.finish_with(figure, FIGURE.title, text, width=520 + 420 * len(tasks), height=430)


def _told(steps: pl.Series) -> str:
    """``"190 to 230"``, and how often it was not reached."""
    reached = steps.drop_nulls()
    never = len(steps) - len(reached)
    told = (
        []
        if reached.is_empty()
        else [str(reached.min())]
        if reached.n_unique() == 1
        else [f"{reached.min()} to {reached.max()}"]
    )
    return ", ".join([*told, *([f"{never} not in time"] if never else [])])


def _add_lines(figure: go.Figure, table: pl.DataFrame, name: str, colour: str, column: int) -> None:
    place: dict[str, Any] = {"row": 1, "col": column}
    for number, seed in enumerate(table["seed"].unique(maintain_order=True)):
        of_seed = table.filter(pl.col("seed") == seed).sort("step")
        figure.add_scatter(
            x=of_seed["step"].to_list(), y=of_seed["accuracy"].to_list(), mode="lines+markers", name=name,
            legendgroup=name, showlegend=number == 0, line={"color": colour, "width": 1.5}, marker={"size": 3},
            hovertext=f"seed {seed}", **place,
        )  # fmt: skip


FIGURE = Figure(
    name="figure_warm_starts",
    title="Embeddings of one body as a start in another",
    caption=(
        "Claim tested: embeddings that were trained in one body are a head start in another. The embeddings of a "
        "random transformer are trained anew, with the sequences and learning rates of its own training, from: what "
        "it draws; the embeddings of another body; these, rotated by least squares to the ones that this body was "
        "trained to. Controls, rotated alike: what it draws; and the other body's with its tokens shuffled. Found on "
        "decimal addition: as they are, no; rotated, yes, 10 to 20 steps instead of 210 to 260. The rotation "
        "alone saves about half, and with tokens shuffled the start is a burden."
    ),
    experiment="warm_starts",
    compute=compute,
    plot=plot,
    n_bodies=N_BODIES,
    rows=(TASK,),
)
