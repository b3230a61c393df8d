"""What a stranger can put in the place of a run's files, or type in the place of a name."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hostile_references import reseal, snapshot
from store_references import KEEPING_FILES

from rtinterp.cli import main
from rtinterp.store import RunStore, StoreError
from rtinterp.store.portable import export_run, import_into
from rtinterp.store.table import DamagedRunWarning
from rtinterp.store.verify import verify_run
from rtinterp.training.run import Run

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links, pipes and limits as POSIX has them")


def link_to_copy(path: Path) -> None:
    outside = path.parents[2] / "outside"
    shutil.move(path, outside)
    path.symlink_to(outside)


def pipe(path: Path) -> None:
    remove(path)
    os.mkfifo(path)


def device(path: Path) -> None:
    remove(path)
    path.symlink_to("/dev/zero")


def loop(path: Path) -> None:
    remove(path)
    path.symlink_to(path)


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize("name", KEEPING_FILES)
@pytest.mark.parametrize("put", [link_to_copy, pipe, device, loop], ids=["link", "pipe", "device", "loop"])
def test_nothing_but_a_file_is_read(
    store: RunStore, runs: dict[str, Run], keeping: Run, name: str, put: Callable[[Path], None]
) -> None:
    run_id = store.save(keeping).name
    put(store.path / run_id / name)
    with pytest.raises(StoreError, match=r"symbolic link|not a regular file"):
        store.load(run_id)
    assert any(name in fault for fault in verify_run(store.path / run_id).faults)
    if not name.endswith(".safetensors"):  # which the table does not read
        with pytest.warns(DamagedRunWarning, match=name):
            assert len(store.table()) == 3
    assert store.load(runs["all"].spec.run_id).spec == runs["all"].spec


def test_a_run_folder_that_is_a_link_is_refused(store: RunStore, runs: dict[str, Run]) -> None:
    run_id = runs["embeddings"].spec.run_id
    link_to_copy(store.path / run_id)
    with pytest.raises(StoreError, match="is a symbolic link"):
        store.load(run_id)
    (fault,) = verify_run(store.path / run_id).faults
    assert "is a symbolic link" in fault


def test_a_store_that_is_a_link_is_opened(store: RunStore, tmp_path: Path) -> None:
    """It is the user who names the store."""
    (tmp_path / "link").symlink_to(store.path)
    assert len(RunStore(tmp_path / "link").table()) == 3


def test_a_file_that_changes_while_it_is_read_is_told(
    store: RunStore, runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = runs["embeddings"].spec.run_id
    path, status = store.path / run_id / "history.csv", os.fstat

    def grows(descriptor: int) -> os.stat_result:
        found = status(descriptor)
        if found.st_ino == path.stat().st_ino:
            path.write_bytes(path.read_bytes() + b"5,1.0,1.0,0.5\n")
        return found

    monkeypatch.setattr(os, "fstat", grows)
    with pytest.raises(StoreError, match=r"history\.csv: changed while it was read"):
        store.load(run_id)


NAMES = (
    *("", ".", "..", "../runs", "/", "/etc/passwd", "./modular", "a/../b", "a\\..\\b", "C:\\runs", "\\\\host\\share"),
    *("~", "*", "CON", "x" * 300, "x" * 100_000, "a\0b", "a\nb", "\x1b[2J", "\udcff", "．．/", "‮", "🎲" * 200),
)


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name[:20]))
def test_no_name_leads_out_of_the_store(
    store: RunStore, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = snapshot(tmp_path)
    with pytest.raises(StoreError, match="no run"):
        store.load(name)
    assert name not in store
    runs = ["--runs", str(store.path)]
    for command in (["show", f"{name}", *runs], ["export", name, "out.safetensors", *runs], ["import", name, *runs]):
        assert run_main(command) in (1, 2)
        message = capsys.readouterr().err
        assert "Traceback" not in message
        assert len(message) < 2500
    where = "/dev/null" if name in ("", ".", "..", "/") else name
    for command in (["list", "--runs", where], ["verify", where]):
        assert run_main(command) in (0, 1, 2)
        assert "Traceback" not in capsys.readouterr().err
    assert snapshot(tmp_path) == before


def run_main(arguments: list[str]) -> int:
    try:
        return main(arguments)
    except SystemExit as exit_:
        return int(exit_.code)


@pytest.mark.parametrize("target", ["../escaped", "/tmp/escaped", "trained.safetensors/../x", "a\0b"])
def test_hash_lists_are_no_paths(store: RunStore, runs: dict[str, Run], target: str) -> None:
    path = store.path / runs["embeddings"].spec.run_id / "run.json"
    fields = json.loads(path.read_text())
    fields["sha256"][target] = "0" * 64
    path.write_text(json.dumps(fields))
    with pytest.raises(StoreError, match=r"run\.json: "):
        store.load(runs["embeddings"].spec.run_id)


def test_other_tensor_names_make_no_files(store: RunStore, runs: dict[str, Run], tmp_path: Path) -> None:
    file = tmp_path / "run.safetensors"
    export_run(runs["embeddings"], file)
    file.write_bytes(file.read_bytes().replace(b'"embed.W_E"', b'"../../../"'))
    before = snapshot(store.path)
    with pytest.raises(StoreError):
        import_into(store, file)
    assert snapshot(store.path) == before


BOMBS = """
import json, resource, sys
from pathlib import Path
import torch, polars, safetensors.torch
from rtinterp.store import RunStore, StoreError
from rtinterp.store.portable import import_run
from rtinterp.store.verify import verify_run
warm = RunStore(sys.argv[3])
assert len(warm.table()) == 1 and not verify_run(warm.path / warm.run_ids()[0]).faults and warm.load(warm.run_ids()[0])
held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + 300 * 2**20,) * 2)
for store in map(RunStore, sorted(Path(sys.argv[1]).iterdir())):
    (run_id,) = store.run_ids()
    try:
        store.load(run_id)
    except StoreError as error:
        print(error)
    else:
        sys.exit(f"{store.path} was opened")
    assert verify_run(store.path / run_id).faults
for file in sorted(Path(sys.argv[2]).iterdir()):
    try:
        import_run(file)
    except StoreError as error:
        print(error)
    else:
        sys.exit(f"{file} was opened")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory as Linux does")
def test_claims_take_no_memory(keeping: Run, tmp_path: Path) -> None:
    """Under a limit of memory, every file that claims gigabytes is a StoreError."""
    pristine = RunStore(tmp_path / "pristine")
    files = {path.name: path.read_bytes() for path in pristine.save(keeping).iterdir()}
    stores = tmp_path / "stores"
    for number, changed in enumerate(bombs(files)):
        run_id, sealed = reseal(changed)
        folder = stores / str(number) / (run_id or keeping.spec.run_id)
        folder.mkdir(parents=True)
        for name, data in sealed.items():
            (folder / name).write_bytes(data)
    for name in KEEPING_FILES:
        sparse = stores / name / keeping.spec.run_id
        shutil.copytree(pristine.path / sparse.name, sparse)
        with (sparse / name).open("wb") as file:
            file.truncate(2**40)
    portable = tmp_path / "portable"
    portable.mkdir()
    for number, length in enumerate([2**40, 2**63, 2**20]):
        with (portable / f"{number}").open("wb") as file:
            file.write(length.to_bytes(8, "little"))
            file.truncate(2**40)
    command = [sys.executable, "-c", BOMBS, str(stores), str(portable), str(pristine.path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout
    assert len(done.stdout.splitlines()) == len(list(stores.iterdir())) + 3
    assert done.stdout.count("more than the") >= len(KEEPING_FILES), "refused by its size, not for lack of memory"
    assert "cannot be read" not in done.stdout


def bombs(files: dict[str, bytes]) -> list[dict[str, bytes]]:
    """Runs whose files claim what does not fit a computer, sealed as if they were right."""
    spec = json.loads(files["spec.json"])

    def described(**changes: object) -> dict[str, bytes]:
        parts = {name: {**spec[name], **changes.get(name, {})} for name in ("task", "model", "training")}
        others = {name: changes[name] for name in ("trainable", "seed") if name in changes}
        return {**files, "spec.json": json.dumps({**spec, **parts, **others}).encode()}

    def tensors(header: dict[str, object], file: str = "trained.safetensors") -> dict[str, bytes]:
        text = json.dumps(header).encode()
        return {**files, file: len(text).to_bytes(8, "little") + text + bytes(64)}

    huge = {"dtype": "F32", "shape": [10**9, 10**6], "data_offsets": [0, 4 * 10**15]}
    scalar = safetensors.torch.save({"embed.W_E": torch.zeros(1)})
    return [
        described(model={"d_model": 4 * 10**8}),
        described(model={"d_model": 4 * 10**18}, trainable="unembedding"),
        described(model={"n_layers": 10**9}),
        described(model={"n_layers": 10**9}, trainable="all"),
        described(model={"d_model": 4, "n_layers": 10**12}, trainable="all"),
        described(training={"n_steps": 2**62}),
        described(task={"p": 10**9}),
        described(task={"name": "needle_in_a_haystack", "max_pairs": 10**9, "n_values": 5}),
        tensors({"embed.W_E": huge}),
        tensors(dict.fromkeys(("embed.W_E", "pos_embed.W_pos", "unembed.W_U"), huge)),
        tensors({f"t{n}": huge for n in range(2000)}),
        tensors({"kept/0/embed.W_E": huge}, "kept.safetensors"),
        tensors({f"kept/{n}/embed.W_E": huge for n in range(2000)}, "kept.safetensors"),
        described(training={"kept_steps": list(range(5))}),
        described(training={"kept_steps": list(range(1000)), "n_steps": 10**6}),
        described(training={"kept_steps": "log", "n_steps": 2**62}),
        {**files, "trained.safetensors": (2**50).to_bytes(8, "little") + scalar[8:]},
        {**files, "spec.json": b"[" * 60_000},
        {**files, "environment.json": b'{"device":' * 6_000},
        {**files, "environment.json": b'{"n_threads": ' + b"9" * 60_000 + b"}"},
        {**files, "history.csv": files["history.csv"] + b"9" * 10**7},
        {**files, "history.csv": b",".join([b"step"] * 10**6)},
    ]
