"""Where stderr is no terminal, a training tells how far it is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import ModularAddition
from rtinterp.training.plain_lines import SECONDS_PER_LINE
from rtinterp.training.progress import TrainingProgress
from rtinterp.training.spec import RunSpec, TrainSpec

SPEC = RunSpec(ModularAddition(p=7), ModelSpec(8), TrainSpec(n_steps=2000, batch_size=8))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    now = [0.0]
    monkeypatch.setattr("rtinterp.training.plain_lines.time.monotonic", lambda: now[0])
    return lambda seconds: now.__setitem__(0, seconds)


def test_a_training_prints_a_line_every_so_often_and_one_at_the_end(
    clock: Callable[[float], None], capsys: pytest.CaptureFixture[str]
) -> None:
    seen = []
    with TrainingProgress(SPEC, 3) as bar:
        for step, seconds in ((1, 0.0), (1000, SECONDS_PER_LINE), (1001, SECONDS_PER_LINE + 1), (2000, 45.0)):
            clock(seconds)
            bar.update(step, 0.5, {"test_accuracy": 0.25} if step == 1000 else {})
            seen.append(capsys.readouterr().err)
    line = "modular_addition d8 embeddings ×3: step {} of 2,000, loss 0.500 test 25.0%\n"
    assert [*seen, capsys.readouterr().err] == ["", line.format("1,000"), "", "", line.format("2,000")]


def test_what_is_not_to_be_shown_is_not(clock: Callable[[float], None], capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingProgress(SPEC, 1, shown=False) as bar:
        clock(1000.0)
        bar.update(2000, 0.5, {})
    assert capsys.readouterr() == ("", "")
