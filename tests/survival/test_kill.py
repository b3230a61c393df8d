"""Real processes, killed with SIGKILL at random moments, leave a store from which the same command ends the same."""

from __future__ import annotations

import random
import time
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
import survival_jobs
from survival_references import contents, leftovers, n_differing_bytes

SLOW = pytest.mark.slow


class Killer:
    """Runs a job again and again, killing it, until enough kills are done and the store is complete."""

    def __init__(self, processes: ForkServerContext, job: str, expected: dict[str, bytes], folder: Path, seed: int):
        self._processes, self._job, self._expected, self._folder = processes, job, expected, folder
        self._rng = random.Random(seed)
        self._seconds = 0.0
        self.n_kills = self.n_complete = 0

    def run(self, n_kills: int) -> None:
        # How long it takes undisturbed, checkpoints included.
        self._complete(self._folder / "timed", kill=False)
        while self.n_kills < n_kills:
            self._complete(self._folder / f"runs{self.n_complete}", kill=True, n_kills=n_kills)

    def _complete(self, runs: Path, *, kill: bool, n_kills: int = 0) -> None:
        while True:
            start = time.monotonic()
            process = self._processes.Process(target=getattr(survival_jobs, self._job), args=(runs,))
            process.start()
            process.join(self._rng.uniform(0, self._seconds) if kill and self.n_kills < n_kills else None)
            if process.exitcode is None:
                process.kill()
                process.join()
                self.n_kills += 1
                continue
            assert process.exitcode == 0, Path(f"{runs}.err").read_text()
            break
        self._seconds = self._seconds or time.monotonic() - start
        assert n_differing_bytes(contents(runs), self._expected) == 0
        assert contents(runs).keys() == self._expected.keys()
        assert leftovers(runs) == []
        self.n_complete += 1


@pytest.mark.parametrize(
    ("job", "n_kills"),
    [
        ("train_few_steps", 3),
        pytest.param("train_every_kind", 12, marks=SLOW),
        pytest.param("train_few_steps", 12, marks=SLOW),
        pytest.param("sweep", 8, marks=SLOW),
        pytest.param("draw", 8, marks=SLOW),
    ],
)
def test_killed_processes_end_as_if_nothing_had_happened(
    processes: ForkServerContext, uninterrupted, tmp_path: Path, job: str, n_kills: int
) -> None:
    killer = Killer(processes, job, uninterrupted(job), tmp_path, seed=n_kills)
    killer.run(n_kills)
    assert killer.n_kills == n_kills
    print(f"{job}: {killer.n_kills} kills, {killer.n_complete} stores, 0 bytes differing")


def killed_at(processes: ForkServerContext, n: int, runs: Path) -> bool:
    """Whether the process got as far as its n-th change of the file system."""
    process = processes.Process(target=survival_jobs.die_at, args=(n, runs))
    process.start()
    process.join()
    assert process.exitcode in (0, -9), Path(f"{runs}.err").read_text()
    return process.exitcode == -9


@pytest.mark.parametrize("every", [pytest.param(3, marks=SLOW), 24])
def test_a_kill_at_any_change_of_the_file_system(
    processes: ForkServerContext, uninterrupted, tmp_path: Path, every: int
) -> None:
    complete = uninterrupted("train_few_steps")
    ids = {spec.run_id for spec in survival_jobs.few_steps()[:4]}
    expected = {name: data for name, data in complete.items() if name.split("/")[0] in ids}
    n = 1
    while killed_at(processes, n, tmp_path / f"runs{n}"):
        runs = tmp_path / f"runs{n}"
        assert not killed_at(processes, 10**9, runs)
        assert contents(runs) == expected
        assert leftovers(runs) == []
        n += every
    assert n > 60, "there are more changes than that"
    print(f"{(n - 1) // every} kills, 0 bytes differing")
