"""Several processes on one store, and processes that are asked to stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
import survival_jobs
from survival_references import contents, leftovers

from rtinterp.store import RunStore

SECONDS = 60.0


def wait_until(condition, what: str) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def test_processes_on_one_store_train_every_run_once(
    processes: ForkServerContext, uninterrupted, tmp_path: Path
) -> None:
    runs, log = tmp_path / "runs", tmp_path / "log"
    started = [processes.Process(target=survival_jobs.train_logged, args=(runs, log)) for _ in range(4)]
    for process in started:
        process.start()
    for process in started:
        process.join()
        assert process.exitcode == 0, Path(f"{runs}.err").read_text()
    times_trained = Counter(log.read_text().split())
    assert times_trained == Counter(spec.run_id for spec in [*survival_jobs.few_steps(), *survival_jobs.every_kind()])
    assert contents(runs) == {**uninterrupted("train_few_steps"), **uninterrupted("train_every_kind")}
    assert leftovers(runs) == []


@pytest.fixture
def long_job(processes: ForkServerContext, tmp_path: Path):
    process = processes.Process(target=survival_jobs.train_for_minutes, args=(tmp_path / "runs",))
    process.start()
    store = RunStore(tmp_path / "runs")
    wait_until(lambda: any(stack.step > 5 for stack in store.in_progress()), "the training began")
    yield process, store
    process.kill()
    process.join()


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_a_checkpoint_and_no_lock(long_job, signum: int, status: int) -> None:
    process, store = long_job
    os.kill(process.pid, signum)
    process.join(SECONDS)
    assert process.exitcode == status
    said = Path(f"{store.path}.err").read_text()
    assert "the same command goes on from there" in said
    assert "Traceback" not in said
    (stack,) = (store.path / ".training" / "unfinished").iterdir()
    assert len(list(stack.glob("step-*.safetensors"))) == 1
    assert store.in_progress() == []
    assert [left for left in leftovers(store.path) if not left.startswith("unfinished/")] == []


def test_what_another_process_trains_is_shown_and_its_pid_is_told(long_job) -> None:
    process, store = long_job
    (stack,) = store.in_progress()
    assert (stack.pid, stack.n_steps, len(stack.run_ids)) == (process.pid, 1_000_000, 2)
    assert stack.train_loss > 0


def test_a_suspended_process_is_not_robbed_and_a_killed_one_is(long_job, tmp_path: Path) -> None:
    process, store = long_job
    (stack,) = store.in_progress()
    os.kill(process.pid, signal.SIGSTOP)
    assert store.locks.claim(stack.run_ids, 1).pid == process.pid
    process.kill()
    process.join()
    with store.locks.claim(stack.run_ids, 1) as claim:
        claim.verify()


SECOND_INTERRUPT = """
import sys, time, rtinterp.store.checkpoints as checkpoints
from rtinterp.cli import main
checkpoints.safetensors.torch.save = lambda *_: (print("saving", flush=True), time.sleep(1000))
sys.exit(main(sys.argv[1:]))
"""


def test_a_second_interrupt_ends_at_once(tmp_path: Path) -> None:
    """While the checkpoint of the first one is being written, which would take very long."""
    command = [sys.executable, "-c", SECOND_INTERRUPT, *survival_jobs.LONG, "--runs", str(tmp_path / "runs")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    store = RunStore(tmp_path / "runs")
    try:
        wait_until(lambda: any(stack.step > 5 for stack in store.in_progress()), "the training began")
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "saving\n"
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=SECONDS)
        assert time.monotonic() - start < 20
        assert process.returncode == 130
        assert "Traceback" not in said
    finally:
        process.kill()
        process.wait()
    assert store.in_progress() == []
