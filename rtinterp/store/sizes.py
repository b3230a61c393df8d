"""How large a run's parts can be: a spec is a stranger's word, and is held to it before anything is made."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rtinterp.models.memory import FLOAT32_BYTES, GIB, parameter_bytes
from rtinterp.store.errors import StoreError
from rtinterp.training.history import history_schema
from rtinterp.training.kept_steps import kept_until
from rtinterp.training.spec import RunSpec

#: Of spec.json, environment.json and run.json; ours have 1 to 3 KB.
MAX_JSON_BYTES = 2**16
MAX_HISTORY_BYTES = 2**26
#: Of the history: a float of up to 24 characters, or a step of 19 digits, and what divides it from the next.
HISTORY_CELL_BYTES = 25
#: Of a safetensors header: name, type, shape, offsets.
HEADER_BYTES_PER_TENSOR = 300
#: Frozen tensors are drawn again from the seed to verify a run, which takes time; GPT-2 XL has 6.
MAX_FROZEN_BYTES = 8 * GIB


def history_limit(spec: RunSpec) -> int:
    """The most bytes that the run's history can have."""
    n_rows = -(-spec.training.n_steps // spec.training.steps_per_evaluation)
    row_bytes = len(history_schema(spec.task)) * HISTORY_CELL_BYTES
    return min((1 + n_rows) * row_bytes, MAX_HISTORY_BYTES)


def trained_shapes(spec: RunSpec) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors that the run trains, by name.

    Raises:
        StoreError: the spec describes a model that no store opens.
    """
    check_size(spec)
    return {parameter.name: parameter.shape for parameter in spec.trained_parameters()}


def values_bytes(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """How many bytes the values of tensors of these shapes take."""
    return FLOAT32_BYTES * sum(math.prod(shape) for shape in shapes.values())


def tensors_limit(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """The most bytes that a safetensors file of tensors of these shapes can have."""
    return values_bytes(shapes) + HEADER_BYTES_PER_TENSOR * (1 + len(shapes))


def kept_shapes(spec: RunSpec, last_step: int) -> dict[str, tuple[int, ...]]:
    """The shapes of what a run has kept up to its last step: of every trained tensor, as ``kept/STEP/NAME``."""
    training, shapes = spec.training, trained_shapes(spec)
    steps = kept_until(training.kept_steps, training.n_steps, last_step)
    return {kept_name(step, name): shape for step in steps for name, shape in shapes.items()}


def kept_name(step: int, name: str) -> str:
    """The name of a trained tensor at a kept step, in a file."""
    return f"kept/{step}/{name}"


def check_size(spec: RunSpec) -> None:
    """Refuse a model with too much that would be drawn from its seed.

    Raises:
        StoreError: as said.
    """
    trained = {parameter.name for parameter in spec.trained_parameters()}
    frozen = parameter_bytes(p for p in spec.parameters() if p.name not in trained)
    if frozen > MAX_FROZEN_BYTES:
        raise StoreError(
            f"the spec describes {frozen / GIB:,.0f} GiB of frozen tensors (d_model={spec.model.d_model}, "
            f"n_layers={spec.model.n_layers}, d_vocab={spec.task.d_vocab}, n_ctx={spec.task.n_ctx}); a store opens "
            f"up to {MAX_FROZEN_BYTES // GIB} (rtinterp.store.sizes.MAX_FROZEN_BYTES)"
        )
