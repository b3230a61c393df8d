"""No damage goes unnoticed, the message names the file, and the other runs stay usable."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import polars as pl
import pytest
import torch
from store_references import FILES, Damage, edit_bytes, edit_json, edit_tensors, edit_text, flip, resealed, same

from rtinterp.store import RunStore, StoreError
from rtinterp.training.run import Run


def in_every_file(label: str, change) -> dict[str, tuple[str, Damage]]:
    return {f"{name} {label}": (name, edit_bytes(name, change)) for name in FILES}


def update(part: str, **changes: object):
    return lambda fields: (fields[part] if part else fields).update(changes)


def sealed_spec(change) -> tuple[str, Damage]:
    return "spec.json", resealed(edit_json("spec.json", change))


def sealed_text(name: str, old: str, new: str) -> tuple[str, Damage]:
    return name, resealed(edit_text(name, old, new))


def sealed_tensors(change) -> tuple[str, Damage]:
    return "trained.safetensors", edit_tensors(change)


def sealed_history(text: str) -> tuple[str, Damage]:
    return "history.csv", resealed(edit_bytes("history.csv", lambda _: text.encode()))


def sealed_environment(change) -> tuple[str, Damage]:
    return "environment.json", resealed(edit_json("environment.json", change))


def record(change) -> tuple[str, Damage]:
    return "run.json", edit_json("run.json", change)


#: Label: the file that is to blame, and what happens to it. "sealed" damage comes with the hashes made to fit.
DAMAGE: dict[str, tuple[str, Damage]] = {
    **{f"{name} missing": (name, lambda folder, name=name: (folder / name).unlink()) for name in FILES},
    **{f"{name} a folder": (name, lambda folder, name=name: replace_by_folder(folder / name)) for name in FILES},
    **in_every_file("empty", lambda data: b""),
    **in_every_file("halved", lambda data: data[: len(data) // 2]),
    **in_every_file("cut by one brace or digit", lambda data: data[:-2]),
    **in_every_file("garbage", lambda data: bytes(range(256)) * 8),
    **in_every_file("first byte flipped", lambda data: flip(data, 0)),
    **in_every_file("last byte flipped", lambda data: flip(data, len(data) - 1)),
    "accuracy edited": ("history.csv", edit_text("history.csv", "\n4,", "\n4,9")),
    "seed edited": ("spec.json", edit_text("spec.json", '"seed": 0', '"seed": 1')),
    "sealed: seed edited": sealed_spec(update("", seed=1)),
    "sealed: unknown key": sealed_spec(update("", note="x")),
    "sealed: unknown training key": sealed_spec(update("training", note="x")),
    "sealed: no name of a task": sealed_spec(update("task", name="Chess!")),
    "sealed: no task": sealed_spec(lambda fields: fields.pop("task")),
    "sealed: task name a list": sealed_spec(update("task", name=[])),
    "sealed: key twice": sealed_text("spec.json", '"seed": 0', '"seed": 0, "seed": 0'),
    "sealed: spec not JSON": sealed_text("spec.json", "{", "["),
    "sealed: spec not UTF-8": ("spec.json", resealed(edit_bytes("spec.json", lambda data: b"\xff" + data))),
    "sealed: no rows": sealed_history("step,train_loss,test_loss,test_accuracy\n"),
    "sealed: history empty": sealed_history(""),
    "sealed: empty cell": sealed_history("step,train_loss,test_loss,test_accuracy\n4,,1.0,0.5\n"),
    "sealed: words for numbers": sealed_history("step,train_loss,test_loss,test_accuracy\n4,low,1.0,0.5\n"),
    "sealed: too many columns": sealed_history("step,train_loss,test_loss,test_accuracy\n4,1.0,1.0,0.5,9\n"),
    "sealed: history not UTF-8": ("history.csv", resealed(edit_bytes("history.csv", lambda data: data + b"\xff\xfe"))),
    "sealed: shape": sealed_tensors(lambda t: t.update({"embed.W_E": torch.zeros(5, 9)})),
    "sealed: transposed": sealed_tensors(lambda t: t.update({"embed.W_E": t["embed.W_E"].T.contiguous()})),
    "sealed: float64": sealed_tensors(lambda t: t.update({"embed.W_E": t["embed.W_E"].double()})),
    "sealed: integers": sealed_tensors(lambda t: t.update({"embed.W_E": t["embed.W_E"].int()})),
    "sealed: NaN": sealed_tensors(lambda t: t["embed.W_E"].view(-1)[3:4].fill_(float("nan"))),
    "sealed: infinity": sealed_tensors(lambda t: t["embed.W_E"].view(-1)[3:4].fill_(float("inf"))),
    "sealed: tensor missing": sealed_tensors(lambda t: t.pop("unembed.W_U")),
    "sealed: tensor renamed": sealed_tensors(lambda t: t.update({"unembed.W": t.pop("unembed.W_U")})),
    "sealed: frozen tensor added": sealed_tensors(lambda t: t.update({"ln_final.w": torch.ones(8)})),
    "sealed: not safetensors": (
        "trained.safetensors",
        resealed(edit_bytes("trained.safetensors", lambda data: b"weights")),
    ),
    "record: format version": record(update("", format_version=4)),
    "record: format version as text": record(update("", format_version="1")),
    "record: unknown key": record(update("", note="x")),
    "sealed: unknown environment key": sealed_environment(update("", note="x")),
    "sealed: environment of the wrong type": sealed_environment(update("", n_stacked="3")),
    "sealed: NaN in the history": sealed_history("step,train_loss,test_loss,test_accuracy\n4,1.0,1.0,NaN\n"),
    "sealed: columns swapped": sealed_history("step,test_accuracy,train_loss,test_loss\n4,0.5,3.0,1.0\n"),
    "sealed: environment key twice": sealed_text("environment.json", '"n_stacked"', '"n_stacked": 1, "n_stacked"'),
    "sealed: control characters": sealed_environment(update("", device="cpu \x1b[2J")),
    "sealed: half a character": sealed_text("environment.json", '"device": "', '"device": "\\ud800'),
    "sealed: too large a number": sealed_environment(update("", n_threads=2**63)),
    "sealed: nested": ("environment.json", resealed(edit_bytes("environment.json", lambda _: b"[" * 60_000))),
    "sealed: a last step that is not the run's": sealed_history("step,train_loss,test_loss,test_accuracy\n3,1,1,1\n"),
    "sealed: accuracy above 1": sealed_history("step,train_loss,test_loss,test_accuracy\n4,1,1,1.5\n"),
    "sealed: steps that fall": sealed_history("step,train_loss,test_loss,test_accuracy\n5,1,1,1\n4,1,1,1\n"),
    "record: key twice": ("run.json", edit_text("run.json", '"fingerprint"', '"fingerprint": "x", "fingerprint"')),
    "record: fingerprint no hash": record(update("", fingerprint="x")),
    "record: no fingerprint": record(lambda fields: fields.pop("fingerprint")),
    "record: no hash of a file": record(lambda fields: fields["sha256"].pop("history.csv")),
    "record: hash of another file": record(update("sha256", other="0" * 64)),
    "record: another fingerprint": record(update("", fingerprint="0" * 64)),
    "record: not an object": ("run.json", edit_bytes("run.json", lambda data: b"[]")),
}

#: The table reads no tensors and rebuilds no body.
SEEN_IN_TABLE = {
    label: case
    for label, case in DAMAGE.items()
    if case[0] != "trained.safetensors" and label != "record: another fingerprint"
}


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def table_in_silence(store: RunStore) -> pl.DataFrame:
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        return store.table()


@pytest.mark.parametrize(("file", "damage"), DAMAGE.values(), ids=DAMAGE)
def test_damage_names_the_file_and_leaves_the_other_runs_alone(
    store: RunStore, runs: dict[str, Run], file: str, damage: Damage
) -> None:
    victim, healthy = runs["embeddings"].spec.run_id, runs["all"]
    assert same(store.load(victim), runs["embeddings"])
    damage(store.path / victim)
    with pytest.raises(StoreError) as error:
        store.load(victim)
    assert str(store.path / victim / file) in str(error.value)
    assert same(store.load(healthy.spec.run_id), healthy)
    assert healthy.spec.run_id in table_in_silence(store)["run_id"].to_list()


@pytest.mark.parametrize(("file", "damage"), SEEN_IN_TABLE.values(), ids=SEEN_IN_TABLE)
def test_the_table_leaves_a_damaged_run_out_with_a_warning(
    store: RunStore, runs: dict[str, Run], file: str, damage: Damage
) -> None:
    victim = runs["embeddings"].spec.run_id
    damage(store.path / victim)
    with pytest.warns(UserWarning, match="left out a damaged run") as caught:
        table = store.table()
    assert len(caught) == 1
    assert str(store.path / victim / file) in str(caught[0].message)
    assert caught[0].filename == __file__
    assert table["run_id"].to_list() == [run_id for run_id in store.run_ids() if run_id != victim]


def test_resealing_alone_is_no_damage(store: RunStore, runs: dict[str, Run]) -> None:
    """The damage above is refused for itself, not for how it was done."""
    run = runs["embeddings"]
    edits = [edit_json("spec.json", lambda fields: fields), edit_json("run.json", lambda fields: fields)]
    for harmless in [*edits, edit_tensors(lambda tensors: tensors)]:
        resealed(harmless)(store.path / run.spec.run_id)
        assert same(store.load(run.spec.run_id), run)


@pytest.mark.parametrize("name", FILES)
def test_every_flipped_byte_is_noticed(store: RunStore, runs: dict[str, Run], name: str) -> None:
    run_id = runs["embeddings"].spec.run_id
    path = store.path / run_id / name
    data = path.read_bytes()
    for at in range(0, len(data), 1 if len(data) < 200 else len(data) // 100):
        path.write_bytes(flip(data, at))
        with pytest.raises(StoreError, match=name.replace(".", r"\.")):
            store.load(run_id)
    path.write_bytes(data)
    assert same(store.load(run_id), runs["embeddings"])


def test_a_renamed_folder_is_not_the_run_it_claims_to_be(store: RunStore, runs: dict[str, Run]) -> None:
    run_id = runs["embeddings"].spec.run_id
    renamed = run_id.replace("seed0", "seed7")
    (store.path / run_id).rename(store.path / renamed)
    with pytest.raises(StoreError, match=f"{renamed}/spec.json: describes run {run_id}"):
        store.load(renamed)
    with pytest.warns(UserWarning, match=f"{renamed}/spec.json"):
        assert len(store.table()) == 2


def test_a_folder_that_is_no_run_is_left_out(store: RunStore) -> None:
    (store.path / "notes").mkdir()
    (store.path / "readme.txt").write_text("hello")
    with pytest.warns(UserWarning, match=r"notes/run.json: cannot be read"):
        assert len(store.table()) == 3


def test_files_of_another_run_are_noticed(store: RunStore, runs: dict[str, Run]) -> None:
    ours, other = (store.path / runs[name].spec.run_id for name in ("embeddings", "all"))
    shutil.copy(other / "trained.safetensors", ours)
    with pytest.raises(StoreError, match=r"trained\.safetensors: (truncated or edited|has .* bytes, more than)"):
        store.load(ours.name)
    resealed(lambda folder: None)(ours)
    with pytest.raises(StoreError, match=r"trained\.safetensors: has .* bytes, more than"):
        store.load(ours.name)
    shutil.copy(store.path / runs["token_embedding+unembedding"].spec.run_id / "trained.safetensors", ours)
    resealed(lambda folder: None)(ours)
    with pytest.raises(StoreError, match=r"trained\.safetensors: not the tensors that 'embeddings' trains"):
        store.load(ours.name)


def test_a_history_with_more_bytes_than_its_steps_need_is_not_read(store: RunStore, runs: dict[str, Run]) -> None:
    run_id = runs["embeddings"].spec.run_id
    path = store.path / run_id / "history.csv"
    columns, *rows = path.read_text().splitlines()
    lowest, least = "-1.7976931348623157e+308", "2.2250738585072014e-308"
    longest = [",".join([row.partition(",")[0], lowest, lowest, least]) + "\n" for row in rows]
    path.write_text(f"{columns}\n" + "".join(longest))
    resealed(lambda folder: None)(path.parent)
    assert store.load(run_id).history["test_loss"].to_list() == [float(lowest)] * len(rows)
    path.write_text(f"{columns}\n" + 3 * "".join(longest))
    resealed(lambda folder: None)(path.parent)
    with pytest.raises(StoreError, match=r"history\.csv: has .* bytes, more than"):
        store.load(run_id)


def test_another_initialisation_is_noticed(
    store: RunStore, runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtinterp.models.transformer.parameters.GPT2_INIT_STD", 0.0200001)
    with pytest.raises(StoreError, match=r"run\.json: the body rebuilt from seed 0 does not have the stored finger"):
        store.load(runs["embeddings"].spec.run_id)
