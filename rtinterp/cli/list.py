"""``rtinterp list``."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import polars as pl
import tyro

from rtinterp.cli import unknown
from rtinterp.cli.options import run_command
from rtinterp.cli.run_listing import print_runs, print_unfinished
from rtinterp.store import RunStore
from rtinterp.store.files import holds, write_file
from rtinterp.store.finding import matching
from rtinterp.store.table import FAILURE_SCHEMA, failures_table
from rtinterp.store.unfinished import UnfinishedRun

PROGRAM = "rtinterp list"
#: What the columns are called on the screen.
SHORT_NAMES = {
    "parameters": "task_parameters",
    "width": "d_model",
    "steps": "n_steps",
    "batch": "batch_size",
    "rate": "learning_rate",
    "loss": "test_loss",
    "accuracy": "test_accuracy",
}
#: What is called otherwise as an option.
SHORT_OPTIONS = {"d_model": "width"}
COLUMNS = (*FAILURE_SCHEMA, *SHORT_NAMES)
DEFAULT_ORDER = ("task", "task_parameters", "body", "d_model", "trainable", "seed")


def list_runs(
    *,
    task: str | None = None,
    width: Annotated[tuple[int, ...], tyro.conf.arg(metavar="WIDTH...")] = (),
    trainable: str | None = None,
    seed: Annotated[tuple[int, ...], tyro.conf.arg(metavar="SEED...")] = (),
    body: str | None = None,
    where: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE...")] = (),
    min_accuracy: float | None = None,
    max_accuracy: float | None = None,
    sort: Annotated[str | None, tyro.conf.arg(metavar="COLUMN")] = None,
    descending: bool = False,
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None,
    force: bool = False,
    runs: Path = Path("runs"),
) -> None:
    """List the stored runs, those that failed with the reason, and what is in training or waits to be gone on with.

    Args:
        task: only runs of this task, such as modular_addition.
        width: only runs of these widths (d_model).
        trainable: only runs that train this set of parameters, such as embeddings, all or mlp+norms.
        seed: only runs of these seeds.
        body: only runs of this kind of model: transformer, linearised transformer, lstm, rnn or what a body of one's
            own is called.
        where: only runs of which this holds, of any option of their task, model or training, such as p=79 n_layers=2;
            several values of a name are alternatives.
        min_accuracy: only runs with at least this test accuracy, from 0 to 1; none whose task has no accuracy.
        max_accuracy: only runs with at most this test accuracy.
        sort: column to sort by, such as accuracy, loss, width, seed, duration_seconds or finished_at.
        descending: sort from the largest.
        out: write the table, all columns, to this .csv or .parquet file instead of printing it.
        force: write over a file that is already there.
        runs: the run store.
    """
    if sort is not None and sort not in COLUMNS:
        raise ValueError(unknown("column", sort, COLUMNS))
    given = {"task": task, "d_model": width, "trainable": trainable, "seed": seed, "body": body}
    store = RunStore(runs)
    described = {name: value for name, value in given.items() if value not in (None, ())}
    table, unfinished = _read(store, described | _fields(where, described))
    measured = pl.col("test_accuracy")
    limits = [
        None if min_accuracy is None else measured >= min_accuracy,
        None if max_accuracy is None else measured <= max_accuracy,
    ]
    order = DEFAULT_ORDER if sort is None else (SHORT_NAMES.get(sort, sort),)
    chosen = table.filter(*(limit for limit in limits if limit is not None))
    chosen = chosen.sort(order, descending=descending, nulls_last=True, maintain_order=True)
    if out is not None:
        _write(chosen, out, force)
        return
    if not chosen.is_empty():
        print_runs(chosen)
    elif n_stored := len(store) + len(store.failed()):
        print(f"none of the {n_stored} runs in {runs} is like that")
    else:
        print(f"no finished runs in {runs}" + ("" if runs.is_dir() else ", which does not exist"))
    print_unfinished(unfinished)


def _fields(where: Sequence[str], described: Mapping[str, object]) -> dict[str, list[object]]:
    """The values of each name, as JSON writes them; what is no JSON is a text."""
    fields: dict[str, list[object]] = {}
    for words in where:
        name, equals, text = words.partition("=")
        # As options are typed, and as Python knows them.
        name = name.replace("-", "_")
        if not equals or not text:
            raise ValueError(f"--where {words}: write NAME=VALUE, such as p=79")
        if name in described:
            raise ValueError(f"--where {words}: --{SHORT_OPTIONS.get(name, name)} says it already")
        try:
            value = json.loads(text.lower() if text in ("True", "False") else text)
        except ValueError:
            value = text
        fields.setdefault(name, []).append(tuple(value) if isinstance(value, list) else value)
    return fields


def _read(store: RunStore, wanted: Mapping[str, object]) -> tuple[pl.DataFrame, list[UnfinishedRun]]:
    """The finished and failed runs of a store, and the unfinished ones, that are as wanted."""
    failures, unfinished = store.failed(), store.unfinished()
    table = pl.concat([store.table(), failures_table(failures)], how="diagonal").select(*FAILURE_SCHEMA)
    specs = {failure.run_id: failure.spec for failure in failures} | {run.spec.run_id: run.spec for run in unfinished}
    specs |= {run_id: store.spec_of(run_id) for run_id in table["run_id"] if run_id not in specs}
    found = matching(specs, wanted)
    return table.filter(pl.col("run_id").is_in(found)), [run for run in unfinished if run.spec.run_id in found]


def _write(table: pl.DataFrame, out: Path, force: bool) -> None:
    buffer = io.BytesIO()
    writers = {".csv": table.write_csv, ".parquet": table.write_parquet}
    if out.suffix not in writers:
        raise ValueError(f"--out {out}: must end in .csv or .parquet")
    writers[out.suffix](buffer)
    if not holds(out, buffer.getvalue()):
        write_file(out, buffer.getvalue(), force=force)
    print(f"{len(table)} runs -> {out}")


def main(arguments: Sequence[str]) -> None:
    run_command(list_runs, arguments, PROGRAM)
