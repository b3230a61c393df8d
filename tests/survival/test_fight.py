"""Processes that fight for the same runs while they are killed at random: nobody shares a run, and no run is lost."""

from __future__ import annotations

import itertools
import random
import time
from collections import defaultdict
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import pytest
import survival_jobs

from rtinterp.store.locks import Claim, Locks

N_PROCESSES = 4
SECONDS = 60


def spans_by_run(log: Path, killed_at: dict[int, float]) -> dict[str, list[tuple[float, float]]]:
    """When each run was had: from the claim until just before it was given back, or until its process was killed."""
    begun, spans = {}, defaultdict(list)

    def end(pid: int, at: float) -> None:
        begin, run_ids = begun.pop(pid)
        for run_id in run_ids:
            spans[run_id].append((begin, at))

    for line in log.read_text().splitlines():
        pid, what, at, *run_ids = line.split()
        if what == "from":
            begun[int(pid)] = float(at), run_ids
        else:
            end(int(pid), float(at))
    for pid in list(begun):
        end(pid, killed_at[pid])
    return spans


@pytest.mark.slow
def test_no_run_is_shared_or_lost(processes: ForkServerContext, tmp_path: Path) -> None:
    rng, killed_at = random.Random(0), {}
    fighting: list[ForkServerProcess] = []

    def kill(process: ForkServerProcess) -> None:
        killed_at[process.pid] = time.monotonic()
        process.kill()
        process.join()

    end = time.monotonic() + SECONDS
    try:
        while time.monotonic() < end:
            while len(fighting) < N_PROCESSES:
                arguments = tmp_path, len(killed_at) * N_PROCESSES + len(fighting)
                fighting.append(processes.Process(target=survival_jobs.fight, args=arguments))
                fighting[-1].start()
            time.sleep(rng.random() * 0.1)
            assert all(process.exitcode is None for process in fighting), "nothing but a kill ends them"
            kill(fighting.pop(rng.randrange(N_PROCESSES)))
    finally:
        for process in fighting:
            kill(process)
    spans = spans_by_run(tmp_path / "log", killed_at)
    n_spans = sum(map(len, spans.values()))
    print(f"{len(killed_at)} kills, {n_spans} times that a run was had")
    assert n_spans > len(killed_at)
    for of_one_run in spans.values():
        assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(sorted(of_one_run)))
    for run_id in survival_jobs.FOUGHT_FOR:
        claim = Locks(tmp_path / "store").claim([run_id], 1)
        assert isinstance(claim, Claim), run_id
        claim.release()
