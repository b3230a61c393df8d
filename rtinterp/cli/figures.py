"""``rtinterp figures``, which is also ``python analyses/make_figures.py``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from rtinterp.cli import unknown
from rtinterp.experiments import SCALES, NoCorpusError
from rtinterp.figures import FIGURES, Figure
from rtinterp.figures.draw import draw
from rtinterp.store import RunStore
from rtinterp.tasks import Corpus, open_corpus
from rtinterp.training.environment import resolve_device

PROGRAM = "rtinterp figures"


def figures(
    *,
    scale: str = "quick",
    only: tuple[str, ...] = (),
    seeds: Annotated[int, tyro.conf.arg(metavar="N")] = 1,
    corpus: Annotated[str | None, tyro.conf.arg(metavar="PATH")] = None,
    runs: Path = Path("runs"),
    out: Path = Path("figures"),
    device: str | None = None,
    retry_failed: bool = False,
) -> None:
    """Draw the paper's figures and tables, training the runs that are not stored yet.

    Args:
        scale: sizes and budgets: quick (small ones, for two CPU cores), short (the paper's sizes with fewer steps) or
            paper (the official ones: a GPU, days).
        only: names of figures to draw, such as figure2_attention; all if not given.
        seeds: seeds 0 to N - 1 of every model.
        corpus: text for language models: a .txt or .xz file, a folder with a train and a valid file, or a hub name.
            Without one, the figures on language are left out.
        runs: the run store; finished runs in it are used, new ones are added.
        out: folder for HTML, images and, under data/, the tidy tables.
        device: cpu or cuda; cuda where there is one if not given.
        retry_failed: train runs again that diverged before.
    """
    if scale not in SCALES:
        raise ValueError(unknown("scale", scale, SCALES))
    for name in only:
        if name not in FIGURES:
            raise ValueError(unknown("figure", name, FIGURES))
    if seeds < 1:
        raise ValueError(f"--seeds {seeds}: at least 1 is needed")
    resolve_device(device)
    store = RunStore(runs)
    text = None if corpus is None else open_corpus(corpus)
    chosen = _chosen(only, text)
    draw(chosen, store, out, scale=scale, n_seeds=seeds, corpus=text, device=device, retry_failed=retry_failed)


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
