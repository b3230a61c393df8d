"""The progress bar of a training run."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from rtinterp.training.cell_progress import CellProgress
from rtinterp.training.plain_lines import PlainLines
from rtinterp.training.spec import RunSpec

#: What stands beside label and steps in a terminal: the shortest bar, metrics and time left, and a space before each.
BESIDE = 4 + len("loss 12.345 test 100.0%") + len("1:23:45") + 4


class TrainingProgress:
    """Shows step, loss, test accuracy or loss, and time left of one stack of runs; a context manager.

    It is a bar in the terminal, or in the cell of a notebook; elsewhere a line every so often, and one at the end.
    """

    def __init__(self, spec: RunSpec, n_models: int, shown: bool = True) -> None:
        columns = (
            TextColumn("[bold]{task.description}", table_column=Column(no_wrap=True)),
            # As wide as the rest leaves room for.
            BarColumn(bar_width=None, table_column=Column(ratio=1)),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[metrics]}", table_column=Column(no_wrap=True)),
            TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True)),
        )
        console = Console(stderr=True)
        self._progress = Progress(*columns, console=console, expand=True, disable=not (shown and console.is_terminal))
        seeds = f"seed {spec.seed}" if n_models == 1 else f"×{n_models}"
        model = f"{spec.task.name} d{spec.model.d_model}"
        label = f"{model} {spec.trainable} {seeds}"
        self._label, self._n_steps = label, spec.training.n_steps
        room = console.width - BESIDE - len(f"{self._n_steps}/{self._n_steps}") - len(f"{model}  {seeds}")
        regime = spec.trainable if len(spec.trainable) <= room else f"{spec.trainable[: max(0, room - 1)]}…"
        self._bar = self._progress.add_task(f"{model} {regime} {seeds}", total=self._n_steps, metrics="")
        self._cell = CellProgress(label, self._n_steps) if shown and console.is_jupyter else None
        self._lines = None if not shown or console.is_terminal or console.is_jupyter else PlainLines(console)
        self._tested = ""

    def __enter__(self) -> TrainingProgress:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
        if self._cell is not None:
            self._cell.show()
        if self._lines is not None:
            self._lines.end()

    def update(self, step: int, loss: float, tested: Mapping[str, float | None]) -> None:
        """Show the state after ``step`` steps; what was measured stays until it is measured again.

        Args:
            tested: by column of the history; empty where nothing was measured.
        """
        accuracy, test_loss = tested.get("test_accuracy"), tested.get("test_loss")
        if accuracy is not None:
            self._tested = f" test {accuracy:.1%}"
        elif test_loss is not None:
            self._tested = f" test {test_loss:.3g}"
        metrics = f"loss {loss:.3f}{self._tested}"
        self._progress.update(self._bar, completed=step, metrics=metrics)
        if self._cell is not None:
            self._cell.update(step, metrics)
        if self._lines is not None:
            self._lines.tell(f"{self._label}: step {step:,} of {self._n_steps:,}, {metrics}")
