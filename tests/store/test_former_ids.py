"""Runs whose id covers ``steps_per_evaluation`` too, as it formerly did, are opened and found by their spec."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
import torch
from store_references import as_format, edit_json, same, tiny_spec

from rtinterp.store import RunStore, StoreError
from rtinterp.store.failures import Failure
from rtinterp.store.portable import export_run, import_into
from rtinterp.store.remake import remake_command
from rtinterp.store.resumable import train_stack_into
from rtinterp.store.training import train
from rtinterp.store.verify import verify_run
from rtinterp.training.engine import Engine
from rtinterp.training.run import Run
from rtinterp.training.spec import RunSpec

CPU = torch.device("cpu")


@pytest.fixture
def former(tmp_path: Path, runs: dict[str, Run]) -> Path:
    """The folder of a run that is evaluated every two steps, as the former code wrote it."""
    folder = RunStore(tmp_path / "runs").save(runs["embeddings"])
    as_format(2)(folder)
    digest = hashlib.sha256((folder / "spec.json").read_bytes().rstrip(b"\n")).hexdigest()[:12]
    return folder.rename(folder.with_name(f"modular_addition-d8-embeddings-seed0-{digest}"))


def test_a_run_of_the_former_rule_is_opened_listed_and_found(former: Path, runs: dict[str, Run]) -> None:
    run, store = runs["embeddings"], RunStore(former.parent)
    assert former.name != run.spec.run_id
    assert verify_run(former).faults == ()
    assert store.run_ids() == store.table()["run_id"].to_list() == [former.name]
    assert same(store.load(former.name), run)
    assert same(store.load(run.spec), run)
    assert run.spec in store
    assert store.id_of(run.spec) == former.name
    assert store.missing([run.spec, tiny_spec("all")]) == [tiny_spec("all")]
    assert same(train(run.spec, store=store, device="cpu", progress=False), run), "loaded, not trained"
    assert str(former / "spec.json") in remake_command(run, store)


def test_however_often_it_is_to_be_evaluated_now(former: Path, runs: dict[str, Run]) -> None:
    spec = runs["embeddings"].spec
    for steps in (1, 2, 100):
        asked = dataclasses.replace(spec, training=dataclasses.replace(spec.training, steps_per_evaluation=steps))
        assert RunStore(former.parent).id_of(asked) == former.name


def test_it_is_not_stored_twice(former: Path, runs: dict[str, Run], tmp_path: Path) -> None:
    store = RunStore(former.parent)
    assert store.save(runs["embeddings"]) == former
    export_run(store.load(former.name), tmp_path / "file")
    assert import_into(store, tmp_path / "file") == former
    assert store.run_ids() == [former.name]
    other = RunStore(tmp_path / "other")
    assert import_into(other, tmp_path / "file").name == runs["embeddings"].spec.run_id


def test_a_run_of_another_spec_is_not_taken_for_it(former: Path, runs: dict[str, Run]) -> None:
    spec = runs["embeddings"].spec
    longer = dataclasses.replace(spec, training=dataclasses.replace(spec.training, n_steps=5))
    assert longer.id_beginning == spec.id_beginning
    assert longer not in RunStore(former.parent)
    edit_json("spec.json", lambda fields: fields["training"].update(n_steps=5))(former)
    assert spec not in RunStore(former.parent), "an edited run is no run of the spec"
    with pytest.raises(StoreError, match="no run"):
        RunStore(former.parent).load(spec)


def test_under_its_own_id_no_other_run_is_looked_at(store: RunStore, runs: dict[str, Run]) -> None:
    (store.path / f"{tiny_spec().id_beginning}000000000000").symlink_to("/dev/null")
    assert store.id_of(tiny_spec()) == tiny_spec().run_id
    assert store.missing([tiny_spec()]) == []


def test_a_failure_of_the_former_rule_is_known_and_forgotten(tmp_path: Path, runs: dict[str, Run]) -> None:
    run, store = runs["embeddings"], RunStore(tmp_path / "runs")
    store.failures.record(Failure(run.spec, 3, "the loss became nan", run.environment))
    (file,) = store.failures.folder.iterdir()
    file = file.rename(file.with_name(f"{run.spec.former_run_id}.json"))
    assert store.missing([run.spec]) == []
    assert store.missing([run.spec], retry_failed=True) == [run.spec]
    assert [failure.run_id for failure in store.failed()] == [run.spec.former_run_id]
    for name in (run.spec, run.spec.former_run_id):
        with pytest.raises(StoreError, match="failed: the loss became nan"):
            store.load(name)
    store.failures.forget(run.spec)
    assert not file.exists()


def test_a_stack_that_was_begun_under_the_former_rule_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    specs, step, stops = [tiny_spec(), tiny_spec(seed=3)], Engine.step, iter([False, False, True])
    steps: list[int] = []

    def counted(engine: Engine) -> torch.Tensor:
        if next(stops, False):
            raise RuntimeError("pulled the plug")
        steps.append(engine.n_steps_done)
        return step(engine)

    monkeypatch.setattr(Engine, "step", counted)
    store = RunStore(tmp_path / "runs", checkpoint_minutes=0)
    with monkeypatch.context() as patch:
        patch.setattr(RunSpec, "run_id", RunSpec.former_run_id)
        with pytest.raises(RuntimeError, match="plug"):
            train_stack_into(store, specs, CPU, progress=False)
    (unfinished,) = store.unfinished_folder.iterdir()
    assert specs[0].with_seed(0).former_run_id in unfinished.name
    assert json.loads((unfinished / "stack.json").read_text())["seeds"] == [0, 3]
    assert train_stack_into(store, specs, CPU, progress=False) == []
    assert steps == [0, 1, 2, 3]
    assert store.run_ids() == sorted(spec.run_id for spec in specs)
    assert not unfinished.exists()
