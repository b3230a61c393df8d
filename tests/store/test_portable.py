"""A run as one file comes back whole, is never half-written, and its damage is noticed."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
import safetensors
import torch
from store_references import flip, same, tiny_spec

from rtinterp.models.initial_values import Constant, Normal, Orthonormal, Sinusoidal, Uniform
from rtinterp.models.initialisation import initialise
from rtinterp.models.parameters import Parameter
from rtinterp.models.recurrent.spec import RecurrentSpec
from rtinterp.store import RunStore, StoreError
from rtinterp.store.portable import export_run, import_into, import_run, portable_bytes
from rtinterp.store.training import train
from rtinterp.training.run import Run
from rtinterp.training.spec import spec_from_json


@pytest.mark.parametrize("trainable", ["embeddings", "all", "token_embedding+unembedding"])
def test_a_run_comes_back_whole(store: RunStore, runs: dict[str, Run], tmp_path: Path, trainable: str) -> None:
    run, file, other = runs[trainable], tmp_path / "a file.safetensors", RunStore(tmp_path / "other")
    export_run(store.load(run.spec), file)
    assert same(import_run(file), run)
    folder = import_into(other, file)
    assert folder == other.path / run.spec.run_id
    assert same(other.load(run.spec.run_id), run)
    for path in folder.iterdir():
        assert path.read_bytes() == (store.path / run.spec.run_id / path.name).read_bytes(), path.name
    assert import_into(other, file) == folder, "importing again changes nothing"


def test_a_recurrent_run_comes_back_whole(tmp_path: Path) -> None:
    run = train(dataclasses.replace(tiny_spec(), model=RecurrentSpec(8)), device="cpu", progress=False)
    export_run(run, tmp_path / "file")
    assert same(import_run(tmp_path / "file"), run)


def test_anything_that_reads_safetensors_can_look_into_it(runs: dict[str, Run], tmp_path: Path) -> None:
    run = runs["embeddings"]
    export_run(run, tmp_path / "file")
    with safetensors.safe_open(tmp_path / "file", "pt") as file:
        metadata = file.metadata()
        assert all(torch.equal(file.get_tensor(name), tensor) for name, tensor in run.trained.items())
        assert set(file.keys()) == set(run.trained)
    assert spec_from_json(metadata["spec"]) == run.spec
    assert (metadata["format_version"], metadata["fingerprint"]) == ("3", run.fingerprint)
    assert metadata["history"].startswith("step,train_loss,test_loss,test_accuracy\n")


def test_equal_runs_make_equal_files(store: RunStore, runs: dict[str, Run]) -> None:
    assert {portable_bytes(store.load(runs["all"].spec)) for _ in range(5)} == {portable_bytes(runs["all"])}


def test_nothing_is_written_over_unless_it_is_forced(runs: dict[str, Run], tmp_path: Path) -> None:
    file = tmp_path / "file"
    export_run(runs["all"], file)
    stamp = file.stat().st_mtime_ns
    export_run(runs["all"], file)
    assert file.stat().st_mtime_ns == stamp, "an equal file stays"
    with pytest.raises(StoreError, match="file: is already there; choose another name, or pass --force"):
        export_run(runs["embeddings"], file)
    assert same(import_run(file), runs["all"])
    export_run(runs["embeddings"], file, force=True)
    assert same(import_run(file), runs["embeddings"])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("function", ["fsync", "link", "replace"])
def test_a_file_that_cannot_be_written_leaves_nothing(
    runs: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, function, full)
        if function == "link":  # a file system without hard links is no error
            export_run(runs["all"], tmp_path / "file")
            assert same(import_run(tmp_path / "file"), runs["all"])
            with pytest.raises(StoreError, match="is already there"):
                export_run(runs["embeddings"], tmp_path / "file")
            return
        with pytest.raises(StoreError, match="cannot be written: No space left"):
            export_run(runs["all"], tmp_path / "file", force=True)
    assert list(tmp_path.iterdir()) == []


def test_every_flipped_byte_is_noticed_or_harmless(runs: dict[str, Run], tmp_path: Path) -> None:
    whole, file = portable_bytes(runs["embeddings"]), tmp_path / "file"
    n_noticed = 0
    for at in range(0, len(whole), 7):
        file.write_bytes(flip(whole, at))
        try:
            assert same(import_run(file), runs["embeddings"])
        except StoreError:
            n_noticed += 1
    assert n_noticed > 0.95 * len(whole) / 7, "the padding of the header alone means nothing"


def test_another_run_under_the_same_id_is_not_replaced(store: RunStore, runs: dict[str, Run], tmp_path: Path) -> None:
    run = runs["embeddings"]
    other = dataclasses.replace(run, trained={name: tensor + 1 for name, tensor in run.trained.items()})
    export_run(other, tmp_path / "file")
    with pytest.raises(StoreError, match="is already there, with other contents"):
        import_into(store, tmp_path / "file")
    assert same(store.load(run.spec.run_id), run)


def test_other_safetensors_files_are_told_apart(runs: dict[str, Run], store: RunStore) -> None:
    with pytest.raises(StoreError, match="not a file that rtinterp exported"):
        import_run(store.path / runs["all"].spec.run_id / "trained.safetensors")


def test_a_body_is_drawn_the_same_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verifying holds a block of a tensor at a time; the values are those of the whole tensor."""
    from rtinterp.models.fingerprint import fingerprint, initial_fingerprint

    parameters = [
        Parameter("normal", (5, 9), Normal(0.3), "mlp"),
        Parameter("uniform", (4, 4), Uniform(0.5), "mlp"),
        Parameter("ones", (33,), Constant(1.0), "mlp"),
        Parameter("sines", (11, 6), Sinusoidal(), "mlp"),
        Parameter("wide sines", (2, 20), Sinusoidal(), "mlp"),
        Parameter("directions", (3, 7), Orthonormal(), "mlp"),
    ]
    whole = fingerprint(initialise(parameters, 3))
    monkeypatch.setattr("rtinterp.models.initial_values.BLOCK_VALUES", 7)
    assert initial_fingerprint(parameters, 3) == whole
    assert initial_fingerprint(parameters, 4) != whole
