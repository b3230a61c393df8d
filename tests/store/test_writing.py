"""A run is in the store whole or not at all, whatever happens while it is written."""

from __future__ import annotations

import dataclasses
import errno
import os
from pathlib import Path

import pytest
from store_references import same, tiny_spec

from rtinterp.store import RunStore, StoreError
from rtinterp.store.record import write_run
from rtinterp.store.training import train
from rtinterp.training.loop import train_stack_kept
from rtinterp.training.run import Run
from rtinterp.training.spec import RunSpec

DISK_FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def run(runs: dict[str, Run]) -> Run:
    return runs["embeddings"]


@pytest.fixture
def empty(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


def raise_(error: BaseException):
    def fail(*arguments: object, **keywords: object) -> None:
        raise error

    return fail


def contents(store: RunStore) -> list[str]:
    return sorted(path.name for path in store.path.iterdir())


@pytest.mark.parametrize(
    ("error", "expected"),
    [(DISK_FULL, StoreError), (RuntimeError("bug"), RuntimeError), (KeyboardInterrupt(), KeyboardInterrupt)],
    ids=["disk full", "bug", "interrupt"],
)
def test_an_interrupted_save_leaves_nothing(
    empty: RunStore, run: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, expected: type[BaseException]
) -> None:
    def half_written(run: Run, folder: Path) -> None:
        write_run(run, folder)
        (folder / "run.json").unlink()
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("rtinterp.store.run_store.write_run", half_written)
        with pytest.raises(expected):
            empty.save(run)
    assert contents(empty) == []
    assert run.spec not in empty
    empty.save(run)
    assert same(empty.load(run.spec.run_id), run)
    assert contents(empty) == [run.spec.run_id]


@pytest.mark.parametrize("function", ["rename", "fsync"])
def test_a_failing_system_call_is_a_store_error_and_leaves_no_run(
    empty: RunStore, run: Run, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, function, raise_(DISK_FULL))
        with pytest.raises(StoreError, match=f"{run.spec.run_id}: cannot be saved: No space left"):
            empty.save(run)
    assert contents(empty) == []


def test_saving_twice_keeps_the_first(store: RunStore, run: Run) -> None:
    folder = store.path / run.spec.run_id
    before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}
    other = dataclasses.replace(run, trained={name: tensor + 1 for name, tensor in run.trained.items()})
    assert store.save(other) == folder
    assert {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()} == before
    assert same(store.load(run.spec.run_id), run)


def test_of_two_processes_that_save_the_same_run_the_first_wins(
    empty: RunStore, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = dataclasses.replace(run, trained={name: tensor + 1 for name, tensor in run.trained.items()})
    rename, racing = os.rename, iter([True])

    def beaten(source: object, target: object) -> None:
        if next(racing, False):
            empty.save(run)
        rename(source, target)

    monkeypatch.setattr(os, "rename", beaten)
    empty.save(other)
    assert contents(empty) == [run.spec.run_id]
    assert same(empty.load(run.spec.run_id), run)


def test_what_a_killed_process_left_behind_is_no_run(store: RunStore, run: Run) -> None:
    (store.path / run.spec.run_id).rename(store.path / f".saving-{run.spec.run_id}-0")
    assert run.spec not in store
    assert len(store.run_ids()) == len(store.table()) == 2
    with pytest.raises(StoreError, match="no run"):
        store.load(f".saving-{run.spec.run_id}-0")
    store.save(run)
    assert same(store.load(run.spec.run_id), run)


def test_a_store_is_a_folder(tmp_path: Path, run: Run) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(StoreError, match=f"{file}: is a file"):
        RunStore(file)
    inside = RunStore(file / "runs")
    with pytest.raises(StoreError, match=f"{run.spec.run_id}: cannot be saved: Not a directory"):
        inside.save(run)
    assert file.read_text() == "x"


def test_a_file_in_the_place_of_the_run_is_a_store_error(empty: RunStore, run: Run) -> None:
    empty.path.mkdir()
    (empty.path / run.spec.run_id).write_text("x")
    with pytest.raises(StoreError, match="cannot be saved"):
        empty.save(run)
    assert contents(empty) == [run.spec.run_id]


@pytest.mark.parametrize("function", ["mkdir", "open", "write_bytes"])
def test_a_folder_that_may_not_be_written_is_a_store_error(
    empty: RunStore, run: Run, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    denied = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    with monkeypatch.context() as patch:
        patch.setattr(Path, function, raise_(denied))
        with pytest.raises(StoreError, match="cannot be saved: Permission denied"):
            empty.save(run)
    assert run.spec not in empty


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_a_store_error(empty: RunStore, run: Run) -> None:
    empty.path.mkdir()
    empty.path.chmod(0o500)
    with pytest.raises(StoreError, match="cannot be saved: Permission denied"):
        empty.save(run)


def test_training_trains_what_is_not_there_and_nothing_else(
    store: RunStore, runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[RunSpec] = []

    def recorded(specs: list[RunSpec], *arguments: object, **keywords: object) -> list[Run]:
        trained.extend(specs)
        return train_stack_kept(specs, *arguments, **keywords)

    monkeypatch.setattr("rtinterp.store.resumable.train_stack_kept", recorded)
    new = [tiny_spec(seed=4), tiny_spec("all", seed=5)]
    wanted = [runs["all"].spec, new[0], runs["embeddings"].spec, new[1], new[0]]
    train(wanted, store=store, device="cpu", progress=False)
    assert (len(trained), set(trained)) == (2, set(new))
    assert store.missing(wanted) == []
    stamps = {path: path.stat().st_mtime_ns for path in store.path.rglob("*")}
    train(wanted, store=store, device="cpu", progress=False)
    assert (len(trained), set(trained)) == (2, set(new))
    assert {path: path.stat().st_mtime_ns for path in store.path.rglob("*")} == stamps
    assert store.load(new[0].run_id).spec == new[0]


def test_an_interrupt_keeps_the_stacks_that_are_done(empty: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    finished = iter([True])

    def interrupted(specs: list[RunSpec], *arguments: object, **keywords: object) -> list[Run]:
        if not next(finished, False):
            raise KeyboardInterrupt
        return train_stack_kept(specs, *arguments, **keywords)

    first = [tiny_spec(seed=0), tiny_spec(seed=1)]
    second = [tiny_spec("all")]
    with monkeypatch.context() as patch:
        patch.setattr("rtinterp.store.resumable.train_stack_kept", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train([*first, *second], store=empty, device="cpu", progress=False)
    assert empty.run_ids() == sorted(spec.run_id for spec in first)
    assert empty.missing([*first, *second]) == second
    train([*first, *second], store=empty, device="cpu", progress=False)
    assert empty.missing([*first, *second]) == []


def test_a_device_that_is_not_there_is_an_error_before_anything_is_written(empty: RunStore) -> None:
    with pytest.raises(ValueError, match="device='tpu'"):
        train([tiny_spec()], store=empty, device="tpu", progress=False)
    assert not empty.path.exists()


def test_what_could_not_be_opened_afterwards_is_not_trained(empty: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtinterp.store.sizes.MAX_FROZEN_BYTES", 100)
    monkeypatch.setattr("rtinterp.store.resumable.train_stack_kept", raise_(AssertionError("trained")))
    with pytest.raises(StoreError, match=r"frozen tensors \(d_model=8"):
        train([tiny_spec()], store=empty, device="cpu", progress=False)
    assert not empty.path.exists()
