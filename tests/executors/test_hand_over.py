"""A stack trains in a process of its own, which ends when it should and is tried again when it should not have."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from executor_references import stack, wait_until

from rtinterp.executors import hand_over, life_sign
from rtinterp.executors.life_sign import LifeSign, wait_for_the_end
from rtinterp.executors.task import Outcome, StackTask, outcome_from_json, task_from_json, to_json
from rtinterp.executors.training_process import train
from rtinterp.training.spec import spec_to_json


@pytest.fixture
def task(tmp_path: Path) -> StackTask:
    (tmp_path / "sign").touch()
    specs = tuple(spec_to_json(spec) for spec in stack())
    return StackTask("name", specs, str(tmp_path / "store"), "cpu", str(tmp_path / "sign"))


@pytest.fixture
def pretend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Make the training process another program, which begins with a note that it was begun."""

    def use(program: str) -> Path:
        begun = f"import os, signal, sys\nopen({str(tmp_path / 'begun')!r}, 'a').write('x')\n"
        (tmp_path / "pretended.py").write_text(begun + textwrap.dedent(program))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setattr(hand_over, "TRAINING_PROCESS", "pretended")
        return tmp_path / "begun"

    return use


def hand(task: StackTask) -> Outcome:
    return outcome_from_json(hand_over.train_in_process(to_json(task)))


def test_what_goes_to_a_worker_comes_back_the_same(task: StackTask) -> None:
    assert task_from_json(to_json(task)) == task
    outcome = Outcome("finished", warnings=("one\ntwo",))
    assert outcome_from_json(to_json(outcome)) == outcome
    assert "\n" not in to_json(outcome)


def test_a_killed_process_is_tried_again(task: StackTask, pretend) -> None:
    begun = pretend(f"""
        if len(open({str(Path(task.store).with_name("begun"))!r}).read()) < 3:
            os.kill(os.getpid(), signal.SIGKILL)
        print('{to_json(Outcome("finished"))}')
    """)
    assert hand(task) == Outcome("finished")
    assert begun.read_text() == "xxx"


@pytest.mark.parametrize(
    ("program", "how"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", r"signal 11 \(SIGSEGV\)"),
        ("sys.exit('no space')", "exit status 1: no space"),
    ],
)
def test_it_is_not_tried_for_ever(task: StackTask, pretend, program: str, how: str) -> None:
    begun = pretend(program)
    outcome = hand(task)
    assert outcome.ended == "killed"
    assert outcome.message.startswith("its process ended 3 times before it was done, at last with")
    assert re.search(how, outcome.message)
    assert begun.read_text() == "xxx"


def test_nothing_begins_when_the_sweep_is_over(task: StackTask, pretend) -> None:
    begun = pretend("")
    Path(task.life_sign).unlink()
    assert hand(task) == Outcome("stopped")
    assert not begun.exists()


def test_errors_are_told_and_not_raised(task: StackTask) -> None:
    def ended(**changes: object) -> Outcome:
        return train(StackTask(**{**vars_of(task), **changes}))

    assert ended(corpus="no/such/place") == Outcome("error", "no corpus at no/such/place: " + how_to_get_one())
    assert ended(device="tpu").message == "device='tpu' is not a device; use 'cpu' or 'cuda'"
    assert ended(specs=("{}",)).ended == "error"
    assert not Path(task.store).exists()


def vars_of(task: StackTask) -> dict[str, object]:
    return {name: getattr(task, name) for name in task.__dataclass_fields__}


def how_to_get_one() -> str:
    from rtinterp.tasks.corpus import HOW_TO_GET_ONE

    return HOW_TO_GET_ONE


def test_after_its_deadline_nothing_is_begun(task: StackTask) -> None:
    late = StackTask(**{**vars_of(task), "deadline": time.time() - 1})
    assert train(late) == Outcome("unfinished")
    assert not Path(task.store).exists()


def test_a_life_sign_is_touched_and_goes_with_the_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(life_sign, "SECONDS_PER_TOUCH", 0.01)
    monkeypatch.setattr(life_sign, "SECONDS_PER_QUESTION", 0.01)
    over = threading.Event()
    with LifeSign(tmp_path / "sign", over.is_set) as life:
        first = life.path.stat().st_mtime_ns
        wait_until(lambda: life.path.stat().st_mtime_ns > first)
        assert not life.ended
        over.set()
        wait_until(lambda: not life.path.exists())
        assert life.ended
    with LifeSign(tmp_path / "sign", lambda: False) as life:
        assert list(tmp_path.iterdir()) == [life.path]
    assert list(tmp_path.iterdir()) == []


def test_a_life_sign_that_nobody_touches_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a sweep that was killed leaves it."""
    monkeypatch.setattr(life_sign, "SECONDS_UNTIL_DEAD", 0.3)
    monkeypatch.setattr(life_sign, "SECONDS_PER_LOOK", 0.01)
    sign = tmp_path / "sign"
    sign.touch()
    start = time.monotonic()
    while time.monotonic() - start < 0.5:
        # Touched: an old time is no sign of death, since the clocks of machines differ.
        os.utime(sign, ns=(time.monotonic_ns(), time.monotonic_ns()))
        waiting = threading.Thread(target=wait_for_the_end, args=(str(sign),), daemon=True)
        waiting.start()
        waiting.join(0.1)
        assert waiting.is_alive()
    waiting.join(10)
    assert not waiting.is_alive()


@pytest.mark.parametrize("how", ["end of input", "end of sweep"])
def test_a_training_process_stops_with_whoever_wanted_it(task: StackTask, tmp_path: Path, how: str) -> None:
    long = StackTask(**{**vars_of(task), "specs": tuple(spec_to_json(spec) for spec in stack(n_steps=10**6))})
    command = [sys.executable, "-m", hand_over.TRAINING_PROCESS]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        process.stdin.write(to_json(long).encode() + b"\n")
        process.stdin.flush()
        time.sleep(0.5)
        if how == "end of input":
            process.stdin.close()
        else:
            Path(task.life_sign).unlink()
        # Before or after its signal handler was there.
        assert process.wait(60) in (-signal.SIGTERM, 128 + signal.SIGTERM)
        assert process.stdout.read() == b""
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
