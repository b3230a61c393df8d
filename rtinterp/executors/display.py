"""What all workers are doing, in one place, as the store tells it."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from rtinterp.store import RunStore
from rtinterp.store.progress import Progress as StackProgress
from rtinterp.training.plain_lines import PlainLines
from rtinterp.training.spec import RunSpec

SECONDS_PER_LOOK = 1.0


class SweepDisplay:
    """Shows finished runs and every stack in training while a sweep goes on; a context manager."""

    def __init__(self, store: RunStore, specs: Sequence[RunSpec], console: Console) -> None:
        self._store, self._run_ids = store, frozenset(spec.run_id for spec in specs)
        self._console = console
        columns = (
            TextColumn("[bold]{task.description}", markup=True),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[metrics]}"),
            TimeRemainingColumn(compact=True),
        )
        self._bars = Progress(*columns, console=console, expand=True, disable=not console.is_terminal)
        self._finished = self._bars.add_task("runs", total=len(self._run_ids), metrics="")
        self._of_stack: dict[tuple[str, ...], TaskID] = {}
        self._lines = PlainLines(console)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> SweepDisplay:
        self._bars.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._bars.stop()

    def _watch(self) -> None:
        while not self._ended.wait(SECONDS_PER_LOOK):
            self.look()

    def look(self) -> None:
        """Ask the store and show what it says."""
        try:
            n_finished = len(self._run_ids.intersection(self._store.run_ids()))
            stacks = [stack for stack in self._store.in_progress() if self._run_ids.intersection(stack.run_ids)]
        except OSError:  # a network folder that is away for a moment
            return
        if self._console.is_terminal:
            self._show(n_finished, stacks)
        else:
            told = "; ".join(f"{_name(stack)}: step {stack.step:,} of {stack.n_steps:,}" for stack in stacks)
            finished = f"{n_finished} of {len(self._run_ids)} runs finished"
            self._lines.tell(finished + (f"; in training: {told}" if told else ""))

    def _show(self, n_finished: int, stacks: Sequence[StackProgress]) -> None:
        self._bars.update(self._finished, completed=n_finished)
        in_training = {stack.run_ids: stack for stack in stacks}
        for run_ids in self._of_stack.keys() - in_training.keys():
            self._bars.remove_task(self._of_stack.pop(run_ids))
        for run_ids, stack in in_training.items():
            if run_ids not in self._of_stack:
                self._of_stack[run_ids] = self._bars.add_task(_name(stack), total=stack.n_steps, metrics="")
            loss = "" if stack.train_loss is None else f"loss {stack.train_loss:.3f} "
            self._bars.update(
                self._of_stack[run_ids], completed=stack.step, metrics=f"{loss}on {stack.host}, process {stack.pid}"
            )


def _name(stack: StackProgress) -> str:
    first, *others = stack.run_ids
    more = f" and {len(others)} more seeds" if others else ""
    return first.rpartition("-")[0] + more
