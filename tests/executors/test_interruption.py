"""Ctrl-C, kill and a limit of time: workers stop with a checkpoint, none stays behind, and the sweep goes on later."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import interrupted_sweep
import psutil
import pytest
from executor_references import EXECUTORS, contents, swept, wait_until

from rtinterp.store import RunStore

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def scale() -> Iterator[None]:
    interrupted_sweep.use_scale()
    yield
    del interrupted_sweep.SCALES["interrupted"]


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    path = tmp_path_factory.mktemp("serial") / "store"
    assert swept(path, interrupted_sweep.specs(), "local").errors == []
    return contents(path)


@contextlib.contextmanager
def sweeping(store: Path, executor: str, *arguments: str) -> Iterator[subprocess.Popen]:
    """The command line with two workers, leading a process group as at a terminal."""
    script = Path(interrupted_sweep.__file__)
    options = ["--executor", executor, "--runs", str(store), *arguments]
    options += [] if executor == "local" else ["--workers", "2"]
    if executor == "slurm":
        options += ["--slurm.cluster", "local", "--slurm.folder", str(store.with_name("jobs"))]
    with subprocess.Popen(
        [sys.executable, str(script), *options],
        start_new_session=True,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until_training(store: Path, n_stacks: int) -> list[psutil.Process]:
    """The training processes, once so many have begun."""
    wait_until(lambda: len(RunStore(store).in_progress()) >= n_stacks, 120)
    time.sleep(0.5)
    return [psutil.Process(one.pid) for one in RunStore(store).in_progress()]


def descendants(process: subprocess.Popen) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def gone(processes: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(processes, timeout=0)[1]


@pytest.mark.parametrize("executor", ["local", *EXECUTORS])
def test_an_interrupt_leaves_checkpoints_and_no_processes(
    executor: str, serial: dict[str, bytes], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    with sweeping(store, executor) as process:
        training = wait_until_training(store, 1 if executor == "local" else 2)
        others = descendants(process)
        os.killpg(process.pid, signal.SIGINT)
        told = process.communicate(timeout=120)[1]
        assert process.returncode == 130, told
        # What stands in for Slurm's daemons here tells of its own end.
        assert executor == "slurm" or "Traceback" not in told
        wait_until(lambda: gone([*training, *others]), 30)
    assert RunStore(store).in_progress() == []
    assert len(RunStore(store).missing(interrupted_sweep.specs())) > 0
    assert list(RunStore(store).unfinished_folder.rglob("*.safetensors"))
    assert swept(store, interrupted_sweep.specs(), "local").left == []
    assert contents(store) == serial


def test_a_terminated_sweep_stops_its_workers(serial: dict[str, bytes], tmp_path: Path) -> None:
    with sweeping(tmp_path / "store", "loky") as process:
        training = wait_until_training(tmp_path / "store", 2)
        process.terminate()
        process.communicate(timeout=120)
        assert process.returncode == 143
        wait_until(lambda: gone(training), 30)
    assert swept(tmp_path / "store", interrupted_sweep.specs(), "loky").left == []
    assert contents(tmp_path / "store") == serial


def test_a_second_interrupt_ends_at_once(tmp_path: Path) -> None:
    with sweeping(tmp_path / "store", "loky") as process:
        training = wait_until_training(tmp_path / "store", 2)
        for one in training:
            one.suspend()
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(1)
        assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode == 130
        wait_until(lambda: gone(training), 30)


def test_the_time_is_kept_and_nothing_is_lost(serial: dict[str, bytes], tmp_path: Path) -> None:
    minutes = 0.4
    with sweeping(tmp_path / "store", "loky", "--minutes", str(minutes)) as process:
        # Before this the command was imported.
        assert process.stderr.readline() == "2 runs to train\n"
        start = time.monotonic()
        told = process.communicate(timeout=120)[1]
        assert time.monotonic() - start < 60 * minutes
        assert process.returncode == 0, told
    assert "left; store" in told
    store = RunStore(tmp_path / "store")
    assert store.in_progress() == []
    assert list(store.unfinished_folder.rglob("*.safetensors"))
    assert swept(tmp_path / "store", interrupted_sweep.specs(), "local").left == []
    assert contents(tmp_path / "store") == serial


def test_a_killed_sweep_takes_all_its_processes_with_it(serial: dict[str, bytes], tmp_path: Path) -> None:
    store = tmp_path / "store"
    with sweeping(store, "loky") as process:
        training = wait_until_training(store, 2)
        others = descendants(process)
        process.kill()
        try:
            wait_until(lambda: gone([*training, *others]), 30)
        finally:
            for one in others:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()
    assert swept(store, interrupted_sweep.specs(), "local").left == []
    assert contents(store) == serial
