"""``rtinterp figures``, which is also ``python analyses/make_figures.py``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from rtinterp.cli import unknown
from rtinterp.experiments import SCALES
from rtinterp.figures import FIGURES
from rtinterp.figures.draw import draw
from rtinterp.store import RunStore
from rtinterp.training.environment import resolve_device

PROGRAM = "rtinterp figures"


def figures(
    *,
    scale: str = "quick",
    only: tuple[str, ...] = (),
    seeds: Annotated[int, tyro.conf.arg(metavar="N")] = 1,
    runs: Path = Path("runs"),
    out: Path = Path("figures"),
    device: str | None = None,
) -> None:
    """Draw the paper's figures and tables, training the runs that are not stored yet.

    Args:
        scale: sizes and budgets: quick (two CPU cores, minutes) or paper (the official ones: a GPU, days).
        only: names of figures to draw, such as figure2_attention; all if not given.
        seeds: seeds 0 to N - 1 of every model.
        runs: the run store; finished runs in it are used, new ones are added.
        out: folder for HTML, images and, under data/, the tidy tables.
        device: cpu or cuda; cuda where there is one if not given.
    """
    if scale not in SCALES:
        raise ValueError(unknown("scale", scale, SCALES))
    for name in only:
        if name not in FIGURES:
            raise ValueError(unknown("figure", name, FIGURES))
    if seeds < 1:
        raise ValueError(f"--seeds {seeds}: at least 1 is needed")
    resolve_device(device)
    chosen = [figure for figure in FIGURES.values() if not only or figure.name in only]
    draw(chosen, RunStore(runs), out, scale=scale, n_seeds=seeds, device=device)


def main(arguments: Sequence[str]) -> None:
    tyro.cli(figures, args=arguments, prog=PROGRAM)
