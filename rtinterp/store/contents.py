"""From the bytes of a stored run's parts to what they mean, whoever wrote them."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from collections.abc import Callable

import polars as pl
import safetensors
import safetensors.torch
from jaxtyping import Float32
from torch import Tensor

from rtinterp.registry import NAME, UnknownNameError
from rtinterp.store.errors import StoreError, UnregisteredError, explain, one_line
from rtinterp.store.sizes import trained_shapes
from rtinterp.store.strict_json import make, parse_json
from rtinterp.training.environment import ENVIRONMENT_FIELDS, Environment
from rtinterp.training.run import Run
from rtinterp.training.spec import RunSpec, spec_from_json, spec_to_json
from rtinterp.training.stack import HISTORY_SCHEMA

HEADER_LENGTH_BYTES = 8
METADATA = "__metadata__"

_FLOAT = rb"-?\d{1,25}(?:\.\d{1,25})?(?:e[+-]?\d{1,3})?"
_HISTORY = re.compile(rb"%s\n(?:\d{1,19}(?:,%s){3}\n)+" % (",".join(HISTORY_SCHEMA).encode(), _FLOAT))


def spec_bytes(run: Run) -> bytes:
    return (spec_to_json(run.spec) + "\n").encode()


def history_bytes(run: Run) -> bytes:
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


def parse_history(data: bytes, spec: RunSpec) -> pl.DataFrame:
    """The evaluations of a run, up to its last step.

    Raises:
        StoreError: other columns, no rows, cells that are no finite numbers, or steps that are not the run's.
    """
    if not _HISTORY.fullmatch(data):
        raise StoreError(
            f"not a training history: not rows of finite numbers under the columns {', '.join(HISTORY_SCHEMA)}"
        )
    try:
        history = pl.read_csv(io.BytesIO(data), schema=HISTORY_SCHEMA)
    except pl.exceptions.PolarsError as error:
        raise StoreError(f"not a training history: {explain(error)}") from error
    steps, accuracy = history["step"], history["test_accuracy"]
    if not history.select(pl.all().is_finite().fill_null(False).all()).row(0) == (True,) * len(HISTORY_SCHEMA):
        raise StoreError("not a training history: has cells that are not finite")
    if steps[-1] != spec.training.n_steps or steps[0] < 1 or not (steps.diff().drop_nulls() > 0).all():
        raise StoreError(f"not the history of this run: its steps do not rise to {spec.training.n_steps}")
    if not accuracy.is_between(0, 1).all():
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


def parse_trained(data: bytes, spec: RunSpec) -> dict[str, Float32[Tensor, ...]]:
    """The trained tensors of a run, from a safetensors file; its metadata is another's to read.

    The header is held to the spec before the library, which believes it, sees it.

    Raises:
        StoreError: they are not the float32 tensors that the run trains, or not finite.
    """
    header, _ = split_header(data)
    expected = {name: ("F32", list(shape)) for name, shape in trained_shapes(spec).items()}
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


def _type_and_shape(entry: object) -> tuple[object, object]:
    return (entry.get("dtype"), entry.get("shape")) if isinstance(entry, dict) else (None, None)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return one_line(", ".join(names[:5])) + more
