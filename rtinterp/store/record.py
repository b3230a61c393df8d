"""The files of one stored run, and the checks that each must pass.

A run is a folder named by its run id:

    spec.json            the RunSpec, complete
    history.csv          step, train_loss, test_loss, and test_accuracy or whatever metrics the task has
    trained.safetensors  trained tensors only, by TransformerLens name
    environment.json     versions, device, memory, duration, source, command
    kept.safetensors     trained tensors at the kept steps, as kept/STEP/NAME; absent where none are kept
    run.json             format version, body fingerprint, step at which it was stopped, sha256 of the files above

Any of them may come from a stranger. Each is read once, into no more memory than the spec justifies, so that what was
checked is what is parsed; links are not followed, and nothing in them is executed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import polars as pl
import safetensors.torch
from jaxtyping import Float32
from pydantic import Field
from torch import Tensor

from rtinterp.store import contents, sizes
from rtinterp.store.checks import FORMAT_VERSION, FORMER_VERSIONS, blame, check_fingerprint, check_version
from rtinterp.store.durable import sha256
from rtinterp.store.errors import StoreError, explain, one_line
from rtinterp.store.files import check_folder, read_file
from rtinterp.store.strict_json import make, parse_json
from rtinterp.strict import strict
from rtinterp.training.environment import Environment
from rtinterp.training.run import Run, stopped_run_id
from rtinterp.training.spec import RunSpec

SPEC_FILE = "spec.json"
HISTORY_FILE = "history.csv"
TRAINED_FILE = "trained.safetensors"
ENVIRONMENT_FILE = "environment.json"
RECORD_FILE = "run.json"
HASHED_FILES = (SPEC_FILE, HISTORY_FILE, TRAINED_FILE, ENVIRONMENT_FILE)
KEPT_FILE = "kept.safetensors"

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


@strict
class Record:
    """Contents of run.json; ``stopped_at_step`` is None for a finished run."""

    format_version: int
    fingerprint: Sha256
    sha256: dict[str, Sha256]
    stopped_at_step: int | None = None


def write_run(run: Run, folder: Path) -> None:
    """Write the files of a run into an empty folder."""
    trained = safetensors.torch.save({name: tensor.contiguous() for name, tensor in run.trained.items()})
    written = {
        SPEC_FILE: contents.spec_bytes(run),
        HISTORY_FILE: contents.history_bytes(run),
        TRAINED_FILE: trained,
        ENVIRONMENT_FILE: contents.environment_bytes(run),
    }
    if run.kept:
        written[KEPT_FILE] = safetensors.torch.save(contents.flat(run.kept))
    hashes = {name: sha256(data) for name, data in written.items()}
    record = Record(FORMAT_VERSION, run.fingerprint, hashes, run.stopped_at_step)
    written[RECORD_FILE] = (json.dumps(dataclasses.asdict(record), indent=2) + "\n").encode()
    for name, data in written.items():
        (folder / name).write_bytes(data)


def read_run(folder: Path) -> Run:
    """Read a run back, and hold the body that its seed makes against the stored fingerprint.

    Raises:
        UnregisteredError: its task or body is not registered in this process.
        StoreError: a file is missing, a link, truncated, edited or malformed, or the body is another one.
    """
    return StoredRun(folder).run()


def read_summary(folder: Path) -> tuple[RunSpec, pl.DataFrame, Environment]:
    """The spec, history and environment of a run, checked, without its tensors.

    Raises:
        StoreError: one of the files is missing, a link, truncated, edited or malformed.
    """
    stored = StoredRun(folder)
    return stored.spec, stored.history, stored.environment


def read_spec(path: Path) -> RunSpec:
    """The spec in a spec file, or in the folder of a run.

    Raises:
        StoreError: it is not there, or malformed.
    """
    file = path / SPEC_FILE if path.is_dir() else path
    data = read_file(file, sizes.MAX_JSON_BYTES, follow=True)
    with blame(file):
        return contents.parse_spec(data)


class StoredRun:
    """The parts of a stored run, each read and checked at first use.

    Raises:
        StoreError: from every attribute and method, where a file is not what was saved.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self) -> Run:
        spec, history, environment, trained = self.spec, self.history, self.environment, self.trained
        kept = self.kept
        self.check_fingerprint()
        return Run(spec, trained, history, self.record.fingerprint, environment, self.record.stopped_at_step, kept)

    @property
    def files(self) -> set[str]:
        """The names of the files that the run has; of any run, if its record cannot be read."""
        try:
            return {*self.record.sha256, RECORD_FILE}
        except StoreError:
            return {*HASHED_FILES, KEPT_FILE, RECORD_FILE}

    @functools.cached_property
    def record(self) -> Record:
        check_folder(self.folder)
        data = read_file(self.folder / RECORD_FILE, sizes.MAX_JSON_BYTES)
        with self._blamed(RECORD_FILE):
            version = FORMAT_VERSION
            try:
                fields = parse_json(data)
                version = check_version(fields.get("format_version"))
                names = {field.name for field in dataclasses.fields(Record)}
                record = make(Record, fields, names - {"stopped_at_step"} if version in FORMER_VERSIONS else names)
            except StoreError:
                raise
            except (ValueError, TypeError) as error:
                raise StoreError(f"not what format {version} has there: {explain(error)}") from error
            wrong = set(HASHED_FILES).symmetric_difference(record.sha256) - {KEPT_FILE}
            if wrong:
                raise StoreError(f"lists the wrong files: {one_line(sorted(wrong)[:5])}")
        return record

    @functools.cached_property
    def spec(self) -> RunSpec:
        data = self._read(SPEC_FILE, sizes.MAX_JSON_BYTES)
        with self._blamed(SPEC_FILE):
            spec = contents.parse_spec(data, lambda: self.environment)
            run_id = stopped_run_id(spec, self.record.stopped_at_step)
            former = [spec.former_run_id] if self.record.format_version in FORMER_VERSIONS else []
            if self.folder.name not in (run_id, *former):
                raise StoreError(f"describes run {run_id}, not the run its folder is named after")
        return spec

    @functools.cached_property
    def history(self) -> pl.DataFrame:
        data = self._read(HISTORY_FILE, sizes.history_limit(self.spec))
        with self._blamed(HISTORY_FILE):
            return contents.parse_history(data, self.spec.task, self.last_step)

    @functools.cached_property
    def environment(self) -> Environment:
        data = self._read(ENVIRONMENT_FILE, sizes.MAX_JSON_BYTES)
        with self._blamed(ENVIRONMENT_FILE):
            return contents.parse_environment(data, self.record.format_version)

    @functools.cached_property
    def trained(self) -> dict[str, Float32[Tensor, ...]]:
        return self._tensors(TRAINED_FILE, sizes.trained_shapes(self.spec))

    @functools.cached_property
    def kept(self) -> dict[int, dict[str, Float32[Tensor, ...]]]:
        """The trained tensors at the kept steps; none where the run has no such file."""
        shapes = sizes.kept_shapes(self.spec, self.last_step)
        if bool(shapes) != (KEPT_FILE in self.record.sha256):
            with self._blamed(RECORD_FILE):
                raise StoreError(f"lists {'no' if shapes else 'a'} {KEPT_FILE}, unlike what its spec keeps")
        tensors = self._tensors(KEPT_FILE, shapes) if shapes else {}
        return contents.by_step(tensors, self.spec, self.last_step)

    @property
    def last_step(self) -> int:
        """The step that the run ends at."""
        with self._blamed(RECORD_FILE):
            return contents.checked_last_step(self.spec, self.record.stopped_at_step)

    def _tensors(self, name: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Float32[Tensor, ...]]:
        data = self._read(name, sizes.tensors_limit(shapes))
        with self._blamed(name):
            return contents.parse_tensors(data, shapes, self.spec)

    def check_fingerprint(self) -> None:
        spec, record = self.spec, self.record
        with self._blamed(RECORD_FILE):
            check_fingerprint(spec, record.fingerprint)

    def _read(self, name: str, limit: int) -> bytes:
        """A file whose hash is the recorded one."""
        expected = self.record.sha256[name]
        data = read_file(self.folder / name, limit)
        if sha256(data) != expected:
            raise StoreError(
                f"{one_line(self.folder / name)}: truncated or edited since it was saved (its sha256 is not the one in "
                f"{RECORD_FILE})"
            )
        return data

    def _blamed(self, name: str) -> contextlib.AbstractContextManager[None]:
        return blame(self.folder / name)
