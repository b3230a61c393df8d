"""Runs that diverged, with the reason: one JSON file each, named by run id."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import warnings
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from rtinterp.store.contents import parse_spec
from rtinterp.store.durable import write_durably
from rtinterp.store.errors import StoreError, UnregisteredError, UnregisteredRunWarning, explain, one_line
from rtinterp.store.files import read_file
from rtinterp.store.former_ids import stored_id
from rtinterp.strict import strict
from rtinterp.training.environment import Environment
from rtinterp.training.spec import RunSpec, spec_to_json

MAX_FAILURE_BYTES = 2**20


@dataclasses.dataclass(frozen=True)
class Failure:
    """A run that cannot be finished.

    Attributes:
        step: the optimiser step at which it failed.
        reason: for people, with what may help.
        environment: what it ran on, and for how long.
        recorded_as: the id that its file is named by; None for that of the spec.
    """

    spec: RunSpec
    step: int
    reason: str
    environment: Environment
    recorded_as: str | None = None

    @property
    def run_id(self) -> str:
        return self.recorded_as or self.spec.run_id


@strict
class FailureFacts:
    """Contents of the file; ``spec`` is its canonical JSON."""

    format_version: Literal[1]
    spec: str
    step: Annotated[int, Field(ge=0, lt=2**63)]
    reason: str
    environment: Environment


class Failures:
    """The failed runs of one store.

    Args:
        folder: made by the first failure.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run_ids(self) -> set[str]:
        try:
            return {path.stem for path in self.folder.iterdir() if path.suffix == ".json"}
        except (FileNotFoundError, NotADirectoryError):
            return set()
        except OSError as error:
            raise StoreError(f"{self.folder}: cannot be read: {explain(error)}") from error

    def id_of(self, spec: RunSpec) -> str | None:
        """The id under which a failure of this spec is recorded; None if there is none."""
        return stored_id(spec, self.run_ids(), self.read_spec)

    def read_spec(self, run_id: str) -> RunSpec:
        """Raises StoreError as ``read``."""
        return self.read(run_id).spec

    def record(self, failure: Failure) -> None:
        """Write a failure down, in place of an earlier one of the same run.

        Raises:
            StoreError: it cannot be written.
        """
        facts = FailureFacts(1, spec_to_json(failure.spec), failure.step, failure.reason, failure.environment)
        path = self._path(failure.run_id)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_durably(path, (json.dumps(dataclasses.asdict(facts), indent=2) + "\n").encode())
        except OSError as error:
            raise StoreError(f"{path}: cannot be saved: {explain(error)}") from error

    def read(self, run_id: str) -> Failure:
        """Raises StoreError if the file is missing or malformed, or the run's task or body is not registered."""
        path = self._path(run_id)
        contents = read_file(path, MAX_FAILURE_BYTES)
        try:
            facts = TypeAdapter(FailureFacts).validate_json(contents, strict=True)
            spec = parse_spec(facts.spec.encode(), lambda: facts.environment)
            if run_id not in (spec.run_id, spec.former_run_id):
                raise ValueError(f"describes run {spec.run_id}, not the run it is named after")
        except UnregisteredError as error:
            raise UnregisteredError(f"{path}: {error}") from error
        except (ValueError, TypeError) as error:
            raise StoreError(f"{path}: not a failure: {explain(error)}") from error
        return Failure(spec, facts.step, one_line(facts.reason), facts.environment, run_id)

    def all(self) -> list[Failure]:
        """The failures, by run id; one that is damaged or not registered here is left out with a warning."""
        found = []
        for run_id in sorted(self.run_ids()):
            try:
                found.append(self.read(run_id))
            except UnregisteredError as error:
                warnings.warn(f"left out a failure: {error}", UnregisteredRunWarning, stacklevel=3)
            except StoreError as error:
                warnings.warn(f"left out a damaged failure: {error}", stacklevel=3)
        return found

    def forget(self, spec: RunSpec) -> None:
        """The run has been finished after all."""
        run_id = self.id_of(spec)
        if run_id is not None:
            with contextlib.suppress(OSError):
                self._path(run_id).unlink(missing_ok=True)

    def _path(self, run_id: str) -> Path:
        return self.folder / f"{run_id}.json"
