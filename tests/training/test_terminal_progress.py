"""The bar in a terminal: one line that fits, and says which run it is of."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console
from training_references import small_run

from rtinterp.tasks import ModularAddition, NeedleInAHaystack, Task
from rtinterp.training import progress
from rtinterp.training.progress import TrainingProgress


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("task", [ModularAddition(13), NeedleInAHaystack(4, 16)], ids=lambda task: task.name)
def test_it_is_neither_cut_off_nor_wrapped(task: Task, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(
        progress, "Console", lambda stderr: Console(file=screen, force_terminal=True, width=width, color_system=None)
    )
    spec = small_run(task, "token_embedding+unembedding", seed=3, n_steps=50_000, steps_per_evaluation=100)
    with TrainingProgress(spec, 1) as bar:
        bar.update(49_000, 12.345, {"test_accuracy": 1.0})
    *_, last = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue()).replace("\r", "\n").strip().splitlines()
    assert len(last) == width
    assert last.startswith(f"{task.name} d16 "[: width - 50])
    assert " seed 3 " in last
    assert "49000/50000 loss 12.345 test 100.0% " in last
    assert re.search(r" (\d:)?\d\d:\d\d$| --:--$", last)
    assert "━" in last
