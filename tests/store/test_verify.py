"""``verify`` finds every fault of every run, says each in a line, and looks at all runs whatever the first is like."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from store_references import FILES, as_format, edit_json, edit_tensors, flip

from rtinterp.store import RunStore, StoreError
from rtinterp.store.verify import verify
from rtinterp.training.run import Run

FIGURE_RUNS = Path(__file__).parents[2] / "figures" / "runs"


def faults(store: RunStore) -> dict[str, tuple[str, ...]]:
    n_runs, verdicts = verify(store.path)
    found = {verdict.run_id: verdict.faults for verdict in verdicts}
    assert len(found) == n_runs
    return found


def test_sound_runs_have_no_faults(store: RunStore, runs: dict[str, Run]) -> None:
    assert faults(store) == {run.spec.run_id: () for run in runs.values()}


def test_every_damaged_file_is_a_fault_of_its_own(store: RunStore, runs: dict[str, Run]) -> None:
    folder = store.path / runs["embeddings"].spec.run_id
    for name in ("history.csv", "trained.safetensors", "environment.json"):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(flip(data, len(data) // 2))
    (folder / "extra.py").write_text("print('hello')")
    (folder / ".hidden").mkdir()
    found = faults(store)
    blamed = [fault.split(": ")[0] for fault in found.pop(folder.name)]
    assert blamed == [
        *(str(folder / name) for name in ("history.csv", "environment.json", "trained.safetensors")),
        str(folder),
    ]
    assert not any(found.values()), "the other runs are sound"


@pytest.mark.parametrize("name", ["run.json", "spec.json"])
def test_what_nothing_can_be_checked_without_is_one_fault(store: RunStore, runs: dict[str, Run], name: str) -> None:
    folder = store.path / runs["embeddings"].spec.run_id
    (folder / name).write_text("[]")
    (fault,) = faults(store)[folder.name] if name == "run.json" else {*faults(store)[folder.name]}
    assert str(folder / name) in fault
    assert "\n" not in fault


def test_a_forged_body_and_a_forged_value_are_faults(store: RunStore, runs: dict[str, Run]) -> None:
    body, value = (store.path / runs[name].spec.run_id for name in ("embeddings", "all"))
    edit_json("run.json", lambda fields: fields.update(fingerprint="0" * 64))(body)
    edit_tensors(lambda tensors: tensors["embed.W_E"].view(-1)[:1].fill_(float("nan")))(value)
    found = faults(store)
    assert "does not have the stored fingerprint" in found[body.name][0]
    assert "embed.W_E is not finite" in found[value.name][0]


def test_a_link_in_the_place_of_a_run_is_a_fault(store: RunStore, tmp_path: Path) -> None:
    (store.path / "elsewhere").symlink_to(tmp_path)
    (store.path / "dangling").symlink_to(tmp_path / "nowhere")
    found = faults(store)
    assert all("is a symbolic link" in found[name][0] for name in ("elsewhere", "dangling"))


def test_there_must_be_a_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nowhere: cannot be read: No such file"):
        verify(tmp_path / "nowhere")


def test_runs_of_the_first_format_are_opened_and_sound(store: RunStore, runs: dict[str, Run]) -> None:
    """As the first version of the code wrote them, without what the second records."""
    run = runs["embeddings"]
    folder = store.path / run.spec.run_id
    as_format(1)(folder)
    assert faults(store)[folder.name] == ()
    loaded = store.load(run.spec.run_id)
    assert (loaded.environment.device, loaded.environment.command) == (run.environment.device, None)
    assert len(store.table()) == 3


def test_a_format_has_its_own_fields_and_no_others(store: RunStore, runs: dict[str, Run]) -> None:
    folder = store.path / runs["embeddings"].spec.run_id
    edit_json("run.json", lambda fields: fields.update(format_version=1))(folder)
    with pytest.raises(StoreError, match="not what format 1 has there: has unknown keys"):
        store.load(folder.name)
    as_format(1)(folder)
    edit_json("run.json", lambda fields: fields.update(format_version=2))(folder)
    with pytest.raises(StoreError, match="not what format 2 has there: lacks"):
        store.load(folder.name)


@pytest.mark.parametrize("version", [4, 0, "1", 1.0, True, None, [2]])
def test_an_unknown_format_says_what_is_known_and_what_to_do(
    store: RunStore, runs: dict[str, Run], version: object
) -> None:
    folder = store.path / runs["embeddings"].spec.run_id
    path = folder / "run.json"
    # A newer format may hold anything.
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": version, "new": 1}))
    with pytest.raises(StoreError, match=r"run\.json: has format version .* knows 1, 2, 3. Update rtinterp"):
        store.load(folder.name)


@pytest.mark.skipif(not FIGURE_RUNS.is_dir(), reason="the stored runs of the figures are not in this checkout")
def test_the_runs_in_the_repository_are_sound() -> None:
    assert not any(faults(RunStore(FIGURE_RUNS)).values())
    assert set(FILES) == {path.name for path in next(iter(FIGURE_RUNS.iterdir())).iterdir()}
