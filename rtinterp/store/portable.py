"""A run as one file: safetensors with the trained and the kept tensors, and all else as texts in its metadata.

The metadata's ``spec``, ``history`` and ``environment`` are the texts of the run's files, ``fingerprint`` is that of
the frozen body, ``trained_fingerprint`` that of the tensors, ``stopped_at_step`` is empty for a finished run, and
``sha256`` is that of all other metadata.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch

from rtinterp.models.fingerprint import fingerprint
from rtinterp.store import contents, sizes
from rtinterp.store.checks import (
    FORMAT_VERSION,
    FORMER_VERSIONS,
    KNOWN_VERSIONS,
    blame,
    check_fingerprint,
    check_version,
)
from rtinterp.store.errors import StoreError, explain, one_line
from rtinterp.store.files import holds, read_file, write_file
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
#: What format version 3 has besides.
STOPPED_AT_STEP = "stopped_at_step"
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
    run, there = import_run(path), store.run_ids()
    folder = store.save(run)
    if folder.name in there and portable_bytes(store.load(folder.name)) != portable_bytes(run):
        raise StoreError(f"{one_line(folder)}: is already there, with other contents than {one_line(path)}; it stays")
    return folder


def portable_bytes(run: Run) -> bytes:
    """The same bytes for the same run."""
    tensors = {name: tensor.contiguous() for name, tensor in run.trained.items()} | contents.flat(run.kept)
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "spec": contents.spec_bytes(run).decode(),
        "history": contents.history_bytes(run).decode(),
        "environment": contents.environment_bytes(run).decode(),
        "fingerprint": run.fingerprint,
        "trained_fingerprint": fingerprint(tensors),
        STOPPED_AT_STEP: "" if run.stopped_at_step is None else str(run.stopped_at_step),
    }
    return _in_order(safetensors.torch.save(tensors, {**metadata, "sha256": _seal(metadata)}))


def parse_portable(data: bytes) -> Run:
    """The run in a portable file.

    Raises:
        StoreError: as ``import_run``.
    """
    metadata, start = _metadata(data)
    spec, stopped_at_step = _spec(metadata), _stopped_at_step(metadata)
    last_step = contents.checked_last_step(spec, stopped_at_step)
    trained_shapes, kept_shapes = sizes.trained_shapes(spec), sizes.kept_shapes(spec, last_step)
    shapes = {**trained_shapes, **kept_shapes}
    if len(data) - start != sizes.values_bytes(shapes):
        raise StoreError(f"truncated or edited: holds {len(data) - start:,} bytes of tensors, not those of its spec")
    history = contents.parse_history(_text(metadata, "history", sizes.history_limit(spec)), spec.task, last_step)
    environment = _environment(metadata)
    tensors = contents.parse_tensors(data, shapes, spec)
    if fingerprint(tensors) != metadata["trained_fingerprint"]:
        raise StoreError("its tensors were edited since it was exported (their fingerprint is another one)")
    check_fingerprint(spec, metadata["fingerprint"])
    trained = {name: tensors[name] for name in trained_shapes}
    kept = contents.by_step(tensors, spec, last_step)
    return Run(spec, trained, history, metadata["fingerprint"], environment, stopped_at_step, kept)


def _justified_bytes(path: Path) -> int:
    """The size that a portable file has by its own header, of which no more is read for it."""
    length = read_file(path, contents.HEADER_LENGTH_BYTES, follow=True, beginning=True)
    n_header = contents.HEADER_LENGTH_BYTES + int.from_bytes(length, "little")
    if n_header > MAX_HEADER_BYTES:
        raise StoreError("not a file that rtinterp exported: its header is too long")
    metadata, start = _metadata(read_file(path, n_header, follow=True, beginning=True))
    spec = _spec(metadata)
    last_step = contents.checked_last_step(spec, _stopped_at_step(metadata))
    shapes = {**sizes.trained_shapes(spec), **sizes.kept_shapes(spec, last_step)}
    return start + sizes.values_bytes(shapes)


def _metadata(data: bytes) -> tuple[dict[str, str], int]:
    """The metadata, unedited, and where the tensors' values begin."""
    header, start = contents.split_header(data)
    metadata = header.get(contents.METADATA)
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise StoreError("not a file that rtinterp exported")
    text = metadata.get("format_version")
    version = check_version(int(text) if isinstance(text, str) and text in map(str, KNOWN_VERSIONS) else text)
    keys = METADATA_KEYS if version in FORMER_VERSIONS else {*METADATA_KEYS, STOPPED_AT_STEP}
    if metadata.keys() != keys or not all(isinstance(value, str) for value in metadata.values()):
        raise StoreError(f"its metadata is not what format {version} has there")
    if _seal({name: text for name, text in metadata.items() if name != "sha256"}) != metadata["sha256"]:
        raise StoreError("its metadata was edited since it was exported (its sha256 is another one)")
    return metadata, start


def _spec(metadata: Mapping[str, str]) -> RunSpec:
    return contents.parse_spec(_text(metadata, "spec", sizes.MAX_JSON_BYTES), lambda: _environment(metadata))


def _stopped_at_step(metadata: Mapping[str, str]) -> int | None:
    text = metadata.get(STOPPED_AT_STEP, "")
    if not re.fullmatch(r"([1-9][0-9]{0,18})?", text):
        raise StoreError(f"its {STOPPED_AT_STEP} is no step: {one_line(repr(text))}")
    return int(text) if text else None


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
