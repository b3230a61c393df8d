"""How certain an accuracy in a table is: its test rows, its interval, and whether it is above the task's floors."""

from __future__ import annotations

import functools

import polars as pl
import torch

from rtinterp.analysis import Interval, bootstrap_median, count_rows
from rtinterp.figures import style
from rtinterp.tasks import Task

#: Of the resamples of every interval, so that a table has the same ones each time it is drawn.
RESAMPLING_SEED = 0
#: Shares of a row's weight by which the effective number of rows may fall short of the distinct ones without a word.
TOLERANCE = 0.02

NOT_ABOVE_GUESSING, NOT_ABOVE_HEURISTIC = "†", "‡"
NOTE = (
    f"[ ]: 95 % interval over test rows and seeds; its lower end is {NOT_ABOVE_GUESSING} not above guessing, "
    f"{NOT_ABOVE_HEURISTIC} not above the best heuristic"
)
UNKNOWN_NOTE = "without [ ]: drawn before test rows were counted, so that nothing is said of how certain it is"
CAPTION = (
    "Median over seeds; in brackets its 95 % interval over test rows and seeds (of one seed, over its rows alone), "
    "below it minimum to maximum. A test row is a distinct sequence, however many predictions it scores; rows that "
    "were drawn again and again count for less. Three seeds bound the median of all seeds in 75 % of cases at most, "
    f"five in 94 %. {NOT_ABOVE_GUESSING}: the interval's lower end is not above guessing, so nothing need have been "
    f"learnt; {NOT_ABOVE_HEURISTIC}: not above the best simple heuristic, so the task need not have been understood."
)


@functools.cache
def row_columns(task: Task) -> dict[str, int | float]:
    """Return the columns that say how many test rows there are: distinct ones, and as many as they count for."""
    n_distinct, n_effective = count_rows(task.test_set().tokens)
    return {"n_test_rows": n_distinct, "n_effective_rows": n_effective}


def interval_of(runs: pl.DataFrame, column: str = "test_accuracy", n_rows: str = "n_effective_rows") -> Interval | None:
    """Estimate the interval of the median of a column of shares, from one row per seed.

    None where a run's test rows were not counted, or there are none.
    """
    if not {column, n_rows} <= set(runs.columns):
        return None
    known = runs.select(column, n_rows).drop_nulls()
    if runs.is_empty() or len(known) < len(runs) or (known[n_rows] < 1).any():
        return None
    generator = torch.Generator().manual_seed(RESAMPLING_SEED)
    return bootstrap_median(known[column].to_list(), known[n_rows].to_list(), generator)


def mark(runs: pl.DataFrame, interval: Interval | None) -> str:
    """Return the mark of models that are not surely above a floor; none where their rows were not counted.

    Guessing is the bar for having learnt anything, the best heuristic for having understood the task.
    """
    if interval is None:
        return ""
    guessing, heuristic = runs.select(pl.max("floor_accuracy", "heuristic_accuracy")).row(0)
    if interval.low <= guessing:
        return NOT_ABOVE_GUESSING
    return NOT_ABOVE_HEURISTIC if interval.low <= heuristic else ""


def cell(runs: pl.DataFrame, column: str = "test_accuracy", n_rows: str = "n_effective_rows", mark: str = "") -> str:
    """Write the median of a column of shares in %, its mark, its interval if it is known, and minimum to maximum."""
    if runs.is_empty():
        return ""
    median, *spread = style.median_and_range(runs[column]).split("<br>", 1)
    interval = interval_of(runs, column, n_rows)
    bracket = [] if interval is None else [style.small_print(in_brackets(interval))]
    return "<br>".join([f"{median} {mark}".rstrip(), *bracket, *spread])


def in_brackets(interval: Interval) -> str:
    """Write the ends in %, and of one seed, that only its rows were taken to vary."""
    ends = f"[{interval.low * 100:.1f}, {interval.high * 100:.1f}]"
    return ends if interval.over == "rows and seeds" else f"{ends} rows"


def rows_of(runs: pl.DataFrame) -> str:
    """Tell the number of test rows, and as how many they count if some were drawn often."""
    counted = runs.select(pl.col("^n_(test|effective)_rows$")).drop_nulls()
    if counted.width < 2 or counted.is_empty():
        return "test rows not counted"
    n_distinct, n_effective = counted.row(0)
    text = f"{n_distinct:,} test rows"
    return text if n_effective > (1 - TOLERANCE) * n_distinct else f"{text} that count as {n_effective:,.0f}"


def note(table: pl.DataFrame) -> str:
    """Say what brackets and marks mean, and if some are missing, why."""
    n_known = table["n_effective_rows"].count() if "n_effective_rows" in table.columns else 0
    notes = [NOTE] * (n_known > 0) + [UNKNOWN_NOTE] * (n_known < len(table))
    return "<br>".join(notes)
