"""``rtinterp export RUN FILE``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import tyro

from rtinterp.cli.options import run_command
from rtinterp.store import RunStore
from rtinterp.store.hugging_face import export_gpt2
from rtinterp.store.portable import export_run

PROGRAM = "rtinterp export"
ENDING = ".safetensors"


def export(
    run: tyro.conf.Positional[str],
    out: tyro.conf.Positional[Path],
    /,
    *,
    format: Literal["portable", "huggingface"] = "portable",
    force: bool = False,
    runs: Path = Path("runs"),
) -> None:
    """Write one stored run as one file that `rtinterp import` takes back, or as a folder that transformers opens.

    Args:
        run: a run id, as `rtinterp list` prints it, or how one begins.
        out: the file (NAME.safetensors) or the folder to write.
        format: portable (one safetensors file: trained tensors, spec, history and environment) or huggingface (a
            folder for GPT2LMHeadModel with all tensors; transformers with softmax attention alone).
        force: write over files that are already there.
        runs: the run store.
    """
    if format == "portable" and out.suffix != ENDING:
        raise ValueError(f"{out}: must end in {ENDING}; --format huggingface writes a folder")
    store = RunStore(runs)
    run_id = store.named(run)
    write = export_run if format == "portable" else export_gpt2
    write(store.load(run_id), out, force=force)
    print(f"{run_id} -> {out}")


def main(arguments: Sequence[str]) -> None:
    run_command(export, arguments, PROGRAM)
