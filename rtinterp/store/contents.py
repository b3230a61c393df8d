"""From the bytes of a stored run's parts to what they mean, whoever wrote them."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from collections.abc import Callable, Mapping

import polars as pl
import safetensors
import safetensors.torch
from jaxtyping import Float32
from torch import Tensor

from rtinterp.registry import NAME, UnknownNameError
from rtinterp.store.errors import StoreError, UnregisteredError, explain, one_line
from rtinterp.store.sizes import kept_name, trained_shapes
from rtinterp.store.strict_json import make, parse_json
from rtinterp.tasks import Task
from rtinterp.training.environment import ENVIRONMENT_FIELDS, Environment
from rtinterp.training.history import history_schema
from rtinterp.training.kept_steps import kept_until
from rtinterp.training.run import Run
from rtinterp.training.spec import RunSpec, spec_from_json, spec_to_json

HEADER_LENGTH_BYTES = 8
METADATA = "__metadata__"

_FLOAT = rb"-?\d{1,25}(?:\.\d{1,25})?(?:e[+-]?\d{1,3})?"


def spec_bytes(run: Run) -> bytes:
    return (spec_to_json(run.spec) + "\n").encode()


def history_bytes(run: Run) -> bytes:
    """Raises StoreError if the history ends before the run does, as that of a kept step may."""
    if not run.is_evaluated:
        raise StoreError(
            f"{run.run_id}: cannot be stored by itself, as it was not evaluated at step {run.last_step}; the whole run "
            "has it among its kept steps"
        )
    return run.history.write_csv().encode()


def environment_bytes(run: Run) -> bytes:
    return (json.dumps(dataclasses.asdict(run.environment), indent=2) + "\n").encode()


def parse_spec(data: bytes, environment: Callable[[], Environment | None] = lambda: None) -> RunSpec:
    """The spec of a run that a store could hold.

    Args:
        environment: tells what the run was made in, where that is known, if its task or body is not registered.

    Raises:
        UnregisteredError: its task or body is not registered in this process.
        StoreError: it is malformed, incomplete, or describes a model that is too large.
    """
    try:
        parse_json(data)
        spec = spec_from_json(data.decode("utf-8"))
    except UnknownNameError as error:
        if not isinstance(error.name, str) or not NAME.fullmatch(error.name):
            raise StoreError(f"not a run spec: {explain(error)}") from error
        raise UnregisteredError(_how_to_register(error, environment())) from error
    except (ValueError, TypeError, OverflowError) as error:
        raise StoreError(f"not a run spec: {explain(error)}") from error
    trained_shapes(spec)
    return spec


def _how_to_register(unknown: UnknownNameError, environment: Environment | None) -> str:
    """What is missing and, as far as the run's environment tells, what to do about it."""
    is_task = unknown.kind == "task"
    module = None if environment is None else environment.task_module if is_task else environment.body_module
    if module == "__main__":
        advice = "it was defined in a notebook or script: run its definition, and register_{} on it, first"
    elif module is None:
        advice = "import the module that defines it, and that calls register_{} on it, first"
    else:
        advice = f"import {one_line(module)}, which defined it, first, or call register_{{}} on its class"
    kind = "task" if is_task else "body"
    return f"its {kind} {unknown.name!r} is not registered in this process; {advice.format(kind)}"


def checked_last_step(spec: RunSpec, stopped_at_step: int | None) -> int:
    """The step that a run ends at.

    Raises:
        StoreError: it cannot have been stopped there.
    """
    n_steps = spec.training.n_steps
    if stopped_at_step is None:
        return n_steps
    if not 0 < stopped_at_step < n_steps:
        raise StoreError(f"a run of {n_steps} steps cannot have been stopped at step {stopped_at_step}")
    return stopped_at_step


def parse_history(data: bytes, task: Task, last_step: int) -> pl.DataFrame:
    """The evaluations of a run, up to its last step.

    Raises:
        StoreError: other columns, no rows, cells that are no finite numbers, or steps that are not the run's.
    """
    schema = history_schema(task)
    header, n_floats = ",".join(schema).encode(), len(schema) - 1
    if not re.fullmatch(rb"%s\n(?:\d{1,19}(?:,%s){%d}\n)+" % (header, _FLOAT, n_floats), data):
        raise StoreError(f"not a training history: not rows of finite numbers under the columns {', '.join(schema)}")
    try:
        history = pl.read_csv(io.BytesIO(data), schema=schema)
    except pl.exceptions.PolarsError as error:
        raise StoreError(f"not a training history: {explain(error)}") from error
    if not all(history.select(pl.all().is_finite().fill_null(False).all()).row(0)):
        raise StoreError("not a training history: has cells that are not finite")
    steps = history["step"]
    if steps[-1] != last_step or steps[0] < 1 or not (steps.diff().drop_nulls() > 0).all():
        raise StoreError(f"not the history of this run: its steps do not rise to {last_step}")
    if "test_accuracy" in schema and not history["test_accuracy"].is_between(0, 1).all():
        raise StoreError("not a training history: has accuracies outside of 0 to 1")
    return history


def parse_environment(data: bytes, format_version: int) -> Environment:
    """What a run ran on.

    Raises:
        StoreError: it is not what that format version has there.
    """
    try:
        return make(Environment, parse_json(data), ENVIRONMENT_FIELDS[format_version])
    except (ValueError, TypeError) as error:
        raise StoreError(f"not what format {format_version} has there: {explain(error)}") from error


def split_header(data: bytes) -> tuple[dict, int]:
    """Header of a safetensors file and where its values begin.

    Raises:
        StoreError: the header is malformed, or longer than the file.
    """
    length = int.from_bytes(data[:HEADER_LENGTH_BYTES], "little")
    start = HEADER_LENGTH_BYTES + length
    if len(data) < HEADER_LENGTH_BYTES or start > len(data):
        raise StoreError("not a safetensors file: its header is longer than the file")
    try:
        return parse_json(data[HEADER_LENGTH_BYTES:start], printable=False), start
    except ValueError as error:
        raise StoreError(f"not a safetensors file: its header: {explain(error)}") from error


def parse_tensors(data: bytes, shapes: Mapping[str, tuple[int, ...]], spec: RunSpec) -> dict[str, Float32[Tensor, ...]]:
    """Trained tensors of a run, from a safetensors file; its metadata is another's to read.

    The header is held to the shapes before the library, which believes it, sees it.

    Raises:
        StoreError: they are not float32 tensors of these names and shapes, or not finite.
    """
    header, _ = split_header(data)
    expected = {name: ("F32", list(shape)) for name, shape in shapes.items()}
    found = {name: _type_and_shape(entry) for name, entry in header.items() if name != METADATA}
    if found != expected:
        differing = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
        raise StoreError(f"not the tensors that {spec.trainable!r} trains: {_listed(differing)}")
    try:
        trained = safetensors.torch.load(data)
    except (safetensors.SafetensorError, ValueError) as error:
        raise StoreError(f"not a safetensors file: {explain(error)}") from error
    for name, tensor in trained.items():
        if not bool(tensor.isfinite().all()):
            raise StoreError(f"{name} is not finite float32")
    return trained


def flat(kept: Mapping[int, Mapping[str, Float32[Tensor, ...]]]) -> dict[str, Float32[Tensor, ...]]:
    """Tensors by step and name, as one file holds them."""
    return {
        kept_name(step, name): tensor.contiguous() for step, trained in kept.items() for name, tensor in trained.items()
    }


def by_step(
    tensors: Mapping[str, Float32[Tensor, ...]], spec: RunSpec, last_step: int
) -> dict[int, dict[str, Float32[Tensor, ...]]]:
    """The inverse of ``flat``, for tensors of ``kept_shapes``."""
    steps = kept_until(spec.training.kept_steps, spec.training.n_steps, last_step)
    return {step: {name: tensors[kept_name(step, name)] for name in trained_shapes(spec)} for step in steps}


def _type_and_shape(entry: object) -> tuple[object, object]:
    return (entry.get("dtype"), entry.get("shape")) if isinstance(entry, dict) else (None, None)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return one_line(", ".join(names[:5])) + more
