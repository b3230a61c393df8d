"""Table 6: how many parameters there are, and how many of them a random transformer trains."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import plotly.graph_objects as go
import polars as pl

from rtinterp.figures import style
from rtinterp.figures.figure import Figure
from rtinterp.models.body import Body
from rtinterp.models.parameters import POSITIONAL_EMBEDDING, TOKEN_EMBEDDING, UNEMBEDDING, Parameter
from rtinterp.models.regimes import Trainable, trained_parameters
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.papers.random_transformers import published
from rtinterp.papers.random_transformers.scales import PAPER
from rtinterp.tasks import LanguageModelling, Task
from rtinterp.training.run import Run

#: The number of parameters does not depend on the text.
ANY_CORPUS = "0" * 64
EMBEDDINGS = {
    "token_embedding": TOKEN_EMBEDDING,
    "positional_embedding": POSITIONAL_EMBEDDING,
    "unembedding": UNEMBEDDING,
}
HEADER = [
    "task", "layers,<br>width", "token<br>embedding", "positional<br>embedding", "unembedding", "body",
    "random trains<br>(embeddings)", "normal trains<br>(all)", "random / normal",
]  # fmt: skip


def compute(runs: Sequence[Run]) -> pl.DataFrame:
    """Make one row per task and width of the official code; every column after ``d_model`` counts parameters."""
    return pl.DataFrame([_counts(task, model) for task, model in paper_models()])


def paper_models() -> list[tuple[Task, ModelSpec]]:
    """List the tasks and transformers of the paper's tables, at its sizes."""
    language = PAPER.language
    stories = LanguageModelling(ANY_CORPUS, language.d_vocab, language.context_length)
    imitation = PAPER.imitation
    return [
        *((b.task, ModelSpec(d_model)) for b in PAPER.algorithmic for d_model in (b.wide, b.narrow)),
        (PAPER.memorization.task, ModelSpec(PAPER.memorization.wide)),
        *((stories, language.body(language.widths[-1], n_layers)) for n_layers in language.depths),
        (imitation.task(imitation.target_widths[0]), imitation.student),
    ]


def n_trainable(task: Task, model: Body, trainable: Trainable) -> int:
    """Count the parameters that train under a regime."""
    return _total(trained_parameters(model.parameters(task.d_vocab, task.n_ctx), trainable))


def _total(parameters: Iterable[Parameter]) -> int:
    return sum(math.prod(parameter.shape) for parameter in parameters)


def _counts(task: Task, model: ModelSpec) -> dict[str, str | int]:
    everything = trained_parameters(model.parameters(task.d_vocab, task.n_ctx), "all")
    of_part = {part: _total(p for p in everything if p.name == name) for part, name in EMBEDDINGS.items()}
    return {
        "task": type(task).__name__,
        "d_vocab": task.d_vocab,
        "n_ctx": task.n_ctx,
        "body": model.label,
        "n_layers": model.n_layers,
        "d_model": model.d_model,
        **of_part,
        "intermediate": _total(everything) - sum(of_part.values()),
        "trained_random": n_trainable(task, model, "embeddings"),
        "trained_normal": n_trainable(task, model, "all"),
    }


def plot(table: pl.DataFrame) -> go.Figure:
    rows = list(map(_row, table.iter_rows(named=True)))
    figure = style.table_figure(HEADER, rows, [2.1, 0.8, 1.1, 1.1, 1.2, 1.1, 1.3, 1.2, 1.2])
    title = "Table 6: parameters at the paper's sizes"
    text = "counted from the sizes of the official code; nothing is trained"
    return style.finish_table_with(figure, title, text, width=1080)


def _row(counts: dict[str, Any]) -> list[str]:
    sizes = style.small(f"{counts['d_vocab']:,} tokens, {counts['n_ctx']} positions")
    parts = (*EMBEDDINGS, "intermediate", "trained_random", "trained_normal")
    return [
        style.task_title(counts["task"]) + sizes,
        f"{counts['n_layers']}, {counts['d_model']}",
        *(f"{counts[part]:,}" for part in parts),
        f"{counts['trained_random'] / counts['trained_normal']:.1%}",
    ]


FIGURE = Figure(
    name="table6_parameters",
    title="Table 6: parameters",
    caption=(
        "What a random transformer trains, its embeddings, is a small part of what a fully trained (normal) one does "
        "if both are wide; if they are narrow, or the vocabulary is large, it is not. The paper's table prints "
        f"{published.ODD_PARAMETER_COUNT.value:,} in one place, which is none of these counts; decimal addition at "
        "width 1024 would make it with 35 positions, but the official code has 40."
    ),
    experiment=None,
    compute=compute,
    plot=plot,
)
