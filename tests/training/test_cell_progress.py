"""The progress bar in the cell of a notebook, which needs no ipywidgets."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable

import pytest

from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import ModularAddition
from rtinterp.training.cell_progress import CellProgress
from rtinterp.training.progress import TrainingProgress
from rtinterp.training.spec import RunSpec, TrainSpec

SPEC = RunSpec(ModularAddition(p=7), ModelSpec(8), TrainSpec(n_steps=500, batch_size=8, learning_rate=1e-2))
Bundle = dict[str, str]


class Cell:
    """What a cell shows: the display that stands there, which later ones replace."""

    def __init__(self) -> None:
        self.shown: list[Bundle] = []
        self.n_displays = 0

    def display(self, bundle: Bundle, *, raw: bool, display_id: bool) -> Cell:
        assert raw
        assert display_id
        self.n_displays += 1
        self.shown.append(bundle)
        return self

    def update(self, bundle: Bundle, *, raw: bool) -> None:
        assert raw
        self.shown.append(bundle)


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Cell:
    """A notebook without ipywidgets."""
    cell = Cell()
    shell = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setattr(builtins, "get_ipython", lambda: shell, raising=False)
    monkeypatch.setattr("IPython.display.display", cell.display)
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    return cell


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """A clock that stands still until it is set."""
    now = [0.0]
    monkeypatch.setattr("rtinterp.training.cell_progress.time.monotonic", lambda: now[0])
    return lambda seconds: now.__setitem__(0, seconds)


def test_the_bar_ends_at_the_last_step_with_the_last_accuracy(cell: Cell, capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingProgress(SPEC, 1) as bar:
        for step in range(1, 501):
            bar.update(step, 1 / step, {"test_accuracy": step / 500} if step % 250 == 0 else {})
    last = cell.shown[-1]
    assert last["text/plain"] == "modular_addition d8 embeddings seed 0  500/500  loss 0.002 test 100.0%"
    assert '<progress value="500" max="500"' in last["text/html"]
    assert cell.n_displays == 1
    assert capsys.readouterr() == ("", "")


def test_it_is_redrawn_a_few_times_a_second_and_tells_the_time_left(cell: Cell, clock: Callable[[float], None]) -> None:
    with TrainingProgress(SPEC, 3) as bar:
        for step in range(1, 101):
            clock(step / 8)
            bar.update(step, 2.0, {"test_loss": 1.5})
        n_shown = len(cell.shown)
    assert n_shown == 50
    assert cell.shown[n_shown - 1]["text/plain"] == (
        "modular_addition d8 embeddings ×3  100/500  loss 2.000 test 1.5  0:00:50 left"
    )
    assert cell.shown[-1]["text/plain"].endswith("100/500  loss 2.000 test 1.5")


def test_it_shows_nothing_unless_asked(cell: Cell) -> None:
    with TrainingProgress(SPEC, 1, shown=False) as bar:
        bar.update(500, 1.0, {})
    assert not cell.shown


def test_a_label_is_no_html(cell: Cell) -> None:
    CellProgress("<b>&", 3).show()
    assert "<b>&lt;b&gt;&amp;</b>" in cell.shown[0]["text/html"]
