"""Disks that are full, read-only or gone: a clear error, and what was complete stays complete."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import survival_jobs
import torch
from survival_references import contents, leftovers

from rtinterp.store import RunStore, StoreError, checkpoints
from rtinterp.store.resumable import train_stack_into
from rtinterp.store.training import train
from rtinterp.training.engine import Engine
from rtinterp.training.spec import RunSpec

CPU = torch.device("cpu")
SPECS = survival_jobs.few_steps()[:2]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    store = RunStore(tmp_path_factory.mktemp("expected") / "runs")
    train_stack_into(store, SPECS, CPU, progress=False)
    return contents(store.path)


def failing_at(n: int, patch: pytest.MonkeyPatch, error: int) -> None:
    """From its ``n``-th change of the file system on, every change but removals fails."""
    count = iter(range(1, n + 1))

    def failing(function):
        def call(*arguments: object, **keywords: object) -> object:
            if next(count, n) == n:
                raise OSError(error, os.strerror(error))
            return function(*arguments, **keywords)

        return call

    for name in ("rename", "replace", "mkdir", "fsync"):
        patch.setattr(os, name, failing(getattr(os, name)))


def error_of(store: RunStore) -> str | None:
    try:
        train_stack_into(store, SPECS, CPU, progress=False)
    except StoreError as error:
        return str(error)
    return None


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.EIO])
@pytest.mark.filterwarnings("ignore:.*no checkpoint can be saved")
def test_a_disk_that_fails_at_any_moment_is_told_and_does_no_harm(
    expected: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    n_failures = 0
    for n in range(1, 200, 2 if error == errno.ENOSPC else 9):
        store = RunStore(tmp_path / f"runs{n}", checkpoint_minutes=0)
        with monkeypatch.context() as patch:
            failing_at(n, patch, error)
            raised = error_of(store)
        if raised is None:
            break
        assert os.strerror(error) in raised
        n_failures += 1
        for run_id in store.run_ids():
            store.load(run_id)
        assert store.in_progress() == []
        assert train_stack_into(store, SPECS, CPU, progress=False) == []
        assert contents(store.path) == expected
        train(SPECS, store=RunStore(store.path), device="cpu", progress=False)
        assert leftovers(store.path) == []
    assert n_failures > 3


def test_a_full_disk_ends_no_training_that_needs_no_checkpoint(
    expected: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = checkpoints.write_durably

    def full(path: Path, data: bytes) -> None:
        if path.name.startswith("step-"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, data)

    monkeypatch.setattr(checkpoints, "write_durably", full)
    specs = [RunSpec(spec.task, spec.model, survival_jobs.TRAINING, spec.trainable, spec.seed) for spec in SPECS]
    store = RunStore(tmp_path / "runs", checkpoint_minutes=0)
    with pytest.warns(UserWarning, match="no checkpoint can be saved: No space left on device") as told:
        assert train_stack_into(store, specs, CPU, progress=False) == []
    assert len(told) == 1
    assert store.missing(specs) == []


def interrupt_after(n_steps: int, action, monkeypatch: pytest.MonkeyPatch) -> None:
    step = Engine.step

    def stepped(engine: Engine) -> torch.Tensor:
        losses = step(engine)
        if engine.n_steps_done == n_steps:
            action()
        return losses

    monkeypatch.setattr(Engine, "step", stepped)


@pytest.mark.parametrize("minutes", [0, 5])
def test_a_folder_that_vanishes_is_told_and_not_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, minutes: float
) -> None:
    store = RunStore(tmp_path / "runs", checkpoint_minutes=minutes)
    interrupt_after(1, lambda: shutil.rmtree(store.path), monkeypatch)
    with pytest.raises(StoreError, match=r"runs: the store was removed while"):
        train_stack_into(store, SPECS, CPU, progress=False)
    assert not store.path.exists()


def test_a_process_whose_lock_was_taken_leaves_the_run_to_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RunStore(tmp_path / "runs", checkpoint_minutes=0)

    def take_over() -> None:
        for token in (store.path / ".training" / "locks").glob("*/*"):
            token.rename(token.with_name("0" * 32))

    interrupt_after(1, take_over, monkeypatch)
    with pytest.warns(UserWarning, match="another process took over"):
        assert train_stack_into(store, SPECS, CPU, progress=False) == SPECS
    assert store.run_ids() == []
    assert not list(store.path.glob(".training/unfinished/*/step-*"))


def damage_newest(store: RunStore, change) -> None:
    (stack,) = (store.path / ".training" / "unfinished").iterdir()
    newest = max(stack.glob("step-*"))
    change(newest)


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(path.read_bytes()[:100]),
        lambda path: path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1])),
        lambda path: path.write_bytes(b""),
        lambda path: (path.unlink(), path.symlink_to("/dev/zero")),
    ],
    ids=["truncated", "bit flip", "empty", "link"],
)
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change
) -> None:
    specs = [RunSpec(spec.task, spec.model, survival_jobs.TRAINING, spec.trainable, spec.seed) for spec in SPECS]
    whole = RunStore(tmp_path / "whole")
    train_stack_into(whole, specs, CPU, progress=False)
    store = RunStore(tmp_path / "runs", checkpoint_minutes=0)

    def pull_the_plug() -> None:
        raise RuntimeError("plug")

    with monkeypatch.context() as patch:
        interrupt_after(6, pull_the_plug, patch)
        with pytest.raises(RuntimeError, match="plug"):
            train_stack_into(store, specs, CPU, progress=False)
    assert len(list(store.path.glob(".training/unfinished/*/step-*"))) == 2, "the last two are kept"
    damage_newest(store, change)
    n_steps = []
    interrupt_after(5, lambda: n_steps.append(5), monkeypatch)
    with pytest.warns(UserWarning, match="left out a damaged checkpoint"):
        # More seeds are asked for now: the stack that was begun stays as it was.
        assert train_stack_into(store, [*specs, specs[0].with_seed(9)], CPU, progress=False) == []
    assert n_steps == [5, 5], "from step 4, and the new seed by itself"
    found = contents(store.path)
    assert {name: data for name, data in found.items() if "seed9" not in name} == contents(whole.path)


def fill(ballast: Path) -> None:
    """Write until there is no space left."""
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 4096):
            pass


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root may mount")
def test_a_file_system_that_is_really_full_and_then_read_only(expected: dict[str, bytes], tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("may not mount here")
    try:
        store = RunStore(disk / "runs")
        assert train_stack_into(store, SPECS, CPU, progress=False) == []
        more = [spec.with_seed(7) for spec in SPECS[:1]]
        fill(disk / "ballast")
        with pytest.raises(StoreError, match="No space left on device"):
            train_stack_into(store, more, CPU, progress=False)
        assert contents(store.path) == expected
        (disk / "ballast").unlink()
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with pytest.raises(StoreError, match="Read-only file system"):
            train_stack_into(store, more, CPU, progress=False)
        train(SPECS, store=store, device="cpu", progress=False)
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        assert train_stack_into(store, more, CPU, progress=False) == []
        assert leftovers(store.path) == []
    finally:
        subprocess.run(["umount", disk], check=True)
