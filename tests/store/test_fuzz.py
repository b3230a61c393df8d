"""Whatever stands in the files of a run: the run that was saved, or one clear StoreError; nothing written, little held.

The numbers of inputs are small by default; ``pytest -m slow tests/store/test_fuzz.py`` tries thousands.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hostile_references import byte_changes, changes, reseal, safetensors_changes, snapshot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_references import KEEPING_FILES, same

from rtinterp.store import RunStore, StoreError
from rtinterp.store.contents import METADATA, split_header
from rtinterp.store.portable import _seal, import_into, import_run, portable_bytes
from rtinterp.store.record import read_summary, write_run
from rtinterp.store.sizes import trained_shapes
from rtinterp.store.verify import verify_run
from rtinterp.training.environment import peak_memory_bytes
from rtinterp.training.run import Run

#: More than a tiny run, its messages and hypothesis take; less than any claim of a hostile file.
MAX_GROWTH_BYTES = 200 * 2**20
CPU = torch.device("cpu")


def tried(quick: int, slow: int) -> Callable:
    """Run a property on few inputs by default, and on many among the slow tests."""

    def both(check: Callable) -> Callable:
        counts = [pytest.param(quick, id="quick"), pytest.param(slow, id="thorough", marks=pytest.mark.slow)]

        @pytest.mark.parametrize("n_inputs", counts)
        def test(n_inputs: int, pristine: dict[str, bytes], keeping: Run) -> None:
            suppressed = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example)
            limits = settings(
                max_examples=n_inputs, derandomize=True, deadline=None, database=None, suppress_health_check=suppressed
            )
            before = peak_memory_bytes(CPU) or 0
            limits(check)(pristine=pristine, saved=keeping)
            assert (peak_memory_bytes(CPU) or 0) - before < MAX_GROWTH_BYTES

        test.__doc__ = check.__doc__
        return test

    return both


@pytest.fixture(scope="session")
def pristine(keeping: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a run."""
    folder = tmp_path_factory.mktemp("pristine")
    write_run(keeping, folder)
    return {name: (folder / name).read_bytes() for name in KEEPING_FILES}


def opened(run_id: str, files: dict[str, bytes]) -> tuple[Run | None, tuple[str, ...]]:
    """What a store makes of these files: the run, if it loads, and the faults that verify finds."""
    outside = Path(tempfile.mkdtemp())
    try:
        folder = outside / "runs" / run_id
        folder.mkdir(parents=True)
        for name, data in files.items():
            (folder / name).write_bytes(data)
        before = snapshot(outside)
        store, run = RunStore(outside / "runs"), None
        try:
            run = store.load(run_id)
        except StoreError as error:
            check_message(error, folder)
        try:
            assert run is None or read_summary(folder)[0] == run.spec
        except StoreError as error:
            check_message(error, folder)
        faults = verify_run(folder).faults
        assert snapshot(outside) == before
        return run, faults
    finally:
        shutil.rmtree(outside)


def check_message(error: StoreError, path: Path) -> None:
    message = str(error)
    assert message.startswith(str(path))
    assert message.isprintable(), "one line, harmless to a terminal"
    assert len(message) < 1500


def check_sound(run: Run) -> None:
    """What everything else relies on."""
    assert all(tensor.dtype == torch.float32 and bool(tensor.isfinite().all()) for tensor in run.trained.values())
    assert {name: tuple(tensor.shape) for name, tensor in run.trained.items()} == trained_shapes(run.spec)
    assert run.history["step"][-1] == run.last_step
    for step, trained in run.kept.items():
        assert 0 <= step <= run.last_step
        assert all(bool(tensor.isfinite().all()) for tensor in trained.values())
        assert {name: tuple(tensor.shape) for name, tensor in trained.items()} == trained_shapes(run.spec)
    assert 0 <= run.test_accuracy <= 1
    repr(run)


@tried(quick=150, slow=2000)
@given(data=st.data())
def test_damage_is_told_or_harmless(data: st.DataObject, pristine: dict[str, bytes], saved: Run) -> None:
    """One file is damaged, and the hashes tell."""
    name = data.draw(st.sampled_from(KEEPING_FILES))
    files = {**pristine, name: data.draw(changes(name))(pristine[name])}
    run, faults = opened(saved.spec.run_id, files)
    assert (run is None) == bool(faults)
    assert run is None or same(run, saved)
    if name != "run.json" and files[name] != pristine[name]:
        assert run is None


@tried(quick=200, slow=3000)
@given(data=st.data())
def test_forgery_is_told_or_a_sound_run(data: st.DataObject, pristine: dict[str, bytes], saved: Run) -> None:
    """Files are changed and the hashes made to fit, so that every parser behind them is reached."""
    files = dict(pristine)
    for name in data.draw(st.lists(st.sampled_from(KEEPING_FILES[:-1]), min_size=1, max_size=2, unique=True)):
        files[name] = data.draw(changes(name))(files[name])
    run_id, files = reseal(files)
    usable = run_id is not None and len(run_id) < 200
    run, faults = opened(run_id if usable else saved.spec.run_id, files)
    assert (run is None) == bool(faults)
    if run is not None:
        check_sound(run)


@tried(quick=100, slow=1500)
@given(data=st.data())
def test_a_portable_file_is_the_run_or_told(data: st.DataObject, pristine: dict[str, bytes], saved: Run) -> None:
    """Any damage to a portable file, sealed again or not."""
    whole = portable_bytes(saved)
    if data.draw(st.booleans(), label="forged"):
        damaged = forged(whole, data.draw(st.sampled_from(["spec", "history", "environment"])), data)
    else:
        damaged = data.draw(st.one_of(byte_changes(), safetensors_changes()))(whole)
    with tempfile.TemporaryDirectory() as outside:
        file, store = Path(outside) / "file", RunStore(Path(outside) / "runs")
        file.write_bytes(damaged)
        try:
            run = import_run(file)
        except StoreError as error:
            check_message(error, file)
            with pytest.raises(StoreError):
                import_into(store, file)
            assert [path.name for path in Path(outside).iterdir()] == ["file"]
        else:
            check_sound(run)
            assert same(store.load(import_into(store, file).name), run)


def forged(whole: bytes, part: str, data: st.DataObject) -> bytes:
    """A text of the metadata changed, and its hash made to fit."""
    header, start = split_header(whole)
    metadata = header[METADATA]
    name = {"spec": "spec.json", "history": "history.csv", "environment": "environment.json"}[part]
    metadata[part] = data.draw(changes(name))(metadata[part].encode()).decode("utf-8", "replace")
    metadata["sha256"] = _seal({key: text for key, text in metadata.items() if key != "sha256"})
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + whole[start:]


def test_sealing_again_is_no_damage(pristine: dict[str, bytes], keeping: Run) -> None:
    """What is refused above is refused for itself, not for how it was sealed."""
    run_id, files = reseal({**pristine, "spec.json": json.dumps(json.loads(pristine["spec.json"])).encode()})
    run, faults = opened(run_id, files)
    assert not faults
    assert same(run, keeping)
