"""What is loaded is what was saved, and no more is saved than was trained."""

from __future__ import annotations

import dataclasses
import json

import polars as pl
import pytest
import safetensors.torch
import torch
from store_references import FILES, same, tiny_spec

from rtinterp.models.recurrent.spec import RecurrentSpec
from rtinterp.store import RunStore, StoreError
from rtinterp.store.training import train
from rtinterp.training.run import Run
from rtinterp.training.spec import spec_from_json

REGIMES = ["embeddings", "all", "token_embedding+unembedding"]


@pytest.mark.parametrize("trainable", REGIMES)
def test_a_loaded_run_is_the_saved_one(store: RunStore, runs: dict[str, Run], trainable: str) -> None:
    run = runs[trainable]
    loaded = RunStore(str(store.path)).load(run.spec.run_id)
    assert same(loaded, run)
    assert loaded.test_accuracy == run.test_accuracy
    tokens = run.spec.task.test_set().tokens
    with torch.no_grad():
        assert torch.equal(loaded.model(tokens), run.model(tokens))
        assert torch.equal(loaded.initial_model(tokens), run.initial_model(tokens))


@pytest.mark.parametrize(
    ("trainable", "expected"),
    [
        ("embeddings", {"embed.W_E", "pos_embed.W_pos", "unembed.W_U"}),
        ("token_embedding+unembedding", {"embed.W_E", "unembed.W_U"}),
        ("all", None),
    ],
)
def test_a_folder_holds_four_files_and_only_trained_tensors(
    store: RunStore, runs: dict[str, Run], trainable: str, expected: set[str] | None
) -> None:
    run = runs[trainable]
    folder = store.path / run.spec.run_id
    assert {path.name for path in folder.iterdir()} == set(FILES)
    tensors = safetensors.torch.load_file(folder / "trained.safetensors")
    assert set(tensors) == (expected or set(run.tensors()) - {"unembed.b_U"})
    n_bytes = sum(4 * tensor.numel() for tensor in tensors.values())
    header = 150 * len(tensors) + 100
    assert n_bytes < (folder / "trained.safetensors").stat().st_size < n_bytes + header
    assert spec_from_json((folder / "spec.json").read_text()) == run.spec
    assert json.loads((folder / "run.json").read_text())["fingerprint"] == run.fingerprint


@pytest.mark.parametrize("cell", ["lstm", "rnn"])
@pytest.mark.parametrize("trainable", REGIMES)
def test_a_recurrent_run_comes_back_with_its_body(tmp_path, trainable: str, cell: str) -> None:
    spec = dataclasses.replace(tiny_spec(trainable), model=RecurrentSpec(d_model=8, cell=cell))
    run = train(spec, device="cpu", progress=False)
    store = RunStore(tmp_path)
    folder = store.save(run)
    tensors = safetensors.torch.load_file(folder / "trained.safetensors")
    assert ("unembed.b_U" in tensors, "layers.1.weight_hh" in tensors) == (True, trainable == "all")
    assert store.missing([spec]) == []
    assert store.table().select("run_id", "d_model", "n_layers").rows() == [(spec.run_id, 8, 2)]
    loaded = store.load(spec)
    assert same(loaded, run)
    tokens = spec.task.test_set().tokens
    with torch.no_grad():
        assert torch.equal(loaded.model(tokens), run.model(tokens))
        assert torch.equal(loaded.initial_model(tokens), run.initial_model(tokens))
        assert not torch.equal(loaded.initial_model(tokens), run.model(tokens))


def test_numbers_keep_every_bit(tmp_path, runs: dict[str, Run]) -> None:
    schema = runs["embeddings"].history.schema
    rows = [
        (1, 1 / 3, 2 / 3, 0.1 + 0.2),
        (2, 1e-300, 1e300, 5e-324),
        (2**40, 1.7976931348623157e308, 0.7, 1.0),
        (2**40 + 1, 0.0, 1e-9, 1 / 7),
    ]
    history = pl.DataFrame(rows, schema=schema, orient="row")
    tensors = {name: tensor.clone() for name, tensor in runs["embeddings"].trained.items()}
    tensors["unembed.W_U"].view(-1)[:4] = torch.tensor([1e-45, -0.0, 3.4e38, 1 / 3])
    spec = runs["embeddings"].spec
    spec = dataclasses.replace(spec, training=dataclasses.replace(spec.training, n_steps=rows[-1][0]))
    run = dataclasses.replace(runs["embeddings"], spec=spec, history=history, trained=tensors)
    store = RunStore(tmp_path)
    store.save(run)
    loaded = store.load(run.spec.run_id)
    assert same(loaded, run)
    assert torch.equal(loaded.trained["unembed.W_U"].signbit(), tensors["unembed.W_U"].signbit())


def test_tensors_that_are_views_are_saved_whole(tmp_path, runs: dict[str, Run]) -> None:
    run = runs["embeddings"]
    views = {name: torch.stack([tensor, tensor + 1])[0].mT.contiguous().mT for name, tensor in run.trained.items()}
    store = RunStore(tmp_path)
    store.save(dataclasses.replace(run, trained=views))
    assert same(store.load(run.spec.run_id), run)


def test_the_store_lists_what_it_holds(store: RunStore, runs: dict[str, Run]) -> None:
    ids = sorted(run.spec.run_id for run in runs.values())
    assert store.run_ids() == ids
    assert all(run.spec in store for run in runs.values())
    assert tiny_spec(seed=9) not in store
    table = store.table()
    assert table["run_id"].to_list() == ids
    for row in table.iter_rows(named=True):
        run = runs[row["trainable"]]
        assert row == {
            "run_id": run.spec.run_id,
            "task": "modular_addition",
            "task_parameters": "p=5",
            "body": "transformer",
            "d_model": 8,
            "n_layers": 2,
            "trainable": run.spec.trainable,
            "seed": run.spec.seed,
            "n_steps": 4,
            "batch_size": 4,
            "learning_rate": 1e-2,
            "test_loss": run.test_loss,
            "stopped_at_step": None,
            "test_accuracy": run.test_accuracy,
            "device": run.environment.device,
            "duration_seconds": run.environment.duration_seconds,
            "finished_at": run.environment.finished_at,
        }


def test_a_store_that_is_not_there_is_empty_and_stays_unmade(tmp_path, runs: dict[str, Run]) -> None:
    store = RunStore(tmp_path / "a" / "b")
    assert store.run_ids() == []
    assert store.table().is_empty()
    assert store.table().columns == RunStore(tmp_path).table().columns
    assert store.missing([tiny_spec()]) == [tiny_spec()]
    for ask in (store.load, store.named, store.spec_of):
        with pytest.raises(StoreError, match=r"a/b: there is no such folder, and no run 'x' in it$"):
            ask("x")
    assert (store.find(seed=0), store.unfinished(), len(store)) == ([], [], 0)
    assert repr(store) == f"RunStore('{store.path}': no such folder)"
    assert not (tmp_path / "a").exists()
    folder = store.save(runs["all"])
    assert folder == store.path / runs["all"].spec.run_id
    assert store.run_ids() == [folder.name]


def test_missing_keeps_the_order_and_drops_duplicates(store: RunStore, runs: dict[str, Run]) -> None:
    a, b = tiny_spec(seed=8), tiny_spec(seed=7)
    assert store.missing(iter([a, runs["all"].spec, b, a])) == [a, b]


def test_an_unknown_id_suggests_the_nearest(store: RunStore, runs: dict[str, Run]) -> None:
    known = runs["all"].spec.run_id
    with pytest.raises(StoreError, match=f"no run '{known}0' among 3; did you mean {known}\\?") as error:
        store.load(f"{known}0")
    assert str(store.path) in str(error.value)
    for outside in ("", ".", "..", f"../runs/{known}", "qqqq"):
        with pytest.raises(StoreError, match="no run"):
            store.load(outside)
