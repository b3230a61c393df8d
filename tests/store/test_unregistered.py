"""A run whose task this process does not know is not damaged, and says what to import."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
from store_references import edit_bytes, edit_json, edit_text, resealed, same, tiny_spec
from user_tasks import CopyFirst

from rtinterp.cli import main
from rtinterp.store import RunStore, StoreError, UnregisteredError
from rtinterp.store.checkpoints import StackCheckpoints
from rtinterp.store.errors import UnregisteredRunWarning
from rtinterp.store.failures import Failure
from rtinterp.store.portable import export_run, import_run
from rtinterp.store.training import train
from rtinterp.store.verify import verify_run
from rtinterp.tasks import TASKS
from rtinterp.training.run import Run

TELLS = r"its task 'copy_first' is not registered in this process; import user_tasks, which defined it, first"


@pytest.fixture(scope="module")
def run() -> Run:
    return train(dataclasses.replace(tiny_spec(), task=CopyFirst()), device="cpu", progress=False)


@pytest.fixture
def folder(store: RunStore, run: Run, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of a user's task among others, in a process that does not know the task."""
    folder = store.save(run)
    assert same(store.load(run.spec), run)
    monkeypatch.delitem(TASKS._classes, "copy_first")
    return folder


def test_it_is_opened_in_a_new_process_that_imports_the_task(folder: Path, run: Run):
    code = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})
import user_tasks
from rtinterp import RunStore
run = RunStore({str(folder.parent)!r}).load({folder.name!r})
print(run.spec.task, run.test_accuracy, run.model(run.spec.task.test_set().tokens).shape)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == [str(run.spec.task), str(run.test_accuracy), "torch.Size([50,", "4,", "7])"], done


def test_loading_it_says_what_to_import(folder: Path):
    with pytest.raises(UnregisteredError, match=TELLS) as told:
        RunStore(folder.parent).load(folder.name)
    assert str(folder / "spec.json") in str(told.value)


def test_the_table_leaves_it_out_and_does_not_call_it_damaged(folder: Path, store: RunStore):
    with pytest.warns(UnregisteredRunWarning, match=f"left out a run: .*{TELLS}"):
        table = store.table()
    assert table["run_id"].to_list() == [run_id for run_id in store.run_ids() if run_id != folder.name]


def test_verify_finds_no_fault_in_it(folder: Path, capsys: pytest.CaptureFixture[str]):
    verdict = verify_run(folder)
    assert verdict.faults == ()
    assert TELLS in str(verdict.unregistered)
    assert main(["verify", str(folder.parent)]) == 0
    first, last = capsys.readouterr().out.splitlines()
    assert first == f"not checked in full: {verdict.unregistered}"
    assert last == f"4 runs checked in {folder.parent}: 3 sound, 1 not registered, 0 damaged, 0 faults"


def test_verify_still_finds_what_is_damaged_in_it(folder: Path, capsys: pytest.CaptureFixture[str]):
    edit_bytes("environment.json", lambda data: data + b" ")(folder)
    assert all("environment.json: truncated or edited" in fault for fault in verify_run(folder).faults)
    with pytest.raises(SystemExit):
        main(["verify", str(folder.parent)])
    assert "3 sound, 1 damaged" in capsys.readouterr().out


def test_a_portable_file_and_a_failure_of_it_say_the_same(folder: Path, run: Run, store: RunStore, tmp_path: Path):
    export_run(run, tmp_path / "file")
    with pytest.raises(UnregisteredError, match=TELLS):
        import_run(tmp_path / "file")
    store.failures.record(Failure(run.spec, 2, "the loss became nan", run.environment))
    with pytest.warns(UnregisteredRunWarning, match=TELLS):
        assert store.failed() == []


@pytest.mark.parametrize(
    ("module", "advice"),
    [
        ("__main__", r"it was defined in a notebook or script: run its definition, and register_task on it, first"),
        (None, r"import the module that defines it, and that calls register_task on it, first"),
    ],
)
def test_what_to_do_depends_on_where_it_was_defined(folder: Path, module: str | None, advice: str):
    resealed(edit_json("environment.json", lambda fields: fields.update(task_module=module)))(folder)
    with pytest.raises(UnregisteredError, match=advice):
        RunStore(folder.parent).load(folder.name)


def test_what_is_unfinished_of_it_is_left_out_and_says_so(
    store: RunStore, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    StackCheckpoints(store.unfinished_folder, [run.spec]).begin()
    monkeypatch.delitem(TASKS._classes, "copy_first")
    told = r"an unfinished stack: .*its task 'copy_first' is not registered in this process; import the module"
    with pytest.warns(UnregisteredRunWarning, match=told):
        assert store.unfinished() == []


def test_a_name_that_no_task_can_have_is_damage(folder: Path):
    resealed(edit_text("spec.json", "copy_first", "Copy first"))(folder)
    with pytest.raises(StoreError, match="not a run spec: unknown task 'Copy first'") as told:
        RunStore(folder.parent).load(folder.name)
    assert not isinstance(told.value, UnregisteredError)


def test_the_module_of_a_built_in_task_is_not_recorded(runs: dict[str, Run], run: Run):
    environment = runs["all"].environment
    assert (environment.task_module, environment.body_module) == (None, None)
    assert (run.environment.task_module, run.environment.body_module) == ("user_tasks", None)
