"""Jobs for Slurm: what they ask for, how many there are at a time, and what becomes of those that end early."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtinterp.executors import slurm
from rtinterp.executors.slurm import MAX_DEATHS, MAX_JOBS, SlurmOptions
from rtinterp.executors.task import Outcome, StackTask, task_from_json, to_json

submitit = pytest.importorskip("submitit")


class Job:
    """Ends at the second look."""

    def __init__(self, outcome: Outcome | None, state: str = "RUNNING") -> None:
        self.outcome, self.state, self.looks, self.cancelled = outcome, state, 0, False

    def done(self) -> bool:
        self.looks += 1
        return self.looks > 1 and self.state == "RUNNING"

    def result(self) -> str:
        if self.outcome is None:
            raise submitit.core.utils.UncompletedJobError("the node is down")
        return to_json(self.outcome)

    def cancel(self, check: bool = True) -> None:
        self.cancelled = True


class Cluster:
    """Plays Slurm: for every name of a stack, how its jobs end one after the other; the last for all others."""

    def __init__(self, **outcomes: list[Outcome | None]) -> None:
        self.outcomes, self.jobs, self.names, self.tasks = outcomes, [], [], []
        self.most_at_work, self.state = 0, "RUNNING"

    def submit(self, function, text: str) -> Job:
        task = task_from_json(text)
        of_name = self.outcomes[task.name]
        self.jobs.append(Job(of_name[min(self.names.count(task.name), len(of_name) - 1)], self.state))
        self.names.append(task.name)
        self.tasks.append(task)
        at_work = [job for job in self.jobs if job.looks < 2]
        self.most_at_work = max(self.most_at_work, len(at_work))
        return self.jobs[-1]


FINISHED, PAUSED = Outcome("finished"), Outcome("paused")


def run(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, n_workers: int = 2, stopped=lambda: False) -> list[Outcome]:
    monkeypatch.setattr(slurm, "_executor", lambda *_: cluster)
    monkeypatch.setattr(slurm, "SECONDS_PER_LOOK", 0)
    tasks = [StackTask(name, (), "store", "cpu", "sign") for name in cluster.outcomes]
    return slurm.slurm(tasks, n_workers, SlurmOptions(job_minutes=10), stopped)


def test_as_many_jobs_at_a_time_as_workers_in_the_order_of_their_worth(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(a=[FINISHED], b=[Outcome("error", "no")], c=[FINISHED], d=[FINISHED], e=[FINISHED])
    outcomes = run(cluster, monkeypatch)
    assert [outcome.ended for outcome in outcomes] == ["finished", "error", "finished", "finished", "finished"]
    assert cluster.names == list("abcde")
    assert cluster.most_at_work == 2
    # A tenth of the ten minutes is for the start and the end.
    assert {task.seconds for task in cluster.tasks} == {540.0}


def test_a_stack_that_takes_several_jobs_gets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(long=[PAUSED, PAUSED, FINISHED], short=[FINISHED])
    assert run(cluster, monkeypatch, 1) == [FINISHED, FINISHED]
    assert cluster.names == ["long", "long", "long", "short"]
    endless = Cluster(endless=[PAUSED])
    assert run(endless, monkeypatch) == [PAUSED]
    assert len(endless.jobs) == MAX_JOBS


def test_a_job_that_dies_is_submitted_again_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(Cluster(unlucky=[None, FINISHED]), monkeypatch) == [FINISHED]
    cluster = Cluster(doomed=[None], fine=[FINISHED])
    doomed, fine = run(cluster, monkeypatch)
    assert fine == FINISHED
    assert doomed == Outcome("killed", "its job died 3 times, at last: the node is down")
    assert cluster.names.count("doomed") == 1 + MAX_DEATHS


def test_jobs_that_have_not_begun_are_cancelled_with_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(a=[FINISHED], b=[FINISHED], c=[FINISHED])
    cluster.state = "PENDING"
    questions = iter([False, True])
    outcomes = run(cluster, monkeypatch, stopped=lambda: next(questions))
    assert outcomes == 3 * [Outcome("stopped")]
    assert [job.cancelled for job in cluster.jobs] == [True, True]


def test_no_job_outlives_a_sweep_that_ends_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(a=[FINISHED])
    questions = iter([False, KeyboardInterrupt()])

    def stopped() -> bool:
        answer = next(questions)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    with pytest.raises(KeyboardInterrupt):
        run(cluster, monkeypatch, stopped=stopped)
    assert cluster.jobs[0].cancelled


def test_a_job_asks_for_what_the_options_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "srun").write_text("#!/bin/sh\n")
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    options = SlurmOptions("fast", job_minutes=90, gpus=1, cpus=8, memory_gb=20, account="us", folder=tmp_path / "jobs")
    executor = slurm._executor(submitit, options)
    text = executor._executor._make_submission_file_text("command", "id")
    for line in ("partition=fast", "time=90", "gpus-per-node=1", "cpus-per-task=8", "mem=20GB", "account=us"):
        assert f"#SBATCH --{line}\n" in text
    plain = slurm._executor(submitit, SlurmOptions(folder=tmp_path / "jobs"))
    text = plain._executor._make_submission_file_text("command", "id")
    assert not any(word in text for word in ("partition", "gpus", "account"))


def test_where_there_is_no_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OSError, match="--executor slurm: there is no Slurm here"):
        slurm.slurm([], 1, SlurmOptions(folder=tmp_path / "jobs"))
