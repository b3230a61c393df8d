"""``rtinterp figures``, which is also ``python analyses/make_figures.py``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from rtinterp.cli.chosen import check_scale, chosen, is_named
from rtinterp.cli.options import run_command
from rtinterp.figures import NoCorpusError, Paper
from rtinterp.figures.draw import draw, redraw
from rtinterp.figures.stored_tables import written_tables
from rtinterp.papers import PAPERS
from rtinterp.store import RunStore
from rtinterp.tasks import open_corpus
from rtinterp.training.environment import resolve_device

PROGRAM = "rtinterp figures"
#: What comes with the repository, from whose root the command is run: runs, tables and pictures.
SHIPPED = Path("figures")


def figures(
    *,
    scale: str | None = None,
    only: tuple[str, ...] = (),
    seeds: Annotated[int | None, tyro.conf.arg(metavar="N")] = None,
    corpus: Annotated[str | None, tyro.conf.arg(metavar="PATH")] = None,
    runs: Path = Path("runs"),
    out: Path = Path("results"),
    device: str | None = None,
    retry_failed: bool = False,
    workers: Annotated[int, tyro.conf.arg(metavar="N")] = 1,
) -> None:
    """Draw the figures and tables of papers: from what is stored or, at a scale, training what is missing.

    Args:
        scale: sizes and budgets: quick (small ones, for two CPU cores), short (the paper's sizes with fewer steps, in
            bfloat16) or paper (the official ones: a GPU, days). Each figure is drawn as soon as its runs are there.
            Without a scale nothing is trained: each row of a table is drawn at the best scale that is stored for it, of
            your own runs and drawings and of what comes with the repository, in figures; every row says which it is.
        only: names of papers, such as random_transformers, or of figures, such as figure2_attention; all if not given.
        seeds: so many seeds of every model, 1 if not given, from the scale's first on: 1 at short, whose budgets were
            chosen on seed 0, and 0 at the others; only with a scale.
        corpus: text for language: a .txt, .jsonl or .parquet file, a folder of two (train, valid), or a hub name.
            Without one, nothing on language is trained or computed anew.
        runs: the run store; finished runs in it are used, and so are those in figures/runs; new ones are added.
        out: gets index.html, and a folder for each paper with HTML, images and, under data/, the tidy tables.
        device: cpu or cuda; cuda where there is one if not given.
        retry_failed: train runs again that diverged before.
        workers: train in so many processes of this machine, which share its cores or GPUs, while this one draws, and
            compute tables in as many, of one thread each. Small models train faster in two processes of one thread
            than in one of two.
    """
    names = chosen("figure", only, lambda paper: paper.figures)
    # Of a paper without a name nothing is drawn, but what was drawn of it stays on the page.
    papers = [paper.only(names.get(paper, [])) for paper in PAPERS.values()]
    if scale is not None:
        check_scale(scale, names)
    if scale is None and seeds is not None:
        raise ValueError(f"--seeds {seeds} needs a scale, as in --scale quick; without one nothing is trained")
    if seeds is not None and seeds < 1:
        raise ValueError(f"--seeds {seeds}: at least 1 is needed")
    if workers < 1:
        raise ValueError(f"--workers {workers}: at least 1 is needed")
    resolved = resolve_device(device)
    store = RunStore(runs)
    text = None if corpus is None else open_corpus(corpus)
    if scale is None:
        _check_folders(papers, runs, out)
        redraw(papers, store, out, corpus=text, corpus_path=corpus, shipped=SHIPPED, n_workers=workers)
        return
    if text is None:
        papers = _without_language(papers, only)
    draw(
        papers,
        store,
        out,
        scale=scale,
        n_seeds=1 if seeds is None else seeds,
        corpus=text,
        corpus_path=corpus,
        shipped=SHIPPED,
        device=str(resolved),
        retry_failed=retry_failed,
        n_workers=workers,
    )


def _check_folders(papers: Sequence[Paper], runs: Path, out: Path) -> None:
    """Tell which of the folders that are drawn from are not there.

    Raises:
        ValueError: nothing is there.
    """
    missing = [folder for folder in (runs, SHIPPED / "runs") if not folder.is_dir()]
    need_runs = any(figure.experiment is not None for paper in papers for figure in paper.figures.values())
    tables = (written_tables(paper.figures, folder / paper.name) for paper in papers for folder in (out, SHIPPED))
    if need_runs and len(missing) == 2 and not any(tables):
        raise ValueError(
            f"nothing to draw from: there is no folder {runs} with runs of your own, and none {SHIPPED / 'runs'} with "
            "those of the repository; go to the root of the repository, pass --runs, or train with --scale quick"
        )
    for folder in missing if need_runs else ():
        print(f"there is no folder {folder}: drawn without it", file=sys.stderr)


def _without_language(papers: Sequence[Paper], named: Sequence[str]) -> list[Paper]:
    """The papers without their figures on language, which are told, but for those that are named themselves."""
    rest = [
        paper.only([n for n, f in paper.figures.items() if not paper.needs_corpus(f) or is_named(paper, n, named)])
        for paper in papers
    ]
    left_out = [name for paper, kept in zip(papers, rest, strict=True) for name in paper.figures.keys() - kept.figures]
    if left_out:
        print(f"not drawn: {', '.join(sorted(left_out))}; {NoCorpusError()}", file=sys.stderr)
    return rest


def main(arguments: Sequence[str]) -> None:
    run_command(figures, arguments, PROGRAM)
