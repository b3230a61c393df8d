"""One place tells what all workers do."""

from __future__ import annotations

import io
import time

import pytest
from executor_references import stack
from rich.console import Console

from rtinterp.executors.display import SweepDisplay
from rtinterp.store.progress import Progress
from rtinterp.training import plain_lines

SPECS = [*stack((0, 1)), *stack(trainable="all")]
IDS = [spec.run_id for spec in SPECS]


class Store:
    def __init__(self, finished: list[str], in_progress: list[Progress]) -> None:
        self.finished, self.progress = finished, in_progress

    def run_ids(self) -> list[str]:
        return self.finished

    def in_progress(self) -> list[Progress]:
        return self.progress


@pytest.fixture
def store() -> Store:
    elsewhere = Progress(("another-sweep",), "there", 3, 5, 10, 1.0)
    return Store(["other", IDS[2]], [Progress((IDS[0], IDS[1]), "here", 77, 250, 1000, 1.25), elsewhere])


def test_a_terminal_shows_a_bar_for_every_stack_and_one_for_all(store: Store) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=140, color_system=None)
    shown = SweepDisplay(store, SPECS, console)
    shown.look()
    console.print(shown._bars.get_renderable())
    text = console.file.getvalue()
    assert "1/3" in text
    assert "modular_addition-d16-embeddings-seed0 and 1 more seeds" in text
    assert "250/1000" in text
    assert "loss 1.250 on here, process 77" in text
    assert "another-sweep" not in text
    store.progress, store.finished = [], IDS
    shown.look()
    assert [(task.completed, task.total) for task in shown._bars.tasks] == [(3, 3)]


def test_elsewhere_there_is_a_line_now_and_then(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=io.StringIO())
    shown = SweepDisplay(store, SPECS, console)
    shown.look()
    assert console.file.getvalue() == ""
    now = time.monotonic() + plain_lines.SECONDS_PER_LINE
    monkeypatch.setattr(time, "monotonic", lambda: now)
    shown.look()
    shown.look()
    name = "modular_addition-d16-embeddings-seed0 and 1 more seeds"
    assert console.file.getvalue() == f"1 of 3 runs finished; in training: {name}: step 250 of 1,000\n"
