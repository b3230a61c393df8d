"""``rtinterp figures``, which is also ``python analyses/make_figures.py``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
import tyro
from rich.console import Console

from rtinterp.cli import unknown
from rtinterp.executors.slurm import SlurmOptions
from rtinterp.executors.sweep import Sweep, train
from rtinterp.executors.workers import plan_workers
from rtinterp.experiments import SCALES, NoCorpusError
from rtinterp.figures import FIGURES, Figure
from rtinterp.figures.draw import draw, redraw
from rtinterp.store import RunStore
from rtinterp.tasks import Corpus, open_corpus
from rtinterp.training.environment import resolve_device

PROGRAM = "rtinterp figures"
#: Runs that come with the repository, from whose root the command is run.
SHIPPED_RUNS = Path("figures", "runs")


def figures(
    *,
    scale: str | None = None,
    only: tuple[str, ...] = (),
    seeds: Annotated[int | None, tyro.conf.arg(metavar="N")] = None,
    corpus: Annotated[str | None, tyro.conf.arg(metavar="PATH")] = None,
    runs: Path = Path("runs"),
    out: Path = Path("figures"),
    device: str | None = None,
    retry_failed: bool = False,
    workers: Annotated[int, tyro.conf.arg(metavar="N")] = 1,
) -> None:
    """Draw the paper's figures and tables: from what is stored or, at a scale, training what is missing.

    Args:
        scale: sizes and budgets: quick (small ones, for two CPU cores), short (the paper's sizes with fewer steps) or
            paper (the official ones: a GPU, days). Without it nothing is trained: each figure is drawn at the best
            scale that is stored, from the runs in the run store and those in figures/runs, and from the tables under
            the output folder.
        only: names of figures to draw, such as figure2_attention; all if not given.
        seeds: seeds 0 to N - 1 of every model, 1 if not given; only with a scale.
        corpus: text for language models: a .txt or .xz file, a folder with a train and a valid file, or a hub name.
            Without one, nothing on language is trained or computed anew.
        runs: the run store; finished runs in it are used, new ones are added.
        out: folder for HTML, images and, under data/, the tidy tables.
        device: cpu or cuda; cuda where there is one if not given.
        retry_failed: train runs again that diverged before.
        workers: train in so many processes of this machine, which share its cores or GPUs. Small models train faster in
            two processes of one thread than in one of two.
    """
    if scale is not None and scale not in SCALES:
        raise ValueError(unknown("scale", scale, SCALES))
    if scale is None and seeds is not None:
        raise ValueError(f"--seeds {seeds} needs a scale, as in --scale quick; without one nothing is trained")
    for name in only:
        if name not in FIGURES:
            raise ValueError(unknown("figure", name, FIGURES))
    if seeds is not None and seeds < 1:
        raise ValueError(f"--seeds {seeds}: at least 1 is needed")
    if workers < 1:
        raise ValueError(f"--workers {workers}: at least 1 is needed")
    resolved = resolve_device(device)
    store = RunStore(runs)
    text = None if corpus is None else open_corpus(corpus)
    if scale is None:
        chosen = [figure for figure in FIGURES.values() if not only or figure.name in only]
        redraw(chosen, [store, RunStore(SHIPPED_RUNS)], out, corpus=text)
        return
    chosen = _chosen(only, text)
    n_seeds = 1 if seeds is None else seeds
    if workers > 1:
        specs = [spec for figure in chosen for spec in figure.specs(scale, n_seeds, text)]
        wanted = Sweep(store, specs, resolved, corpus=corpus, retry_failed=retry_failed)
        _train_in_processes(wanted, workers)
    draw(chosen, store, out, scale=scale, n_seeds=n_seeds, corpus=text, device=device, retry_failed=retry_failed)


def _train_in_processes(sweep: Sweep, n_workers: int) -> None:
    """What could not be trained is told, and told again by the figures that need it."""
    n_gpus = torch.cuda.device_count()
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    workers = plan_workers("loky", sweep.device, n_workers, None, SlurmOptions(), n_gpus=n_gpus)
    for line in train(sweep, workers, console).errors:
        console.print(f"not trained: {line}")


def _chosen(only: Sequence[str], corpus: Corpus | None) -> list[Figure]:
    """In the order in which they are drawn. Without a corpus, language is left out unless it is named."""
    if only:
        return [figure for figure in FIGURES.values() if figure.name in only]
    left_out = [figure.name for figure in FIGURES.values() if figure.needs_corpus and corpus is None]
    if left_out:
        print(f"not drawn: {', '.join(left_out)}; {NoCorpusError()}", file=sys.stderr)
    return [figure for figure in FIGURES.values() if figure.name not in left_out]


def main(arguments: Sequence[str]) -> None:
    tyro.cli(figures, args=arguments, prog=PROGRAM)
