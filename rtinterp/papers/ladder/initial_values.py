"""What a random transformer may start with, by name: GPT-2's initial values, and two departures from them."""

from __future__ import annotations

from typing import Any

from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.training.spec import RunSpec

GPT2 = "GPT-2"
INITIAL_VALUES: dict[str, dict[str, Any]] = {
    GPT2: {},
    "wide queries and keys": {"qk_init_std": "inverse_sqrt_width"},
    "no residual scaling": {"init": "normal"},
}


def transformer(width: int, n_layers: int, name: str = GPT2) -> ModelSpec:
    """Return a transformer that starts so."""
    return ModelSpec(width, n_layers, **INITIAL_VALUES[name])


def name_of(spec: RunSpec) -> str:
    """Name what the transformer of a run starts with.

    Raises:
        KeyError: none of these, or the body is no transformer.
    """
    model = spec.model
    for name in INITIAL_VALUES:
        if model == transformer(model.d_model, model.n_layers, name):
            return name
    raise KeyError(f"{spec.run_id} starts with none of {', '.join(INITIAL_VALUES)}")
