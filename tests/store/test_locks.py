"""One claim on a run at a time; dead owners lose theirs, live ones never."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from lock_references import ELSEWHERE, claimed_by, ended_process, started_at

from rtinterp.store import StoreError, locks
from rtinterp.store.claims import STALE_SECONDS
from rtinterp.store.locks import Claim, LockLostError, Locks
from rtinterp.store.owner import is_dead, owner_of_name, this_process
from rtinterp.store.progress import Progress


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "runs" / ".training"


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name not in ("claims", "locks")]


def test_a_run_has_one_owner_until_it_is_given_back(folder: Path) -> None:
    with Locks(folder).claim(["a", "b"], 10) as claim:
        claim.tell(3, 0.5)
        claim._write()
        expected = Progress(("a", "b"), this_process().host, os.getpid(), 3, 10, 0.5)
        assert Locks(folder).claim(["b", "c"], 10) == expected
        assert Locks(folder).in_progress() == [expected]
        with Locks(folder).claim(["c"], 10) as other:
            assert isinstance(other, Claim)
        claim.verify()
    assert Locks(folder).in_progress() == []
    assert leftovers(folder) == []
    with Locks(folder).claim(["b"], 10) as claim:
        assert isinstance(claim, Claim)


def test_nobody_is_in_progress_where_there_is_no_store(folder: Path) -> None:
    assert Locks(folder).in_progress() == []
    assert not folder.exists()


def test_the_lock_of_a_dead_process_is_taken_at_once(folder: Path) -> None:
    claimed_by(ended_process(), folder, ["a", "b"])
    assert Locks(folder).in_progress() == []
    with Locks(folder).claim(["b"], 10) as claim:
        assert isinstance(claim, Claim)
        assert not (folder / "locks" / "a").exists()
    assert leftovers(folder) == []


def test_a_process_id_that_is_used_again_is_another_process() -> None:
    assert is_dead(this_process()) is False
    assert is_dead(dataclasses.replace(this_process(), started="1")) is True
    assert is_dead(ended_process()) is True
    assert is_dead(ELSEWHERE) is None


def test_a_process_that_has_ended_but_was_not_waited_for_is_dead() -> None:
    process = subprocess.Popen(["sleep", "1000"])
    owner = dataclasses.replace(this_process(), pid=process.pid, started=started_at(process))
    assert is_dead(owner) is False
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert is_dead(owner) is True
    process.wait()


def test_a_name_tells_its_process() -> None:
    found = owner_of_name(f".saving-some-run-{this_process().tag}-0123")
    assert found is not None
    assert is_dead(found) is False
    assert owner_of_name(".saving-some-run-0") is None


def looks_until_taken(folder: Path, clock: list[float], seconds: float, between: float) -> bool:
    """Whether the run is taken within a time, looking every so often."""
    end = clock[0] + seconds
    while clock[0] < end:
        claim = Locks(folder).claim(["a"], 10)
        if isinstance(claim, Claim):
            claim.release()
            return True
        clock[0] += between
    return False


def test_a_claim_from_elsewhere_is_stale_when_it_does_not_change(folder: Path, clock: list[float]) -> None:
    claimed_by(ELSEWHERE, folder, ["a"])
    assert not looks_until_taken(folder, clock, STALE_SECONDS - 5, 1)
    assert Locks(folder).in_progress()
    assert looks_until_taken(folder, clock, 10, 1)


def test_a_claim_from_elsewhere_that_changes_is_never_stale(folder: Path, clock: list[float]) -> None:
    path = claimed_by(ELSEWHERE, folder, ["a"])
    for beat in range(20):
        facts = json.loads(path.read_text())
        path.write_text(json.dumps({**facts, "beat": 10 + beat}))
        assert not looks_until_taken(folder, clock, STALE_SECONDS / 2, 5)


def test_a_pause_of_the_reader_makes_nobody_stale(folder: Path, clock: list[float]) -> None:
    claimed_by(ELSEWHERE, folder, ["a"])
    assert not looks_until_taken(folder, clock, 1e6, 9e5)


def test_a_torn_claim_is_treated_like_one_from_elsewhere(folder: Path, clock: list[float]) -> None:
    claimed_by(ELSEWHERE, folder, ["a"]).write_text('{"format_ver')
    assert not looks_until_taken(folder, clock, STALE_SECONDS - 5, 1)
    assert looks_until_taken(folder, clock, 10, 1)


def test_a_lock_without_a_claim_is_nobodys(folder: Path) -> None:
    claimed_by(ELSEWHERE, folder, ["a"]).unlink()
    with Locks(folder).claim(["a"], 10) as claim:
        assert isinstance(claim, Claim)


def test_an_owner_that_was_taken_for_dead_notices_and_removes_nothing_of_the_new_one(
    folder: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "HEARTBEAT_SECONDS", 1e6)
    with monkeypatch.context() as patch:
        patch.setattr(locks, "this_process", lambda: ELSEWHERE)
        slept = Locks(folder).claim(["a"], 10)
    slept.verify()
    assert not looks_until_taken(folder, clock, STALE_SECONDS - 5, 1)
    clock[0] += 10
    with Locks(folder).claim(["a"], 10) as new:
        with pytest.raises(LockLostError, match="another process took over a"):
            slept.verify()
        slept.release()
        new.verify()
        assert not isinstance(Locks(folder).claim(["a"], 10), Claim)


def test_the_heartbeat_notices_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "HEARTBEAT_SECONDS", 0.01)
    with Locks(folder).claim(["a"], 10) as claim:
        beat = claim._facts.beat
        while claim._facts.beat < beat + 3:
            claim.tell(1, None)
        shutil.rmtree(folder / "locks" / "a")
        claim._thread.join()
        with pytest.raises(LockLostError):
            claim.tell(2, None)


def test_a_store_that_is_gone_is_said_to_be_gone(folder: Path) -> None:
    with Locks(folder).claim(["a"], 10) as claim:
        shutil.rmtree(folder.parent)
        with pytest.raises(StoreError, match="runs: the store was removed while") as error:
            claim.verify()
    assert not isinstance(error.value, LockLostError)
    assert not folder.parent.exists(), "nothing made it anew"


@pytest.mark.parametrize("stale", [False, True])
def test_of_many_that_try_at_once_one_gets_all(folder: Path, stale: bool) -> None:
    """Threads, in many rounds: at every moment at most one holds the two runs, whoever died before."""
    dead = ended_process()
    holders, most, taken = 0, 0, 0
    counting = threading.Lock()

    def try_often() -> None:
        nonlocal holders, most, taken
        for _ in range(15):
            claim = Locks(folder).claim(["a", "b"], 10)
            if not isinstance(claim, Claim):
                continue
            with counting:
                holders, taken = holders + 1, taken + 1
                most = max(most, holders)
            claim.verify()
            with counting:
                holders -= 1
            if stale:
                # As if killed: its locks stay, and its claim names a process that is no more.
                claim._ended.set()
                claim._thread.join()
                claim._facts = dataclasses.replace(claim._facts, owner=dead)
                claim._write()
            else:
                claim.release()

    threads = [threading.Thread(target=try_often) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert taken > 5
    if not stale:
        assert leftovers(folder) == []


@pytest.mark.parametrize("name", ["../../outside", "a/b"])
def test_what_a_claim_says_about_names_leads_nowhere(folder: Path, tmp_path: Path, name: str) -> None:
    path = claimed_by(ended_process(), folder, ["a"])
    facts = json.loads(path.read_text())
    path.write_text(json.dumps({**facts, "run_ids": [name]}))
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / path.stem).write_text("x")
    with Locks(folder).claim(["a"], 10) as claim:
        assert isinstance(claim, Claim)
    assert (outside / path.stem).exists()
