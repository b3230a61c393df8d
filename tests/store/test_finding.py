"""Runs are found by what they are, and by the beginnings of their ids."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from store_references import edit_json, resealed, tiny_spec

from rtinterp.models.recurrent.spec import RecurrentSpec
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.store import RunStore, StoreError
from rtinterp.store.finding import matching
from rtinterp.store.names import MOST_LISTED, find_run, runs_called
from rtinterp.store.table import DamagedRunWarning
from rtinterp.store.training import train
from rtinterp.tasks import DecimalAddition, HeldOutTask, Memorization, ModularAddition, ParenthesisBalancing
from rtinterp.training.run import Run
from rtinterp.training.spec import RunSpec

SPECS = {
    "addition": tiny_spec(),
    "wide": dataclasses.replace(tiny_spec("all", seed=5), model=ModelSpec(16)),
    "p7": tiny_spec("qk+mlp", p=7, seed=50, learning_rate=0.5),
    "linearised": dataclasses.replace(tiny_spec(), task=Memorization(4), model=ModelSpec(8, attention="prefix_sum")),
    "lstm": RunSpec(DecimalAddition(2), RecurrentSpec(8), tiny_spec().training, "recurrence"),
}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, list(SPECS)),
        ({"task": "modular_addition"}, ["addition", "wide", "p7"]),
        ({"task": ["memorization", "decimal_addition"]}, ["linearised", "lstm"]),
        ({"task": ModularAddition}, ["addition", "wide", "p7"]),
        ({"task": HeldOutTask}, [name for name in SPECS if isinstance(SPECS[name].task, HeldOutTask)]),
        ({"task": ModularAddition(7)}, ["p7"]),
        ({"task": (ModularAddition(7), Memorization)}, ["p7", "linearised"]),
        ({"p": 5}, ["addition", "wide"]),
        ({"p": range(5, 8)}, ["addition", "wide", "p7"]),
        ({"task": "modular_addition", "p": 5, "d_model": 16}, ["wide"]),
        ({"d_model": {16, 32}}, ["wide"]),
        ({"seed": 5}, ["wide"]),
        ({"seed": (0, 50)}, ["addition", "p7", "linearised", "lstm"]),
        ({"trainable": "mlp+qk"}, ["p7"]),
        ({"trainable": ["mlp+qk", "all"]}, ["wide", "p7"]),
        ({"trainable": [{"mlp", "qk"}]}, ["p7"]),
        ({"trainable": "recurrence"}, ["lstm"]),
        ({"body": "transformer"}, ["addition", "wide", "p7", "linearised"]),
        ({"body": "linearised transformer"}, ["linearised"]),
        ({"body": "lstm"}, ["lstm"]),
        ({"body": "rnn"}, []),
        ({"body": RecurrentSpec}, ["lstm"]),
        ({"body": ModelSpec(16)}, ["wide"]),
        ({"learning_rate": 0.5}, ["p7"]),
        ({"attention": "prefix_sum"}, ["linearised"]),
        ({"kept_steps": (0, 1)}, []),
        ({"n_values": 3}, []),
    ],
)
def test_a_run_has_all_that_is_wanted(wanted: dict[str, object], expected: list[str]) -> None:
    assert matching(SPECS, wanted) == expected


def test_a_field_may_hold_several_values_itself() -> None:
    specs = {"keeps": tiny_spec(kept_steps=(0, 1)), "none": tiny_spec()}
    assert matching(specs, {"kept_steps": (0, 1)}) == ["keeps"]
    assert matching(specs, {"kept_steps": ["none", (0, 1)]}) == ["keeps", "none"]


@pytest.mark.parametrize(
    ("wanted", "error", "said"),
    [
        ({"task": "modular_adition"}, ValueError, "unknown task 'modular_adition'; did you mean 'modular_addition'?"),
        ({"task": 5}, TypeError, "task=5: give a name, a class or a Task"),
        ({"body": "ltsm"}, ValueError, "unknown body 'ltsm'; did you mean 'lstm'?"),
        ({"trainable": "embedding"}, ValueError, "no component group 'embedding'; did you mean 'embeddings'?"),
        ({"max_pair": 5}, ValueError, "unknown field of a run 'max_pair'; did you mean 'max_pairs'?"),
        ({"seed": "0"}, TypeError, "seed='0': is a text"),
    ],
)
def test_what_no_run_could_be_is_refused(wanted: dict[str, object], error: type[Exception], said: str) -> None:
    with pytest.raises(error) as raised:
        matching(SPECS, wanted)
    assert said in str(raised.value)


def test_a_body_that_only_a_user_knows_is_found_by_its_label() -> None:
    class Loud(ModelSpec):
        @property
        def label(self) -> str:
            return "loud values"

    spec = tiny_spec()
    # It is not registered, as if it were no longer.
    object.__setattr__(spec, "model", Loud(8))
    assert matching({"loud": spec, "quiet": tiny_spec()}, {"body": "loud values"}) == ["loud"]


def test_the_store_finds_and_loads(store: RunStore, runs: dict[str, Run]) -> None:
    spec = runs["all"].spec
    assert store.find() == store.run_ids()
    assert store.find(task="modular_addition", p=5, trainable="all", seed=[1, 2]) == [spec.run_id]
    assert store.find(task=ParenthesisBalancing) == store.find(d_model=16) == []
    assert [store.spec_of(run_id) for run_id in store.find(seed=1)] == [spec]
    beginning = spec.run_id[:-5]
    assert store.load(beginning).spec == store.spec_of(beginning) == spec
    assert (beginning in store, spec.run_id[:-20] in store, "modular_addition" in store) == (True, True, False)
    assert len(store) == 3
    assert repr(store) == f"RunStore('{store.path}': 3 runs)"


def test_a_damaged_run_is_left_out_and_told(store: RunStore, runs: dict[str, Run]) -> None:
    spec = runs["all"].spec
    resealed(edit_json("spec.json", lambda fields: fields.update(seed=-1)))(store.path / spec.run_id)
    with pytest.warns(DamagedRunWarning, match=f"{spec.run_id}/spec.json") as caught:
        assert store.find(p=5) == [run_id for run_id in store.run_ids() if run_id != spec.run_id]
    assert caught[0].filename == __file__


def ids(*endings: str) -> list[str]:
    return [f"modular_addition-{ending}" for ending in endings]


HASH, OTHER = "0123456789ab", "0123ffffffff"
#: Of a list of four.
PARTS = {"all": slice(None), "some": slice(2), "rest": slice(2, None)}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("d8-all-seed5", []),
        ("d8-all-seed50", [f"d8-all-seed50-{HASH}", f"d8-all-seed50-{OTHER}"]),
        ("d8-all-seed50-0", [f"d8-all-seed50-{HASH}", f"d8-all-seed50-{OTHER}"]),
        ("d8-all-seed50-01234", [f"d8-all-seed50-{HASH}"]),
        (f"d8-all-seed50-{HASH}", [f"d8-all-seed50-{HASH}"]),
        ("d1", []),
        ("d", [f"d8-all-seed50-{HASH}", f"d8-all-seed50-{OTHER}", f"d16-qk-and-mlp-seed0-{HASH}-stopped-at-20"]),
        ("d8-al", [f"d8-all-seed50-{HASH}", f"d8-all-seed50-{OTHER}"]),
        ("d16-q", [f"d16-qk-and-mlp-seed0-{HASH}-stopped-at-20"]),
        ("d9", []),
        ("d16", [f"d16-qk-and-mlp-seed0-{HASH}-stopped-at-20"]),
        ("d16-qk", []),
        ("d16-qk-and-mlp", [f"d16-qk-and-mlp-seed0-{HASH}-stopped-at-20"]),
        ("d16-qk-and-mlp-seed0-0123", [f"d16-qk-and-mlp-seed0-{HASH}-stopped-at-20"]),
        (f"d16-qk-and-mlp-seed0-{HASH}", []),
        (f"d16-qk-and-mlp-seed0-{HASH}-stopped-at-2", []),
        (f"d16-qk-and-mlp-seed0-{HASH}-stopped-at-20", [f"d16-qk-and-mlp-seed0-{HASH}-stopped-at-20"]),
    ],
)
def test_a_beginning_ends_in_no_number_nor_set_of_groups(name: str, expected: list[str]) -> None:
    known = ids(f"d8-all-seed50-{HASH}", f"d8-all-seed50-{OTHER}", f"d16-qk-and-mlp-seed0-{HASH}-stopped-at-20")
    assert runs_called(f"modular_addition-{name}", known) == ids(*expected)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("modular", "4 runs begin with 'modular'; which of {all}?"),
        ("modular_addition-d8-all-seed1", "2 runs begin with 'modular_addition-d8-all-seed1'; which of {some}?"),
        ("modular_addition-d1", "no run 'modular_addition-d1' among 4; did you mean one of {rest}?"),
    ],
)
def test_runs_that_begin_alike_are_listed(name: str, said: str, tmp_path: Path) -> None:
    known = ids(f"d8-all-seed1-{HASH}", f"d8-all-seed1-{OTHER}", f"d16-all-seed0-{HASH}", f"d16-all-seed0-{OTHER}")
    listed = {name: ", ".join(known[part]) for name, part in PARTS.items()}
    with pytest.raises(StoreError) as raised:
        find_run(name, known, tmp_path)
    assert str(raised.value) == f"{tmp_path}: {said.format(**listed)}"


def test_a_long_list_is_cut(tmp_path: Path) -> None:
    known = ids(*(f"d8-all-seed{seed}-{HASH}" for seed in range(MOST_LISTED + 3)))
    with pytest.raises(StoreError, match=f"which of {', '.join(known[:MOST_LISTED])} and 3 more\\?$"):
        find_run("m", known, tmp_path)


def test_a_seed_is_not_taken_for_another(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    spec = tiny_spec(seed=50)
    train(spec, store=store, device="cpu", progress=False)
    beginning = spec.run_id.rpartition("-")[0]
    assert store.load(beginning).spec == spec
    assert beginning[:-1] not in store
    with pytest.raises(StoreError, match=f"no run '{beginning[:-1]}' among 1; did you mean {spec.run_id}"):
        store.load(beginning[:-1])
