"""Stopped runs and kept steps in a store: what they are stored as, that they survive, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from store_references import edit_json, reseal, same, tiny_spec

from rtinterp.cli import main
from rtinterp.store import RunStore, StoreError
from rtinterp.store.portable import export_run, import_into, import_run
from rtinterp.store.training import train
from rtinterp.store.verify import verify_run
from rtinterp.training.engine import Engine
from rtinterp.training.run import Run
from rtinterp.training.snapshot import OnEvaluation, Snapshot
from rtinterp.training.spec import RunSpec

SPECS = [tiny_spec(seed=seed, kept_steps=(0, 1, 3)) for seed in (0, 1)]
OPTIONS = {"device": "cpu", "progress": False}


@pytest.fixture
def empty(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs", checkpoint_minutes=0)


def stop(spec: RunSpec, step: int = 2) -> OnEvaluation:
    return lambda snapshot: snapshot.stop() if (snapshot.spec, snapshot.step) == (spec, step) else None


def pull_the_plug(monkeypatch: pytest.MonkeyPatch, after: int) -> list[int]:
    """The steps that are taken; once, after so many, the process ends."""
    step, taken = Engine.step, []

    def counted(engine: Engine) -> torch.Tensor:
        if len(taken) == after and engine.n_steps_done == after:
            taken.append(-1)
            raise RuntimeError("pulled the plug")
        taken.append(engine.n_steps_done)
        return step(engine)

    monkeypatch.setattr(Engine, "step", counted)
    return taken


def test_a_stopped_run_is_stored_as_what_it_is(empty: RunStore, tmp_path: Path) -> None:
    finished, stopped = train(SPECS, store=empty, on_evaluation=stop(SPECS[1]), **OPTIONS)
    run_id = f"{SPECS[1].run_id}-stopped-at-2"
    assert (finished.stopped_at_step, stopped.stopped_at_step, stopped.run_id) == (None, 2, run_id)
    assert empty.run_ids() == [SPECS[0].run_id, run_id]
    assert [verify_run(empty.path / name).faults for name in empty.run_ids()] == [(), ()]
    assert same(empty.load(run_id), stopped)
    assert stopped.history["step"].to_list() == [2]
    assert stopped.kept_steps == (0, 1)
    assert finished.kept_steps == (0, 1, 3)
    assert empty.missing(SPECS) == [SPECS[1]], "it never counts as the finished run"
    assert SPECS[1] not in empty
    with pytest.raises(StoreError, match="no run"):
        empty.load(SPECS[1])
    assert empty.table()["stopped_at_step"].to_list() == [None, 2]
    assert not list(empty.unfinished_folder.iterdir())
    export_run(stopped, tmp_path / "file")
    assert same(import_run(tmp_path / "file"), stopped)
    other = RunStore(tmp_path / "other")
    for _ in range(2):
        assert import_into(other, tmp_path / "file").name == run_id
    assert same(other.load(run_id), stopped)
    (whole,) = train(SPECS[1:], store=empty, **OPTIONS)
    assert whole.stopped_at_step is None
    assert len(empty.run_ids()) == 3
    assert same(empty.load(SPECS[1]), whole)


def test_the_command_line_tells_that_it_was_stopped(empty: RunStore, capsys: pytest.CaptureFixture[str]) -> None:
    (run,) = train(SPECS[1:], store=empty, on_evaluation=stop(SPECS[1]), **OPTIONS)
    where = ["--runs", str(empty.path)]
    assert main(["list", *where]) == 0
    assert "stopped at 2 of 4" in capsys.readouterr().out
    assert main(["show", run.run_id, *where]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == run.run_id
    assert "stopped at step     2 of 4" in shown
    assert "kept steps          0, 1" in shown
    (line,) = (line for line in shown if line.startswith("to remake it"))
    assert line.endswith("# trains to the end; the run was stopped at step 2")
    assert main(["verify", str(empty.path)]) == 0


@pytest.mark.parametrize("after", [1, 2, 3])
def test_watching_goes_on_where_a_training_was_cut_off(
    empty: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    whole = train(SPECS, store=tmp_path / "whole", on_evaluation=stop(SPECS[1]), **OPTIONS)
    taken = pull_the_plug(monkeypatch, after)
    seen: list[tuple[int, int]] = []

    def watch(snapshot: Snapshot) -> None:
        seen.append((snapshot.step, snapshot.spec.seed))
        stop(SPECS[1])(snapshot)

    with pytest.raises(RuntimeError, match="plug"):
        train(SPECS, store=empty, on_evaluation=watch, **OPTIONS)
    runs = train(SPECS, store=empty, on_evaluation=watch, **OPTIONS)
    assert taken == [*range(after), -1, *range(after, 4)]
    assert seen == [(2, 0), (2, 1), (4, 0)]
    for run, expected in zip(runs, whole, strict=True):
        assert same(dataclasses.replace(run, environment=expected.environment), expected)


def test_without_a_callback_what_was_stopped_goes_on_with_its_stack(
    empty: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(SPECS, **OPTIONS)
    pull_the_plug(monkeypatch, 3)
    with pytest.raises(RuntimeError, match="plug"):
        train(SPECS, store=empty, on_evaluation=stop(SPECS[1]), **OPTIONS)
    for run, expected in zip(train(SPECS, store=empty, **OPTIONS), whole, strict=True):
        assert same(dataclasses.replace(run, environment=expected.environment), expected)


def test_an_exception_of_the_callback_leaves_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, taken = RunStore(tmp_path / "runs"), pull_the_plug(monkeypatch, 99)

    def fail(snapshot: Snapshot) -> None:
        stop(SPECS[0])(snapshot)
        if snapshot.spec == SPECS[1]:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train(SPECS, store=store, on_evaluation=fail, **OPTIONS)
    assert store.in_progress() == []
    stopped, finished = train(SPECS, store=store, on_evaluation=lambda _: None, **OPTIONS)
    assert taken == [0, 1, 2, 3]
    assert (stopped.stopped_at_step, finished.stopped_at_step) == (2, None)


def test_a_kept_step_between_evaluations_is_not_stored_by_itself(keeping: Run, empty: RunStore, tmp_path: Path) -> None:
    between = keeping.at(1)
    for save in (empty.save, lambda run: export_run(run, tmp_path / "file")):
        with pytest.raises(StoreError, match="was not evaluated at step 1; the whole run has it among its kept steps"):
            save(between)
    assert empty.run_ids() == []
    assert same(empty.load(empty.save(keeping.at(2)).name), keeping.at(2))


def lists_no_kept_file(folder: Path) -> None:
    edit_json("run.json", lambda fields: fields["sha256"].pop("kept.safetensors"))(folder)


def keeps_other_steps(folder: Path) -> None:
    edit_json("spec.json", lambda fields: fields["training"].update(kept_steps=[0, 1]))(folder)
    reseal(folder)


def keeps_none(folder: Path) -> None:
    edit_json("spec.json", lambda fields: fields["training"].pop("kept_steps"))(folder)
    reseal(folder)


def holds_other_shapes(folder: Path) -> None:
    path = folder / "kept.safetensors"
    tensors = safetensors.torch.load(path.read_bytes())
    name = next(iter(tensors))
    safetensors.torch.save_file({**tensors, name: tensors[name][:-1].contiguous()}, path)
    reseal(folder)


def holds_no_numbers(folder: Path) -> None:
    path = folder / "kept.safetensors"
    tensors = safetensors.torch.load(path.read_bytes())
    next(iter(tensors.values())).view(-1)[0] = torch.nan
    safetensors.torch.save_file(tensors, path)
    reseal(folder)


def stopped_at(step: object):
    return lambda folder: edit_json("run.json", lambda fields: fields.update(stopped_at_step=step))(folder)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lists_no_kept_file, "run.json: lists no kept.safetensors, unlike what its spec keeps"),
        (keeps_other_steps, "kept.safetensors: not the tensors"),
        (keeps_none, "run.json: lists a kept.safetensors, unlike what its spec keeps"),
        (holds_other_shapes, "kept.safetensors: not the tensors that 'embeddings' trains: kept/"),
        (holds_no_numbers, r"kept.safetensors: kept/\d/.* is not finite"),
        (lambda folder: (folder / "kept.safetensors").unlink(), "kept.safetensors: cannot be read"),
        (stopped_at(2), "describes run .*-stopped-at-2, not the run its folder is named after"),
        (stopped_at(4), "describes run|cannot have been stopped at step 4"),
        (stopped_at("2"), "run.json: not what format 3 has there: stopped_at_step"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_was_not_saved_is_refused(keeping: Run, empty: RunStore, damage, message: str) -> None:
    folder = empty.save(keeping)
    damage(folder)
    with pytest.raises(StoreError, match=message):
        empty.load(keeping.spec)
    assert verify_run(folder).faults


@pytest.mark.parametrize("step", [0, 1, 4, 7])
def test_a_run_cannot_be_made_one_that_was_stopped(keeping: Run, empty: RunStore, step: int) -> None:
    folder = empty.save(keeping)
    stopped_at(step)(folder)
    forged = folder.rename(folder.with_name(f"{folder.name}-stopped-at-{step}"))
    with pytest.raises(StoreError, match=rf"cannot have been stopped at step {step}|its steps do not rise to {step}"):
        empty.load(forged.name)
    assert verify_run(forged).faults
    assert keeping.spec not in empty


def test_where_no_steps_are_kept_there_is_no_file_of_them(store: RunStore, runs: dict[str, Run], keeping: Run) -> None:
    folder = store.save(runs["embeddings"])
    assert not (folder / "kept.safetensors").exists()
    assert json.loads((folder / "run.json").read_text())["stopped_at_step"] is None
    (folder / "kept.safetensors").write_bytes((store.save(keeping) / "kept.safetensors").read_bytes())
    (fault,) = verify_run(folder).faults
    assert fault.endswith("holds what is no part of a run: kept.safetensors")


def test_a_stored_run_that_kept_less_than_is_asked_for_is_told(empty: RunStore) -> None:
    def asking(kept_steps: object) -> RunSpec:
        return tiny_spec(seed=9, kept_steps=kept_steps)

    train(asking((0, 1)), store=empty, **OPTIONS)
    for told_of_nothing in ("none", (0,), (1, 4)):
        assert empty.load(asking(told_of_nothing)).kept_steps == (0, 1)
    run_id = asking("none").run_id
    for ask in (empty.load, lambda spec: train(spec, store=empty, **OPTIONS)):
        with pytest.warns(
            UserWarning, match=f"{run_id} is stored without 1 of the steps that its spec keeps, such as 2"
        ):
            assert ask(asking("log")).kept_steps == (0, 1)
