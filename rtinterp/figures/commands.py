"""The commands that train what a figure shows, and draw it."""

from __future__ import annotations

import shlex

PROGRAM = "python analyses/make_figures.py"


def command_line(scale: str, n_seeds: int, *, with_corpus: bool = False) -> str:
    """Return the command that draws at this scale; where the corpus lies differs from machine to machine."""
    command = f"{PROGRAM} --scale {shlex.quote(scale)} --seeds {n_seeds}"
    return f"{command} --corpus PATH" if with_corpus else command
