"""Embeddings of one body in another: as they are, rotated, mapped, or read out anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
import polars as pl
import torch
from jaxtyping import Float
from plotly.subplots import make_subplots
from torch import Tensor

from rtinterp.analysis import (
    accuracy,
    affine_stitch,
    orthogonal_stitch,
    with_fitted_unembedding,
    with_tensors,
)
from rtinterp.figures import style
from rtinterp.figures.accuracies import floor_columns
from rtinterp.figures.curves import FLOOR_LABEL
from rtinterp.figures.figure import TASK, Figure, with_run_columns
from rtinterp.models.build import build_model
from rtinterp.models.parameters import POSITIONAL_EMBEDDING, TOKEN_EMBEDDING, UNEMBEDDING
from rtinterp.papers.mechanism.grid import N_BODIES
from rtinterp.plot.look import COLOURS, axes
from rtinterp.tasks import Batch
from rtinterp.training.run import Run

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel

#: Sequences of the training stream that an unembedding is fitted to; test sequences on which effects are measured.
N_FITTED, N_TEST_SEQUENCES = 1024, 384
DRAWS_SEED = 0
INPUTS: tuple[str, ...] = (TOKEN_EMBEDDING, POSITIONAL_EMBEDDING)
#: Where the embeddings come from, and what is done to them.
SOURCES = {"own": "this body's own", "another": "another body's", "untrained": "untrained"}
TREATMENTS = {
    "raw": "as they are",
    "rotated": "inputs rotated",
    "affine": "inputs mapped,<br>other tokens",
    "refitted": "unembedding<br>fitted anew",
}


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per run, source of embeddings and treatment: the accuracy on test sequences, in [0, 1].

    ``donor`` is the seed that the embeddings were trained with: the next one among the runs of the same model, the
    first after the last; there is none where embeddings are untrained. Floors are of the whole test set.
    """
    return pl.concat(with_run_columns(run, _transplants(run, donor_of(run, runs))) for run in runs)


def donor_of(run: Run, runs: Sequence[Run]) -> Run | None:
    """Choose the run of the next seed of the same model, the first after the last; None where there is one seed."""
    alike = sorted((one for one in runs if one.spec.with_seed(0) == run.spec.with_seed(0)), key=lambda r: r.spec.seed)
    seeds = [one.spec.seed for one in alike]
    following = alike[(seeds.index(run.spec.seed) + 1) % len(alike)]
    return None if following is run else following


def _transplants(run: Run, donor: Run | None) -> pl.DataFrame:
    task, model = run.spec.task, run.model
    untrained = build_model(task, run.spec.model, run.spec.seed)
    sources = {"own": model, "another": None if donor is None else donor.model, "untrained": untrained}
    generator = torch.Generator().manual_seed(DRAWS_SEED)
    stream, test_set = task.sample(N_FITTED, generator), task.test_set()
    test = test_set[torch.randperm(len(test_set), generator=generator)[:N_TEST_SEQUENCES]]
    extra = {"intact": accuracy(model, test), "n_test_rows": len(test), **floor_columns(task)}
    seeds = {"own": run.spec.seed, "another": None if donor is None else donor.spec.seed, "untrained": None}
    rows = [
        {"embeddings": name, "donor": seeds[name], "treatment": treatment, "accuracy": value, **extra}
        for name, source in sources.items()
        if source is not None
        for treatment, value in _accuracies(model, source, stream, test)
    ]
    return pl.DataFrame(rows, schema_overrides={"donor": pl.Int64})


def _accuracies(model: HookedModel, source: HookedModel, stream: Batch, test: Batch) -> Iterator[tuple[str, float]]:
    """The body of a model with embeddings of a source."""
    theirs, own = source.state_dict(), model.state_dict()
    inputs: dict[str, Tensor] = {name: theirs[name] for name in INPUTS}
    yield "raw", accuracy(with_tensors(model, inputs | {UNEMBEDDING: theirs[UNEMBEDDING]}), test)
    read, wanted = torch.cat(list(inputs.values())), torch.cat([own[name] for name in INPUTS])
    for treatment, rows in (("rotated", orthogonal_stitch(read, wanted)(read)), ("affine", _mapped(read, wanted))):
        mapped = dict(zip(INPUTS, rows.split([len(rows) for rows in inputs.values()]), strict=True))
        yield treatment, accuracy(with_tensors(model, mapped), test)
    yield "refitted", accuracy(with_fitted_unembedding(with_tensors(model, inputs), stream), test)


def _mapped(read: Float[Tensor, "n d_model"], wanted: Float[Tensor, "n d_model"]) -> Float[Tensor, "n d_model"]:
    """Map every row by the affine map that was fitted to the rows of the other half, every second one."""
    mapped = torch.empty_like(wanted)
    for half in (slice(0, None, 2), slice(1, None, 2)):
        other = slice(1 - half.start, None, 2)
        mapped[half] = affine_stitch(read[other], wanted[other])(read[half])
    return mapped


def plot(table: pl.DataFrame) -> go.Figure:
    tasks = table["task"].unique(maintain_order=True).to_list()
    titles = [f"{style.task_title(task)}{style.small(_width(table, task))}" for task in tasks]
    figure = make_subplots(1, len(tasks), subplot_titles=titles, shared_yaxes=True, horizontal_spacing=0.03)
    for column, task in enumerate(tasks, 1):
        of_task = table.filter(pl.col("task") == task)
        place: dict[str, Any] = {"row": 1, "col": column}
        for number, (source, name) in enumerate(SOURCES.items()):
            points = of_task.filter(pl.col("embeddings") == source)
            places = points["treatment"].replace_strict({t: i for i, t in enumerate(TREATMENTS)}, return_dtype=pl.Int64)
            figure.add_scatter(
                x=(places + 0.22 * (number - 1)).to_list(), y=points["accuracy"].to_list(), name=name, mode="markers",
                legendgroup=name, showlegend=column == 1, marker={"color": COLOURS[number], "size": 8, "opacity": 0.8},
                **place,
            )  # fmt: skip
        floor = of_task["heuristic_accuracy"][0]
        figure.add_hline(y=floor, line={"color": style.FLOOR_COLOUR, "dash": "dash", "width": 1}, **place)
        figure.add_annotation(
            x=0, xref="x domain", y=floor, yanchor="bottom", xanchor="left", text=of_task["heuristic"][0],
            showarrow=False, font=FLOOR_LABEL, **place,
        )  # fmt: skip
        figure.update_xaxes(tickvals=list(range(len(TREATMENTS))), ticktext=list(TREATMENTS.values()), **place)
    axes(figure).update_yaxes(range=[-0.03, 1.05], tickformat=".0%")
    figure.update_layout(legend={"orientation": "h", "x": 0.5, "xanchor": "center", "y": -0.32})
    text = f"{style.subtitle(table)}<br>every dot is a body; embeddings that are put into it, and what is done to them"
    style.finish_with(figure, "Embeddings of one body in another", text, width=1180, height=430)
    return figure.update_layout(margin_b=130)


def _width(table: pl.DataFrame, task: str) -> str:
    return f"width {table.filter(pl.col('task') == task)['d_model'][0]}"


FIGURE = Figure(
    name="figure_transplants",
    title="Embeddings of one body in another",
    caption=(
        "Claim tested: bodies share an algorithm, each in a subspace of its own. Token and positional embeddings "
        "that were trained in one body are put into another: with the unembedding trained along with them; "
        "rotated to fit that body's own (least squares over the rows of both), which its own unembedding reads; "
        "mapped to them by an affine map that was fitted to every second row and is judged on the others; or as "
        "they are, with an unembedding fitted anew to training sequences by logistic regression. Controls: the "
        "body's own embeddings, treated alike, and untrained ones. Found: as they are, the embeddings of another "
        "body do no better than guessing on modular addition and needle, and no better than a heuristic "
        "elsewhere. A rotation brings all of needle back and most of decimal addition, far more than it makes of "
        "untrained embeddings: there, bodies are trained to one geometry. Modular addition: no. An affine map "
        "does not reach rows that it has not seen, not even the body's own, and an unembedding fitted anew to "
        "1,024 sequences makes little more of another body's embeddings than of untrained ones (of the body's own "
        "in modular addition, half). Accuracy on test sequences; dashed: the best simple heuristic."
    ),
    experiment="bodies",
    compute=compute,
    plot=plot,
    n_bodies=N_BODIES,
    rows=(TASK,),
)
