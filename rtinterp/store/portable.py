"""A run as one file: safetensors with the trained tensors, and all else as texts in its metadata.

The metadata's ``spec``, ``history`` and ``environment`` are the texts of the run's files, ``fingerprint`` is that of
the frozen body, ``trained_fingerprint`` that of the tensors, and ``sha256`` that of all other metadata.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch

from rtinterp.models.fingerprint import fingerprint
from rtinterp.store import contents, sizes
from rtinterp.store.errors import StoreError, explain, one_line
from rtinterp.store.files import holds, read_file, write_file
from rtinterp.store.record import FORMAT_VERSION, KNOWN_VERSIONS, blame, check_fingerprint, check_version
from rtinterp.store.run_store import RunStore
from rtinterp.training.environment import Environment
from rtinterp.training.run import Run
from rtinterp.training.spec import RunSpec

FORMAT = "rtinterp run"
METADATA_KEYS = {
    "format",
    "format_version",
    "spec",
    "history",
    "environment",
    "fingerprint",
    "trained_fingerprint",
    "sha256",
}
ALIGNMENT = 8

#: Texts grow where JSON escapes them.
MAX_HEADER_BYTES = 2 * sizes.MAX_HISTORY_BYTES


def export_run(run: Run, path: Path, *, force: bool = False) -> None:
    """Write a run as one portable file; an equal file that is already there stays.

    Raises:
        StoreError: another file is there and ``force`` is not given, or it cannot be written.
    """
    data = portable_bytes(run)
    if not holds(path, data):
        write_file(path, data, force=force)


def import_run(path: Path) -> Run:
    """Read a portable file and check all that is checked of a run in a store.

    Raises:
        UnregisteredError: its task or body is not registered in this process.
        StoreError: it is not a file that ``export_run`` wrote, or was truncated or edited since.
    """
    with blame(path):
        limit = _justified_bytes(path)
    data = read_file(path, limit, follow=True)
    with blame(path):
        return parse_portable(data)


def import_into(store: RunStore, path: Path) -> Path:
    """Check a portable file and store its run; returns the run's folder.

    Raises:
        StoreError: as ``import_run``, or the store has another run of that id, or cannot be written.
    """
    run = import_run(path)
    was_there = run.spec in store
    folder = store.save(run)
    if was_there and portable_bytes(store.load(run.spec)) != portable_bytes(run):
        raise StoreError(f"{one_line(folder)}: is already there, with other contents than {one_line(path)}; it stays")
    return folder


def portable_bytes(run: Run) -> bytes:
    """The same bytes for the same run."""
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "spec": contents.spec_bytes(run).decode(),
        "history": contents.history_bytes(run).decode(),
        "environment": contents.environment_bytes(run).decode(),
        "fingerprint": run.fingerprint,
        "trained_fingerprint": fingerprint(run.trained),
    }
    trained = {name: tensor.contiguous() for name, tensor in run.trained.items()}
    return _in_order(safetensors.torch.save(trained, {**metadata, "sha256": _seal(metadata)}))


def parse_portable(data: bytes) -> Run:
    """The run in a portable file.

    Raises:
        StoreError: as ``import_run``.
    """
    metadata, start = _metadata(data)
    spec = _spec(metadata)
    if len(data) - start != sizes.trained_bytes(spec):
        raise StoreError(f"truncated or edited: holds {len(data) - start:,} bytes of tensors, not those of its spec")
    history = contents.parse_history(_text(metadata, "history", sizes.history_limit(spec)), spec)
    environment = _environment(metadata)
    trained = contents.parse_trained(data, spec)
    if fingerprint(trained) != metadata["trained_fingerprint"]:
        raise StoreError("its tensors were edited since it was exported (their fingerprint is another one)")
    check_fingerprint(spec, metadata["fingerprint"])
    return Run(spec, trained, history, metadata["fingerprint"], environment)


def _justified_bytes(path: Path) -> int:
    """The size that a portable file has by its own header, of which no more is read for it."""
    length = read_file(path, contents.HEADER_LENGTH_BYTES, follow=True, beginning=True)
    n_header = contents.HEADER_LENGTH_BYTES + int.from_bytes(length, "little")
    if n_header > MAX_HEADER_BYTES:
        raise StoreError("not a file that rtinterp exported: its header is too long")
    metadata, start = _metadata(read_file(path, n_header, follow=True, beginning=True))
    return start + sizes.trained_bytes(_spec(metadata))


def _metadata(data: bytes) -> tuple[dict[str, str], int]:
    """The metadata, unedited, and where the tensors' values begin."""
    header, start = contents.split_header(data)
    metadata = header.get(contents.METADATA)
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise StoreError("not a file that rtinterp exported")
    version = metadata.get("format_version")
    check_version(int(version) if version in map(str, KNOWN_VERSIONS) else version)
    if metadata.keys() != METADATA_KEYS or not all(isinstance(value, str) for value in metadata.values()):
        raise StoreError(f"its metadata is not what format {version} has there")
    if _seal({name: text for name, text in metadata.items() if name != "sha256"}) != metadata["sha256"]:
        raise StoreError("its metadata was edited since it was exported (its sha256 is another one)")
    return metadata, start


def _spec(metadata: Mapping[str, str]) -> RunSpec:
    return contents.parse_spec(_text(metadata, "spec", sizes.MAX_JSON_BYTES), lambda: _environment(metadata))


def _environment(metadata: Mapping[str, str]) -> Environment:
    text = _text(metadata, "environment", sizes.MAX_JSON_BYTES)
    return contents.parse_environment(text, int(metadata["format_version"]))


def _text(metadata: Mapping[str, str], name: str, limit: int) -> bytes:
    """What the file of a stored run would hold."""
    try:
        text = metadata[name].encode()
    except UnicodeEncodeError as error:
        raise StoreError(f"its {name} is no text: {explain(error)}") from error
    if len(text) > limit:
        raise StoreError(f"its {name} has {len(text):,} bytes, more than the {limit:,} it can have")
    return text


def _seal(metadata: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(metadata, sort_keys=True).encode()).hexdigest()


def _in_order(data: bytes) -> bytes:
    """The library writes metadata in any order; sorted, equal runs make equal files."""
    header, start = contents.split_header(data)
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    return len(text).to_bytes(contents.HEADER_LENGTH_BYTES, "little") + text + data[start:]
