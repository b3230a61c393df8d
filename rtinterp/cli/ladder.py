"""``rtinterp ladder``."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
import tyro
from rich.console import Console
from rich.table import Table

from rtinterp.cli.ladder_options import read_dial, read_settings, read_widths
from rtinterp.cli.options import run_command
from rtinterp.cli.sweep import seconds_to_train
from rtinterp.cli.sweep_plan import cost_cells
from rtinterp.executors.slurm import SlurmOptions
from rtinterp.executors.workers import Workers, plan_workers
from rtinterp.figures.regime_style import regime_name
from rtinterp.figures.render import write_table
from rtinterp.models.regimes import Trainable
from rtinterp.papers.ladder.bodies import SOFTMAX, body_of
from rtinterp.papers.ladder.climbing import Climb, Search
from rtinterp.papers.ladder.looks import rung_name
from rtinterp.papers.ladder.rungs import dial_of, value_of
from rtinterp.papers.ladder.tables import BAR
from rtinterp.registry import UnknownNameError
from rtinterp.store import RunStore
from rtinterp.training.cost import ASSUMED_SHARE_OF_PEAK, Cost
from rtinterp.training.environment import describe_device, resolve_device
from rtinterp.training.peak import matmul_peak

PROGRAM = "rtinterp ladder"
#: What trains, and what its least width is called.
REGIMES: dict[Trainable, str] = {"all": "w*", "embeddings": "W*"}


def ladder(
    task: tyro.conf.Positional[str],
    /,
    *,
    dial: Annotated[str | None, tyro.conf.arg(metavar="NAME=VALUES")] = None,
    settings: Annotated[tuple[str, ...], tyro.conf.arg(name="set", metavar="FIELD=VALUE")] = (),
    widths: Annotated[str, tyro.conf.arg(metavar="WIDTHS")] = "16..512",
    seeds: Annotated[int, tyro.conf.arg(metavar="N")] = 3,
    first_seed: Annotated[int, tyro.conf.arg(metavar="N")] = 0,
    bodies: tuple[str, ...] = (SOFTMAX,),
    regimes: tuple[str, ...] = tuple(REGIMES),
    minutes: float | None = None,
    plan: bool = False,
    runs: Path = Path("runs"),
    out: Path = Path("results"),
    device: str | None = None,
    workers: Annotated[int, tyro.conf.arg(metavar="N")] = 1,
) -> None:
    """Find the least widths at which a task is solved as it grows harder: fully trained, w*, and at random, W*.

    A width solves a task if the median accuracy of its seeds is at least 99 %. Bisection trains as few widths as it
    can, from which on all are taken to do what a narrower one does. The width that it finds and the one below it have
    been trained; what no width reaches is told, and not guessed.

    Args:
        task: its name, such as k_hop_induction.
        dial: what makes it harder and the values to try, such as k=1,2,4; those of the map if not given.
        settings: other fields of the task, such as group=Z2, or test_rows=validation to choose a training by.
        widths: powers of two from one to the other, 16..512, or a list, 16,48,96.
        seeds: so many seeds of every width, trained together.
        first_seed: the first of them.
        bodies: what lies between the embeddings: softmax, wide_qk, linear, linear_normalised, retention, gated_linear,
            lstm, mamba, s4d.
        regimes: what trains: all, whose least width is w*, and embeddings, whose is W*.
        minutes: stop before so many minutes have passed; the same command goes on from there.
        plan: print what it would train and cost at most, and train nothing.
        runs: the run store; finished runs in it are not trained again.
        out: gets the tables, data/ladder_TASK_runs.csv and data/ladder_TASK_widths.csv.
        device: cpu or cuda; cuda where there is one if not given.
        workers: train in so many processes of this machine, which share its cores or GPUs; several rungs and bodies
            advance beside each other then. The runs are the same.
    """
    start = time.time()
    if seeds < 1:
        raise ValueError(f"--seeds {seeds}: at least 1 is needed")
    if minutes is not None and not minutes > 0:
        raise ValueError(f"--minutes {minutes:g}: must be more than 0")
    searches = _searches(task, dial, settings, widths, range(first_seed, first_seed + seeds), bodies, regimes)
    resolved, console = resolve_device(device), Console(stderr=True)

    def tell(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    deadline = None if minutes is None else start + seconds_to_train(60 * minutes)
    climb = Climb(RunStore(runs), resolved, _planned(workers, resolved), deadline, tell)
    if plan:
        _print_plan(climb, searches, resolved)
        return
    name = "_".join(["ladder", task, *(setting.replace("=", "-") for setting in settings)])
    # After every round: what is cut off has left what it knew.
    climb.climb(searches, lambda: _write(climb, searches, name, out))
    _write(climb, searches, name, out)
    _tell_result(climb, searches)
    tell(f"{climb.n_trained} runs trained; store: {runs}; tables: {out}/data/{name}_*.csv")


def _planned(n_workers: int, device: torch.device) -> Workers:
    """This process, or several of this machine."""
    executor = "local" if n_workers == 1 else "loky"
    return plan_workers(executor, device, n_workers, None, SlurmOptions(), n_gpus=torch.cuda.device_count())


def _searches(
    task: str,
    dial: str | None,
    settings: Sequence[str],
    widths: str,
    seeds: Sequence[int],
    bodies: Sequence[str],
    regimes: Sequence[str],
) -> list[Search]:
    """What is looked for, the easiest rung first.

    Raises:
        ValueError: something of it is not there, or cannot be trained.
    """
    known = dial_of(task)
    name, values = (known.name, known.values) if dial is None else read_dial(dial)
    fields, tried = read_settings(settings), read_widths(widths)
    rungs = [dial_of(task, name).rung(value, fields) for value in values]
    if not bodies:
        raise ValueError("--bodies: name at least one body")
    if not regimes:
        raise ValueError("--regimes: name all, embeddings or both")
    for regime in regimes:
        if regime not in REGIMES:
            raise UnknownNameError("regime", regime, REGIMES)
    trained = [regime for regime in REGIMES if regime in regimes]
    searches = [
        Search(rung, body, trainable, tried, tuple(seeds))
        for rung, body, trainable in itertools.product(rungs, dict.fromkeys(bodies), trained)
    ]
    # Before any training: what no body or task can be.
    for body, width in itertools.product(bodies, tried):
        body_of(body, width)
    for search in searches:
        search.specs(tried[0])
    return searches


def _write(climb: Climb, searches: Sequence[Search], name: str, out: Path) -> None:
    for what, table in (("runs", climb.known_runs(searches)), ("widths", climb.known_widths(searches))):
        if len(table):
            write_table(table, f"{name}_{what}", out)


def _tell_result(climb: Climb, searches: Sequence[Search]) -> None:
    """Print a line for every rung and body, with the least width of what trains."""
    table = Table(title=f"least width that reaches {BAR:.0%}", title_justify="left", box=None, header_style="bold")
    regimes = list(dict.fromkeys(search.trainable for search in searches))
    for column in ("task", "body", *(f"{REGIMES[regime]}, {regime_name(regime)}" for regime in regimes)):
        table.add_column(column)
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for search in searches:
        of_rung = cells.setdefault((_named(search), search.body), {})
        known = climb.known_widths([search])
        of_rung[search.trainable] = told(known.row(0, named=True)) if len(known) else "open"
    for (task, body), of_rung in cells.items():
        table.add_row(task, body, *(of_rung[regime] for regime in regimes))
    Console().print(table)
    print("Brackets: median accuracy, and that of the next narrower width. A wider model is taken to do no worse.")
    if any("not monotone" in cell for of_rung in cells.values() for cell in of_rung.values()):
        print("not monotone: a wider one that was trained falls short of the bar.")


def _named(search: Search) -> str:
    task = search.rung.task
    return rung_name(repr(task), dial_of(task.name).name, value_of(task))


def told(row: dict[str, float | int | str | bool | None]) -> str:
    """Tell what is known of a least width, from its row in ``threshold_table``."""
    if row["status"] == "not reached":
        return f"> {row['widest']} ({row['accuracy_below']:.1%})"
    if row["status"] == "open":
        above = f"> {row['below']}" if row["below"] is not None else ""
        up_to = f"<= {row['width']}" if row["width"] is not None else ""
        return f"open{':' * bool(above or up_to)} {', '.join(filter(None, [above, up_to]))}".strip()
    below = "" if row["accuracy_below"] is None else f"; {row['accuracy_below']:.1%} at {row['below']}"
    at_most = "<= " if row["below"] is None else ""
    return f"{at_most}{row['width']} ({row['accuracy_at']:.1%}{below})" + ", not monotone" * (not row["is_monotone"])


def _print_plan(climb: Climb, searches: Sequence[Search], device: torch.device) -> None:
    """Print what every search may still train, at most, and cost on the device."""
    peak = matmul_peak(device)
    table = Table(title="at most", title_justify="left", box=None, header_style="bold")
    for column in ("task", "body", "trains"):
        table.add_column(column)
    for column in ("runs", "PFLOP", "estimated time"):
        table.add_column(column, justify="right")
    total = Cost(0, 0.0, 0.0)
    for search in searches:
        one = climb.at_most(search, peak)
        total = Cost(total.n_runs + one.n_runs, total.flops + one.flops, total.seconds + one.seconds)
        table.add_row(_named(search), search.body, regime_name(search.trainable), *cost_cells(one))
    table.add_row("all", "", "", *cost_cells(total), style="bold")
    Console().print(table)
    print(
        f"\nOn {describe_device(device)}, at {ASSUMED_SHARE_OF_PEAK:.0%} of its measured {peak / 1e9:,.0f} GFLOP/s in "
        "float32, without evaluation. Small models take longer on a GPU, which waits for each of their steps."
    )


def main(arguments: Sequence[str]) -> None:
    run_command(ladder, arguments, PROGRAM)
