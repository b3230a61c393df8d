"""Tables from runs: computed in this process, or those of several figures in processes of one thread each.

Such a process gets names and specs as JSON, and opens the stores itself. What it cannot do, such as find a figure that
was defined in a notebook, open a damaged run, or compute a table, it leaves to the process that asked, where the error
is raised as it ever was.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import math
import sys
from collections.abc import Callable, Generator, Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import polars as pl
from pydantic import TypeAdapter

from rtinterp.executors.pools import WorkersLostError, in_processes
from rtinterp.figures.figure import Figure
from rtinterp.store import RunStore
from rtinterp.strict import strict
from rtinterp.tasks import open_corpus
from rtinterp.training.environment import users_module
from rtinterp.training.kept_steps import kept_until
from rtinterp.training.run import Run
from rtinterp.training.spec import RunSpec, spec_from_json, spec_to_json

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, eq=False)
class Wanted:
    """A table that is to be computed.

    Attributes:
        runs: those that it is computed from, in their order, each with the store that has it.
    """

    figure: Figure
    runs: Sequence[tuple[RunStore, RunSpec]]


@strict
class TableTask:
    """A table that another process is asked for.

    Attributes:
        module: where ``Figure.compute`` is defined.
        function: its name there.
        runs: the path of a store, and a spec as its canonical JSON, of each.
        corpus: what ``open_corpus`` reads for tasks on language.
        modules: to import first; they define tasks and bodies that are not rtinterp's own.
    """

    module: str
    function: str
    runs: tuple[tuple[str, str], ...]
    corpus: str | None = None
    modules: tuple[str, ...] = ()


def compute_here(figure: Figure, runs: Sequence[Run]) -> pl.DataFrame:
    """Compute the table of a figure from loaded runs."""
    _tell(figure, len(runs))
    return figure.compute(runs)


def computed_elsewhere(
    wanted: Mapping[Key, Wanted], n_processes: int, corpus: str | None = None
) -> Generator[tuple[Key, pl.DataFrame], None, None]:
    """Compute tables in several processes, those first that are to take longest; each comes as soon as it is there.

    The tables are those of ``compute_here`` on one thread, to the bit. Figures that show one measurement are computed
    one after the other in one process. Those that do not come are left to this process: what no other could do, and a
    single one, for which another process would begin in vain. Close what this returns: an interrupt then ends them.

    Args:
        corpus: what ``open_corpus`` reads.
    """
    together: dict[str, list[Key]] = {}
    for key, one in wanted.items():
        if one.runs and _can_be_imported(one.figure.compute):
            together.setdefault(one.figure.measurement or one.figure.name, []).append(key)
    if len(together) < 2:
        return
    handed_out = sorted(
        together.values(), key=lambda keys: sum(map(_size, (wanted[key] for key in keys))), reverse=True
    )
    answers = in_processes(_compute, _tasks(handed_out, wanted, corpus), n_processes)
    with contextlib.closing(answers), contextlib.suppress(WorkersLostError):
        for number, tables in answers:
            for key, table in zip(handed_out[number], tables, strict=True):
                if table is not None:
                    yield key, pl.read_ipc(io.BytesIO(table))


def by_run(figure: Figure, table: pl.DataFrame, specs: Sequence[RunSpec]) -> dict[RunSpec, pl.DataFrame]:
    """Part the table that a figure computed of some runs into the rows of each.

    Raises:
        ValueError: its rows do not say which run they are of.
    """
    lacking = [name for name in figure.key if name not in table.columns]
    if lacking:
        raise ValueError(f"{figure.name}: its table lacks {', '.join(lacking)}; rows start with run_columns(run)")
    parts = table.partition_by(figure.key, as_dict=True, maintain_order=True)
    return {spec: parts.get(tuple(figure.key_of(spec).values()), table.clear()) for spec in specs}


def _tasks(handed_out: Sequence[Sequence[Key]], wanted: Mapping[Key, Wanted], corpus: str | None) -> Iterator[str]:
    """What processes are asked for, in JSON; each is told as a process takes it."""
    for keys in handed_out:
        for key in keys:
            _tell(wanted[key].figure, len(wanted[key].runs))
        yield json.dumps([asdict(_task(wanted[key], corpus)) for key in keys])


def _task(wanted: Wanted, corpus: str | None) -> TableTask:
    compute, specs = wanted.figure.compute, [spec for _, spec in wanted.runs]
    parts = [part for spec in specs for part in (spec.task, spec.model)]
    modules = dict.fromkeys(module for part in parts if (module := users_module(part)))
    runs = tuple((str(store.path.absolute()), spec_to_json(spec)) for store, spec in wanted.runs)
    return TableTask(compute.__module__, compute.__qualname__, runs, corpus, tuple(modules))


def _compute(tasks_json: str) -> list[bytes | None]:
    """Compute tables in the process of a worker; as Arrow's, or None where something is amiss."""
    tasks = TypeAdapter(list[TableTask]).validate_json(tasks_json)
    return [_computed(task) for task in tasks]


def _computed(task: TableTask) -> bytes | None:
    try:
        for module in task.modules:
            importlib.import_module(module)
        if task.corpus is not None:
            open_corpus(task.corpus)
        compute = getattr(importlib.import_module(task.module), task.function)
        table = compute([RunStore(path).load(spec_from_json(spec)) for path, spec in task.runs])
    except Exception:
        # Whatever it is, it comes again where the table is wanted, and is told there.
        return None
    written = io.BytesIO()
    table.write_ipc(written)
    return written.getvalue()


def _can_be_imported(compute: Callable[..., Any]) -> bool:
    """Whether another process finds the function by its name; not what a notebook or a function defines."""
    module, name = getattr(compute, "__module__", None), getattr(compute, "__qualname__", "")
    return module not in (None, "__main__") and getattr(sys.modules.get(module), name, None) is compute


def _size(wanted: Wanted) -> int:
    """About how many multiplications it takes to run each model on a sequence, at each step that it kept."""
    return sum(
        sum(math.prod(parameter.shape) for parameter in spec.model_parameters())
        * spec.task.sequence_length
        * max(1, len(kept_until(spec.training.kept_steps, spec.training.n_steps, spec.training.n_steps)))
        for _, spec in wanted.runs
    )


def _tell(figure: Figure, n_runs: int) -> None:
    # Wide models run for minutes.
    print(f"{figure.name}: computing from {n_runs} stored run{'s' * (n_runs > 1)}", file=sys.stderr)
