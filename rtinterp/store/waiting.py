"""Waiting for what other processes train."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from rich.console import Console

from rtinterp.store.run_store import RunStore
from rtinterp.training.plain_lines import PlainLines
from rtinterp.training.spec import RunSpec

POLL_SECONDS = 0.5


def wait_for(store: RunStore, specs: Sequence[RunSpec], *, shown: bool) -> None:
    """Return when one of the specs is finished, or when one is no longer trained by a live process.

    Args:
        shown: say on stderr what is waited for.
    """
    run_ids = {spec.run_id for spec in specs}
    if not run_ids:
        return
    console = Console(stderr=True, quiet=not shown)
    lines = PlainLines(console, seconds=0)
    with console.status("waiting for another process") if console.is_terminal else contextlib.nullcontext() as status:
        while True:
            time.sleep(POLL_SECONDS)
            theirs = [stack for stack in store.in_progress() if run_ids.intersection(stack.run_ids)]
            trained = {run_id for stack in theirs for run_id in stack.run_ids}
            if not run_ids <= trained or len(store.missing(specs)) < len(specs):
                return
            first = theirs[0]
            told = (
                f"waiting for {len(run_ids)} run(s) that other processes train; {first.run_ids[0]}: step "
                f"{first.step:,} of {first.n_steps:,} on {first.host}, process {first.pid}"
            )
            lines.tell(told) if status is None else status.update(told)
