"""Every executor leaves the same bits in the store as this process alone; what is killed is tried again."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

import pytest
import user_tasks
from corpus_references import made_up_corpus, write_corpus
from executor_references import EXECUTORS, Killer, contents, its_worker, stack, swept, training_process

from rtinterp.executors import pools, sweep
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.store import RunStore
from rtinterp.tasks import LanguageModelling, open_corpus
from rtinterp.training.spec import RunSpec

#: Long enough to be killed in the middle.
LONG = [*stack((0, 1), n_steps=1500), *stack(n_steps=600, digits=True), *stack(trainable="all", n_steps=600)]
SHORT = [*stack((0, 1)), *stack(trainable="all")]

of_all_executors = pytest.mark.parametrize(
    "executor", [*(pytest.param(name, marks=pytest.mark.slow) for name in EXECUTORS)]
)


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a sweep in this process makes of the long stacks."""
    path = tmp_path_factory.mktemp("serial") / "store"
    report = swept(path, LONG, "local")
    assert (report.n_trained, report.left, report.errors) == (4, [], [])
    return contents(path)


def test_two_stacks_in_two_processes(tmp_path: Path) -> None:
    report = swept(tmp_path / "store", SHORT, "loky")
    assert (report.n_trained, report.left, report.errors) == (3, [], [])
    swept(tmp_path / "serial", SHORT, "local")
    assert contents(tmp_path / "store") == contents(tmp_path / "serial")
    assert not [path for path in (tmp_path / "store").iterdir() if path.name.startswith(".sweep")]


def test_this_process_is_free_while_the_workers_train(tmp_path: Path) -> None:
    path, stored = tmp_path / "store", []
    swept(path, SHORT, "loky", n_workers=1, meanwhile=lambda: stored.append(len(RunStore(path).run_ids())))
    assert stored == [0, 2, 3]


def test_a_worker_imports_the_task_of_a_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(user_tasks.__file__).parent), *sys.path]))
    specs = [dataclasses.replace(spec, task=user_tasks.CopyFirst()) for spec in stack()]
    report = swept(tmp_path / "store", specs, "loky", n_workers=1)
    assert (report.n_trained, report.left, report.errors) == (1, [], [])
    monkeypatch.setattr(user_tasks.CopyFirst, "__module__", "__main__")
    (error,) = swept(tmp_path / "other", specs, "loky", n_workers=1).errors
    assert "was defined in a notebook or script, which no other process can import; move it to a module" in error


@of_all_executors
def test_the_store_is_that_of_a_serial_sweep(executor: str, serial: dict[str, bytes], tmp_path: Path) -> None:
    report = swept(tmp_path / "store", LONG, executor)
    assert (report.n_trained, report.left, report.errors) == (4, [], [])
    assert contents(tmp_path / "store") == serial


@pytest.mark.slow
# It leaves the files open that it writes its log to.
@pytest.mark.filterwarnings("ignore:Exception ignored in.*DEBUG_:pytest.PytestUnraisableExceptionWarning")
def test_submitit_in_debug_mode(serial: dict[str, bytes], tmp_path: Path) -> None:
    report = swept(tmp_path / "store", LONG, "slurm", cluster="debug")
    assert (report.n_trained, report.errors) == (4, [])
    assert contents(tmp_path / "store") == serial


@of_all_executors
@pytest.mark.parametrize("victim", [training_process, its_worker])
def test_who_is_killed_costs_only_the_stack(executor: str, victim, serial: dict[str, bytes], tmp_path: Path) -> None:
    with Killer(tmp_path / "store", LONG[0].run_id, victim) as killer:
        report = swept(tmp_path / "store", LONG, executor)
    assert len(killer.killed) == 1
    assert (report.n_trained, report.left, report.errors) == (4, [], [])
    assert contents(tmp_path / "store") == serial


@of_all_executors
def test_an_error_in_one_stack_stops_no_other(executor: str, tmp_path: Path) -> None:
    task = LanguageModelling.from_corpus(made_up_corpus(), 300, 16)
    closed = RunSpec(task, ModelSpec(8), SHORT[0].training)
    report = swept(tmp_path / "store", [closed, *SHORT], executor)
    assert (report.n_trained, report.left) == (3, [closed])
    assert len(report.errors) == 1
    assert closed.run_id in report.errors[0]
    assert "pass --corpus PATH" in report.errors[0]


@pytest.mark.slow
def test_a_corpus_is_opened_by_the_worker(tmp_path: Path) -> None:
    path = write_corpus(tmp_path / "corpus", made_up_corpus())
    task = LanguageModelling.from_corpus(open_corpus(path), 300, 16)
    spec = RunSpec(task, ModelSpec(8), SHORT[0].training)
    assert swept(tmp_path / "store", [spec], "loky", corpus=str(path)).n_trained == 1


def test_a_pool_that_breaks_again_and_again_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def broken(tasks, n_workers: int, meanwhile) -> list:
        calls.append(list(tasks))
        raise pools.WorkersLostError("no more workers")

    monkeypatch.setattr(pools, "loky", broken)
    report = swept(tmp_path / "store", SHORT, "loky")
    assert len(calls) == sweep.MAX_ROUNDS
    assert report.left == SHORT
    assert [line.partition(": ")[0] for line in report.errors] == [
        f"{SHORT[0].run_id} and 1 more seeds",
        SHORT[2].run_id,
    ]
    assert all(line.endswith("workers were lost 3 times (no more workers)") for line in report.errors)
    assert RunStore(tmp_path / "store").run_ids() == []


@pytest.mark.parametrize(("executor", "package"), [("dask", "distributed"), ("ray", "ray"), ("slurm", "submitit")])
def test_a_missing_package_is_told_with_the_command_that_installs_it(
    executor: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"--executor {executor} .*: pip install 'rtinterp\[{executor}\]'"):
        swept(tmp_path / "store", SHORT, executor)
