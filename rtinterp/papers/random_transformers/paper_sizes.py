"""Which rows of our tables stand at the paper's own sizes."""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Mapping

import polars as pl

from rtinterp.papers.random_transformers.scales import SCALES, Scale

#: Parameters of a task that make another task of the same size: the text, and which random target is imitated.
FREE = {"corpus", "target_d_model", "target_seed"}
#: Of language models, whose task needs a corpus to be made.
LANGUAGE_TASK = "LanguageModelling"


def is_papers_task(task: str) -> bool:
    """Return whether a task, told as the column ``task`` does, is one of the paper's, with its parameters.

    A parameter that an older table does not name is as it was then, which is the paper's.
    """
    name, _, parameters = task.partition("(")
    known = _papers_parameters().get(name)
    return known is not None and _fixed(parameters).items() <= known.items()


def at_paper_size(table: pl.DataFrame, widths: Collection[int]) -> pl.Series:
    """Tell of each row whether it is of one of the paper's tasks, and of a model of one of these widths."""
    tasks = [task for task in table["task"].unique() if is_papers_task(task)]
    return table.select(pl.col("task").is_in(tasks) & pl.col("d_model").is_in(list(widths))).to_series()


@functools.cache
def _papers_parameters() -> Mapping[str, Mapping[str, str]]:
    """By name of the task."""
    scale: Scale = SCALES["paper"]
    tasks = [*(budget.task for budget in scale.algorithmic), scale.memorization.task, scale.imitation.task(4)]
    language = {"d_vocab": str(scale.language.d_vocab), "context_length": str(scale.language.context_length)}
    by_name = {type(task).__name__: _fixed(repr(task).partition("(")[2]) for task in tasks}
    return {**by_name, LANGUAGE_TASK: language}


def _fixed(parameters: str) -> dict[str, str]:
    return {name: value for name, value in re.findall(r"(\w+)=('[^']*'|[^,)]+)", parameters) if name not in FREE}
