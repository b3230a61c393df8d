"""The paper's own numbers, to stand beside ours and never among them.

They are for the paper's sizes and budgets, medians of 10 seeds. A number is printed only if it was read in the paper or
its code, or is quoted from there by others; the rest of the paper's cells stay blank. Shares are in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import polars as pl

from rtinterp.figures.comparison import Published
from rtinterp.models.regimes import Trainable
from rtinterp.papers.random_transformers.paper_sizes import is_papers_task
from rtinterp.tasks import (
    DecimalAddition,
    Memorization,
    ModularAddition,
    NeedleInAHaystack,
    ParenthesisBalancing,
    Task,
)

#: "wide" is the paper's 1024 and "narrow" its 16, or what stands for them at another scale.
Size = Literal["wide", "narrow"]
PAPER_WIDTHS: dict[Size, int] = {"wide": 1024, "narrow": 16}
#: Widths of the other models: of memorization, of students that imitate, and of the widest language model.
MEMORIZATION_WIDTH, STUDENT_WIDTH, LANGUAGE_WIDTH = 128, 512, 512

#: Where the paper's statement is what we know.
SOLVES, FAILS = "solves", "fails"


def _read(value: float | str, source: str) -> Published:
    return Published(value, source, "read")


def _quoted(value: float | str, source: str) -> Published:
    return Published(value, source, "second-hand")


#: Test accuracy by task, body, size and regime.
ACCURACY: dict[tuple[type[Task], str, Size, Trainable], Published] = {
    (ModularAddition, "transformer", "wide", "embeddings"): _read(1.0, "table 1"),
    (NeedleInAHaystack, "transformer", "wide", "embeddings"): _read(1.0, "table 1"),
    (DecimalAddition, "transformer", "wide", "embeddings"): _read(1.0, "table 1"),
    (ParenthesisBalancing, "transformer", "wide", "embeddings"): _read(1.0, "table 1"),
    (ModularAddition, "transformer", "narrow", "embeddings"): _quoted(0.013, "table 1"),
    (ParenthesisBalancing, "transformer", "narrow", "embeddings"): _quoted(0.873, "table 1"),
    (ParenthesisBalancing, "transformer", "wide", "all"): _quoted(0.923, "table 1"),
    (ModularAddition, "transformer", "narrow", "all"): _quoted(0.972, "table 1"),
    (DecimalAddition, "transformer", "narrow", "all"): _quoted(0.675, "table 1"),
    (NeedleInAHaystack, "lstm", "wide", "all"): _quoted(0.995, "table 1"),
    (DecimalAddition, "lstm", "wide", "all"): _quoted(0.53, "table 1"),
}

#: What wide models do of which all embeddings, or only some of them, train.
STATEMENTS: dict[tuple[type[Task], Trainable], Published] = {
    (ModularAddition, "embeddings"): _read(SOLVES, "table 1"),
    (NeedleInAHaystack, "embeddings"): _read(SOLVES, "table 1"),
    (DecimalAddition, "embeddings"): _read(SOLVES, "table 1"),
    (ParenthesisBalancing, "embeddings"): _read(SOLVES, "table 1"),
    (ModularAddition, "unembedding"): _quoted(FAILS, "table 2"),
    (NeedleInAHaystack, "unembedding"): _quoted(FAILS, "table 2"),
    (DecimalAddition, "unembedding"): _quoted(FAILS, "table 2"),
    (ParenthesisBalancing, "unembedding"): _quoted(FAILS, "table 2"),
    (ModularAddition, "input_embeddings"): _quoted(FAILS, "table 2"),
    (DecimalAddition, "token_embedding+unembedding"): _quoted(FAILS, "table 2"),
}

#: Share of the pairs that a model of width 128 recalls, and bits recalled per trainable parameter.
RECALL: dict[tuple[type[Task], Trainable], Published] = {
    (Memorization, "all"): _quoted(0.805, "table 3"),
    (Memorization, "embeddings"): _quoted(0.045, "table 3"),
}
BITS_PER_PARAMETER: dict[tuple[type[Task], Trainable], Published] = {
    (Memorization, "all"): _quoted(2.88, "table 3"),
    (Memorization, "embeddings"): _quoted(0.41, "table 3"),
}

#: A count of parameters that the sizes of the official code do not make.
ODD_PARAMETER_COUNT = _quoted(99_328, "table 6")

#: Of the random transformer that adds modulo p, as "The Clock and the Pizza" (arXiv 2306.17844) defines them.
CIRCUIT_MEASURES = {
    "gradient_symmetricity": _quoted(0.88, "modular addition"),
    "distance_irrelevance": _quoted(0.88, "modular addition"),
}

#: What the two circuits have by the same measures, in that paper.
CIRCUITS: dict[str, dict[str, Published]] = {
    "clock": {
        "gradient_symmetricity": _quoted(0.33, "arXiv 2306.17844"),
        "distance_irrelevance": _quoted(0.85, "arXiv 2306.17844"),
    },
    "pizza": {
        "gradient_symmetricity": _quoted(0.99, "arXiv 2306.17844"),
        "distance_irrelevance": _quoted(0.17, "arXiv 2306.17844"),
    },
}

#: The least and the largest mean KL between a target's outputs on two inputs, in nats.
TARGET_KL = (_read(0.8, "appendix D.2.2"), _read(3.3, "appendix D.2.2"))

#: Nats per token: of the best fully trained model, and of the random one of width 512, of which two layers did best.
LANGUAGE_LOSS: dict[Trainable, Published] = {
    "embeddings": _quoted(2.64, "figure 4"),
    "all": _quoted(1.35, "figure 4"),
}


def accuracy(model: Mapping[str, Any]) -> float | None:
    """Return the paper's test accuracy of a model, where there is one to print.

    Args:
        model: ``task``, ``body``, ``d_model`` and ``trainable`` of a run, as in a row of a table; the paper says
            nothing of models of other sizes, and scores sums from the second digit on.
    """
    size = _size(model)
    return None if size is None else _number(ACCURACY.get((_kind(model), model["body"], size, model["trainable"])))


def statement(model: Mapping[str, Any]) -> str | None:
    """Return ``"solves"`` or ``"fails"``, where the paper says so of a model, which is told as to ``accuracy``."""
    said = STATEMENTS.get((_kind(model), model["trainable"])) if _size(model) == "wide" else None
    return str(said.value) if said is not None and said.printable else None


def note(table: pl.DataFrame, kind: Literal["accuracy", "statement"]) -> str:
    """Say what stands for the paper in a table, or why nothing does."""
    say = accuracy if kind == "accuracy" else statement
    if any(say(model) is not None for model in table.iter_rows(named=True)):
        return "paper: what it reports of models of this very size, after its own training"
    return "no model here is of the paper's size, so its numbers do not stand here"


def recall(task: Memorization, trainable: Trainable) -> tuple[float | None, float | None]:
    """Return the paper's share of recalled pairs, and its bits per trainable parameter, at its number of keys."""
    if task != Memorization():
        return None, None
    key = type(task), trainable
    return _number(RECALL.get(key)), _number(BITS_PER_PARAMETER.get(key))


def _size(model: Mapping[str, Any]) -> Size | None:
    """The paper's name for the size of a model; None if it is none of the paper's."""
    sizes: dict[int, Size] = {d_model: size for size, d_model in PAPER_WIDTHS.items()}
    return sizes.get(model["d_model"]) if is_papers_task(model["task"]) else None


def _kind(model: Mapping[str, Any]) -> type[Task]:
    kinds = {kind.__name__: kind for kind, *_ in ACCURACY}
    return kinds[model["task"].partition("(")[0]]


def _number(number: Published | None) -> float | None:
    return float(number.value) if number is not None and number.printable else None
