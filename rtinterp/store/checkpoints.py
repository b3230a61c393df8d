"""Checkpoints of unfinished stacks on disk.

A stack that is being trained has a folder: ``stack.json`` names its runs, for which models train together decides the
last bits of each, and ``step-STEP-SHA256.safetensors`` are its checkpoints. A checkpoint's name holds the hash of its
bytes, so one that a crash or a bad disk has damaged is recognised. Nothing is unpickled.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import safetensors
import safetensors.torch
from pydantic import Field, TypeAdapter

from rtinterp.store.contents import parse_spec
from rtinterp.store.durable import aside_name, flush_files, flush_folder, sha256, write_durably
from rtinterp.store.errors import StoreError, UnregisteredError, UnregisteredRunWarning, explain
from rtinterp.store.files import read_file
from rtinterp.strict import strict
from rtinterp.training.checkpoint import Checkpoint, CheckpointFacts
from rtinterp.training.spec import RunSpec, spec_to_json

STACK_FILE = "stack.json"
MAX_STACK_BYTES = 2**20
CHECKPOINT_MINUTES = 5.0
CHECKPOINT_VARIABLE = "RTINTERP_CHECKPOINT_MINUTES"
#: A checkpoint may be as large as the models of a stack; this is a limit against nonsense.
MAX_CHECKPOINT_BYTES = 2**40
N_KEPT = 2
HASH_CHARACTERS = 12
_CHECKPOINT_NAME = re.compile(r"step-(\d{12})-([0-9a-f]{64})\.safetensors")


@strict
class StackFacts:
    """Contents of stack.json: the runs are ``spec``, as its canonical JSON, with each of the seeds."""

    format_version: Literal[1]
    spec: str
    seeds: Annotated[tuple[int, ...], Field(min_length=1)]


class StackCheckpoints:
    """What is on disk of one unfinished stack.

    Args:
        folder: of all unfinished stacks of a store.
    """

    def __init__(self, folder: Path, specs: Sequence[RunSpec]) -> None:
        self._specs = list(specs)
        self.path = folder / _name(specs, lambda spec: spec.run_id)
        former = folder / _name(specs, lambda spec: spec.former_run_id)
        if former.is_dir() and not self.path.is_dir():
            self.path = former
        self._good: list[Path] = []

    def begin(self) -> None:
        """Write down which runs train together, unless it is there.

        Raises:
            OSError: it cannot be written.
        """
        contents = _facts(self._specs)
        if _read_stack(self.path) is not None:
            return
        if self.path.is_dir():
            write_durably(self.path / STACK_FILE, contents)
            return
        aside = self.path.with_name(aside_name())
        try:
            aside.mkdir(parents=True)
            (aside / STACK_FILE).write_bytes(contents)
            flush_files(aside)
            aside.rename(self.path)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        flush_folder(self.path.parent)

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint and remove all but the one before.

        Raises:
            OSError: it cannot be written; those before are still there.
        """
        facts = json.dumps(dataclasses.asdict(checkpoint.facts))
        tensors = {name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()}
        contents = safetensors.torch.save(tensors, {"facts": facts})
        path = self.path / f"step-{checkpoint.facts.n_steps_done:012d}-{sha256(contents)}.safetensors"
        write_durably(path, contents)
        self._good = [*(kept for kept in self._good if kept != path), path][-N_KEPT:]
        for other in self.path.iterdir():
            if other.name != STACK_FILE and other not in self._good:
                other.unlink(missing_ok=True)

    def saved(self) -> Iterator[Checkpoint]:
        """Checkpoints, the newest first; a damaged one is left out with a warning."""
        for path in sorted(self._files(), reverse=True):
            try:
                checkpoint = _read(path)
            except StoreError as error:
                warnings.warn(f"left out a damaged checkpoint: {error}", stacklevel=2)
                continue
            self._good = [path]
            yield checkpoint

    def newest_step(self) -> int | None:
        """Finished steps in the newest checkpoint, sound or not; None if there is none."""
        return max((int(path.name.split("-")[1]) for path in self._files()), default=None)

    def remove(self) -> None:
        """The stack is done; what cannot be removed does no harm."""
        aside = self.path.with_name(aside_name())
        try:
            self.path.rename(aside)
        except OSError:
            return
        shutil.rmtree(aside, ignore_errors=True)

    def _files(self) -> list[Path]:
        try:
            return [path for path in self.path.iterdir() if _CHECKPOINT_NAME.fullmatch(path.name)]
        except FileNotFoundError:
            return []


def minutes_per_checkpoint(given: float | None) -> float:
    """What is given, or what the process environment says.

    Raises:
        ValueError: that is not a number, or less than 0.
    """
    text = os.environ.get(CHECKPOINT_VARIABLE, CHECKPOINT_MINUTES) if given is None else given
    try:
        minutes = float(text)
    except ValueError:
        minutes = -1.0
    if not minutes >= 0:
        named = CHECKPOINT_VARIABLE if given is None else "checkpoint_minutes"
        raise ValueError(f"{named}={text}: must be a number of minutes, 0 for a checkpoint after every step")
    return minutes


def unfinished_stacks(folder: Path, spec: RunSpec | None = None) -> list[list[RunSpec]]:
    """Stacks that were begun and not finished, in a fixed order; of all specs, or of one but for the seed."""
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise StoreError(f"{folder}: cannot be read: {explain(error)}") from error
    wanted = None if spec is None else spec.with_seed(0)
    beginning = "" if wanted is None else wanted.id_beginning
    found = (_read_stack(path) for path in paths if path.name.startswith(beginning))
    return [stack for stack in found if stack is not None and wanted in (None, stack[0].with_seed(0))]


def _name(specs: Sequence[RunSpec], id_of: Callable[[RunSpec], str]) -> str:
    """The name of a stack's folder, by its run ids."""
    digest = hashlib.sha256("\n".join(map(id_of, specs)).encode()).hexdigest()[:HASH_CHARACTERS]
    return f"{id_of(specs[0].with_seed(0))}-x{len(specs)}-{digest}"


def _facts(specs: Sequence[RunSpec]) -> bytes:
    facts = StackFacts(1, spec_to_json(specs[0].with_seed(0)), tuple(spec.seed for spec in specs))
    return (json.dumps(dataclasses.asdict(facts), indent=2) + "\n").encode()


def _read_stack(path: Path) -> list[RunSpec] | None:
    """The specs of a stack, or None, with a warning if what is there is damaged."""
    file = path / STACK_FILE
    if not file.exists():
        return None
    try:
        facts = TypeAdapter(StackFacts).validate_json(read_file(file, MAX_STACK_BYTES), strict=True)
        spec = parse_spec(facts.spec.encode())
        specs = [spec.with_seed(seed) for seed in facts.seeds]
        if StackCheckpoints(path.parent, specs).path != path:
            raise ValueError("describes another stack than its folder is named after")
    except UnregisteredError as error:
        warnings.warn(f"left out an unfinished stack: {file}: {error}", UnregisteredRunWarning, stacklevel=2)
        return None
    except (ValueError, TypeError) as error:
        warnings.warn(f"left out an unfinished stack: {file}: {explain(error)}", stacklevel=2)
        return None
    return specs


def _read(path: Path) -> Checkpoint:
    named = _CHECKPOINT_NAME.fullmatch(path.name)
    assert named is not None  # as every path that is listed
    step, expected = named.groups()
    contents = read_file(path, MAX_CHECKPOINT_BYTES)
    if sha256(contents) != expected:
        raise StoreError(f"{path}: truncated or edited since it was saved")
    try:
        tensors = safetensors.torch.load(contents)
        n_header = int.from_bytes(contents[:8], "little")
        metadata = json.loads(contents[8 : 8 + n_header])["__metadata__"]
        facts = TypeAdapter(CheckpointFacts).validate_json(metadata["facts"], strict=True)
        if facts.n_steps_done != int(step):
            raise ValueError(f"holds step {facts.n_steps_done}")
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path}: not a checkpoint: {explain(error)}") from error
    return Checkpoint(facts, tensors)
