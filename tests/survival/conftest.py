from __future__ import annotations

import multiprocessing
import os
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
import survival_jobs
from survival_references import contents


@pytest.fixture(scope="session")
def processes() -> ForkServerContext:
    """Starts real processes that have imported everything already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["survival_jobs"])
    tests = Path(__file__).parents[1]
    with pytest.MonkeyPatch.context() as patch:
        # Before Python 3.12 the server does not search where this process does.
        patch.setenv("PYTHONPATH", os.pathsep.join([str(tests), str(tests / "survival")]))
        forkserver.ensure_running()
    return context


@pytest.fixture(scope="session")
def uninterrupted(processes: ForkServerContext, tmp_path_factory: pytest.TempPathFactory):
    """What a job leaves when nobody interrupts it, once per job."""
    known: dict[str, dict[str, bytes]] = {}

    def of(job: str) -> dict[str, bytes]:
        if job not in known:
            runs = tmp_path_factory.mktemp("uninterrupted") / "runs"
            process = processes.Process(target=getattr(survival_jobs, job), args=(runs, 5.0))
            process.start()
            process.join()
            assert process.exitcode == 0, Path(f"{runs}.err").read_text()
            known[job] = contents(runs)
        return known[job]

    return of
