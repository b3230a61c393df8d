"""``rtinterp sweep``."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import torch
import tyro
from rich.console import Console

from rtinterp.cli.chosen import check_scale, chosen, is_named
from rtinterp.cli.options import run_command
from rtinterp.cli.sweep_plan import print_plan
from rtinterp.executors.slurm import SlurmOptions
from rtinterp.executors.sweep import Report, Sweep, train
from rtinterp.executors.workers import Executor, Workers, plan_workers
from rtinterp.papers import Paper
from rtinterp.store import RunStore
from rtinterp.tasks import open_corpus
from rtinterp.training.environment import resolve_device

PROGRAM = "rtinterp sweep"
#: Of a limit of time, what is kept for the last step, evaluation and checkpoint of every worker.
RESERVE = 0.05
LEAST_RESERVE_SECONDS, MOST_RESERVE_SECONDS = 5.0, 60.0


class SweepError(ValueError):
    """Some of a sweep's runs could not be trained; which, has been told."""


def sweep(
    experiments: tyro.conf.Positional[tuple[str, ...]] = (),
    /,
    *,
    scale: str = "quick",
    seeds: Annotated[int, tyro.conf.arg(metavar="N")] = 1,
    minutes: float | None = None,
    plan: bool = False,
    retry_failed: bool = False,
    corpus: Annotated[str | None, tyro.conf.arg(metavar="PATH")] = None,
    runs: Path = Path("runs"),
    device: str | None = None,
    executor: Executor = "local",
    workers: Annotated[int | None, tyro.conf.arg(metavar="N")] = None,
    scheduler: Annotated[str | None, tyro.conf.arg(metavar="ADDRESS")] = None,
    slurm: SlurmOptions = SlurmOptions(),  # noqa: B008
) -> None:
    """Train the runs of experiments that the store lacks, the most valuable first.

    Args:
        experiments: names of papers, such as random_transformers, or of experiments, such as table1 or figure7; all if
            not given. Where papers have experiments of one name, paper/experiment is one of them.
        scale: sizes and budgets: quick, short or paper.
        seeds: so many seeds of every model, from the scale's first on: 1 at short, whose budgets were chosen on seed 0,
            and 0 at the others.
        minutes: stop before so many minutes have passed; what is in training then goes on from its checkpoint when the
            same command is called again.
        plan: print what each scale would train and cost, and train nothing.
        retry_failed: train runs again that diverged before.
        corpus: text for language: a .txt, .jsonl or .parquet file, a folder of two (train, valid), or a hub name.
        runs: the run store; finished runs in it are not trained again.
        device: cpu or cuda; cuda where there is one if not given. With several GPUs, worker i gets GPU i mod their
            number.
        executor: who trains: local (this process), loky (processes of this machine), dask or ray (the same, or a
            cluster), slurm (a job for every stack).
        workers: stacks of runs in training at a time; one per GPU, or per CPU core without one, if not given. The
            cores are divided among them unless OMP_NUM_THREADS is set.
        scheduler: address of a running Dask scheduler or Ray cluster.
        slurm: what jobs ask for.
    """
    start = time.time()
    _check(seeds, minutes)
    wanted = chosen("experiment", experiments, lambda paper: paper.experiments)
    check_scale(scale, wanted)
    resolved, planned = _resolve(executor, device, workers, scheduler, slurm)
    opened = None if corpus is None else open_corpus(corpus)
    store = RunStore(runs)
    if opened is None:
        wanted = _without_language(wanted, experiments)
    if plan:
        print_plan(wanted, seeds, opened, store, resolved)
        return
    specs = [
        spec
        for paper, names in wanted.items()
        for name in names
        for spec in paper.experiments[name](paper.scales[scale], seeds, opened)
    ]
    deadline = None if minutes is None else start + seconds_to_train(60 * minutes)
    _train(Sweep(store, specs, resolved, deadline, corpus, retry_failed), planned)


def seconds_to_train(limit: float) -> float:
    """Return what of a limit of time, in seconds, training may take."""
    return limit - min(max(RESERVE * limit, LEAST_RESERVE_SECONDS), MOST_RESERVE_SECONDS)


def _check(seeds: int, minutes: float | None) -> None:
    if seeds < 1:
        raise ValueError(f"--seeds {seeds}: at least 1 is needed")
    if minutes is not None and not minutes > 0:
        raise ValueError(f"--minutes {minutes:g}: must be more than 0")


def _resolve(
    executor: Executor, device: str | None, n_workers: int | None, scheduler: str | None, slurm: SlurmOptions
) -> tuple[torch.device, Workers]:
    """The device that runs train on, and who trains them."""
    if executor == "slurm":
        # The machine that submits jobs may have no GPU itself.
        resolved = torch.device(device or ("cuda" if slurm.gpus else "cpu"))
    else:
        resolved = resolve_device(device)
    n_gpus = torch.cuda.device_count()
    return resolved, plan_workers(executor, resolved, n_workers, scheduler, slurm, n_gpus=n_gpus)


def _train(sweep: Sweep, workers: Workers) -> None:
    """Train and tell.

    Raises:
        SweepError: something could not be trained.
    """
    console = Console(stderr=True)

    def tell(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    n_missing = len(sweep.store.missing(sweep.specs, retry_failed=sweep.retry_failed))
    tell(f"{n_missing} runs to train")
    report: Report = train(sweep, workers, console)
    for line in report.errors:
        tell(f"not trained: {line}")
    tell(f"{report.n_trained} runs trained, {len(report.left)} left; store: {sweep.store.path}")
    if report.left:
        waiting = {run.spec for run in sweep.store.unfinished() if run.checkpoint_step is not None}
        n_begun = len(waiting.intersection(report.left))
        have = "has" if n_begun == 1 else "have"
        tell(f"of what is left, {n_begun} {have} a checkpoint; the same command goes on from there")
    if report.errors:
        what = "1 stack or run" if len(report.errors) == 1 else f"{len(report.errors)} stacks or runs"
        raise SweepError(f"{what} could not be trained, as told above")


def _without_language(wanted: Mapping[Paper, Sequence[str]], named: Sequence[str]) -> dict[Paper, list[str]]:
    """The experiments that need no corpus, and those on language that are named themselves, which then is an error."""
    return {
        paper: [name for name in names if name not in paper.on_language or is_named(paper, name, named)]
        for paper, names in wanted.items()
    }


def main(arguments: Sequence[str]) -> None:
    run_command(sweep, arguments, PROGRAM)
