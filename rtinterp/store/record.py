"""The files of one stored run, and the checks that each must pass.

A run is a folder named by its run id:

    spec.json            the RunSpec, complete
    history.csv          step, train_loss, test_accuracy
    trained.safetensors  trained tensors only, by TransformerLens name
    run.json             format version, environment, body fingerprint, sha256 of the files above
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Literal

import polars as pl
import safetensors
import safetensors.torch
import torch
from jaxtyping import Float32
from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass
from torch import Tensor

from rtinterp.models.fingerprint import fingerprint
from rtinterp.models.initialisation import initialise
from rtinterp.models.parameters import model_parameters
from rtinterp.models.regimes import is_trained
from rtinterp.strict import STRICT
from rtinterp.training.environment import Environment
from rtinterp.training.run import Run
from rtinterp.training.spec import RunSpec, spec_from_json, spec_to_json
from rtinterp.training.train import HISTORY_SCHEMA

SPEC_FILE = "spec.json"
HISTORY_FILE = "history.csv"
TRAINED_FILE = "trained.safetensors"
RECORD_FILE = "run.json"
FORMAT_VERSION = 1


class StoreError(Exception):
    """A run cannot be saved, or is not there, or is not what was saved; the message names the file."""


@dataclass(frozen=True, config=STRICT)
class Record:
    """Contents of run.json."""

    format_version: Literal[1]
    environment: Environment
    fingerprint: str
    sha256: dict[str, str]


def write_run(run: Run, folder: Path) -> None:
    """Write the files of a run into an empty folder."""
    (folder / SPEC_FILE).write_text(spec_to_json(run.spec) + "\n", encoding="utf-8")
    run.history.write_csv(folder / HISTORY_FILE)
    trained = safetensors.torch.save({name: tensor.contiguous() for name, tensor in run.trained.items()})
    (folder / TRAINED_FILE).write_bytes(trained)
    hashes = {name: _sha256(folder / name) for name in (SPEC_FILE, HISTORY_FILE, TRAINED_FILE)}
    record = Record(FORMAT_VERSION, run.environment, run.fingerprint, hashes)
    (folder / RECORD_FILE).write_text(json.dumps(dataclasses.asdict(record), indent=2) + "\n", encoding="utf-8")


def read_run(folder: Path) -> Run:
    """Read a run back, rebuild its body from the seed and hold it against the stored fingerprint.

    Raises:
        StoreError: a file is missing, truncated, edited or malformed, or the body is another one.
    """
    spec, history, record = read_summary(folder)
    _check_hash(folder / TRAINED_FILE, record)
    trained = _read_trained(folder / TRAINED_FILE, spec)
    task = spec.task
    frozen = [p for p in model_parameters(spec.model, task.d_vocab, task.n_ctx) if p.name not in trained]
    if fingerprint(initialise(frozen, spec.seed)) != record.fingerprint:
        raise StoreError(
            f"{folder / RECORD_FILE}: the body rebuilt from seed {spec.seed} does not have the stored fingerprint; "
            "the run was made with another initialisation"
        )
    return Run(spec, trained, history, record.fingerprint, record.environment)


def read_summary(folder: Path) -> tuple[RunSpec, pl.DataFrame, Record]:
    """Spec, history and record of a run, checked, without its tensors.

    Raises:
        StoreError: one of the three files is missing, truncated, edited or malformed.
    """
    record = _read_record(folder / RECORD_FILE)
    for name in (SPEC_FILE, HISTORY_FILE):
        _check_hash(folder / name, record)
    try:
        spec = spec_from_json((folder / SPEC_FILE).read_text(encoding="utf-8"))
    except (ValueError, TypeError) as error:
        raise StoreError(f"{folder / SPEC_FILE}: not a run spec: {error}") from error
    if spec.run_id != folder.name:
        raise StoreError(f"{folder / SPEC_FILE}: describes run {spec.run_id}, not the run its folder is named after")
    try:
        history = pl.read_csv(folder / HISTORY_FILE, schema=HISTORY_SCHEMA)
    except pl.exceptions.PolarsError as error:
        raise StoreError(f"{folder / HISTORY_FILE}: not a training history: {error}") from error
    if history.is_empty() or history.null_count().sum_horizontal().item():
        raise StoreError(f"{folder / HISTORY_FILE}: has no rows, or empty cells")
    return spec, history, record


def _read_record(path: Path) -> Record:
    try:
        record = TypeAdapter(Record).validate_json(path.read_bytes(), strict=True)
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise StoreError(f"{path}: not a run record of format {FORMAT_VERSION}: {error}") from error
    missing = {SPEC_FILE, HISTORY_FILE, TRAINED_FILE}.symmetric_difference(record.sha256)
    if missing:
        raise StoreError(f"{path}: lists the wrong files: {sorted(missing)}")
    return record


def _check_hash(path: Path, record: Record) -> None:
    try:
        found = _sha256(path)
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error
    if found != record.sha256[path.name]:
        raise StoreError(f"{path}: truncated or edited since it was saved (its sha256 is not the one in {RECORD_FILE})")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        # hashlib.file_digest needs Python 3.11.
        digest = hashlib.sha256()
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _read_trained(path: Path, spec: RunSpec) -> dict[str, Float32[Tensor, ...]]:
    try:
        trained = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise StoreError(f"{path}: not a safetensors file: {error}") from error
    expected = {
        parameter.name: parameter.shape
        for parameter in model_parameters(spec.model, spec.task.d_vocab, spec.task.n_ctx)
        if is_trained(parameter.name, spec.trainable)
    }
    found = {name: tuple(tensor.shape) for name, tensor in trained.items()}
    if found != expected:
        differing = sorted({name for name, _ in found.items() ^ expected.items()})
        raise StoreError(f"{path}: not the tensors that {spec.trainable!r} trains: {', '.join(differing)}")
    for name, tensor in trained.items():
        if tensor.dtype != torch.float32 or not bool(tensor.isfinite().all()):
            raise StoreError(f"{path}: {name} is not finite float32")
    return trained
