"""A process that waits for another one says so."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from store_references import tiny_spec

from rtinterp.store import RunStore, waiting
from rtinterp.store.progress import Progress
from rtinterp.training.plain_lines import SECONDS_PER_LINE

SPEC = tiny_spec()


@pytest.mark.parametrize("shown", [True, False])
def test_without_a_terminal_a_line_is_printed_at_once_and_every_so_often(
    tmp_path: Path,
    clock: list[float],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    shown: bool,
) -> None:
    store = RunStore(tmp_path)
    steps = iter([1, 2, 3])
    told: list[str] = []

    def sleep(_: float) -> None:
        told.append(capsys.readouterr().err)
        clock[0] += SECONDS_PER_LINE / 2

    def in_progress() -> list[Progress]:
        step = next(steps, None)
        return [] if step is None else [Progress((SPEC.run_id,), "there", 7, 1000 * step, 9000, None)]

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(store, "in_progress", in_progress)
    waiting.wait_for(store, [SPEC], shown=shown)
    line = f"waiting for 1 run(s) that other processes train; {SPEC.run_id}: step %s,000 of 9,000 on there, process 7\n"
    expected = ["", line % 1, "", line % 3] if shown else [""] * 4
    assert told == expected
