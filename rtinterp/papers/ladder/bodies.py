"""The bodies that are compared, by name, at a width."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from rtinterp.models.body import Body
from rtinterp.models.mamba.spec import MambaSpec
from rtinterp.models.recurrent.spec import RecurrentSpec
from rtinterp.models.s4d.spec import S4DSpec
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.registry import UnknownNameError

SOFTMAX = "softmax"

#: All have two layers, and else the defaults of their kind.
BODIES: dict[str, Callable[[int], Body]] = {
    SOFTMAX: lambda width: ModelSpec(width),
    "wide_qk": lambda width: ModelSpec(width, qk_init_std="inverse_sqrt_width"),
    "linear": lambda width: ModelSpec(width, attention="linear"),
    "linear_normalised": lambda width: ModelSpec(width, attention="linear_normalised"),
    "retention": lambda width: ModelSpec(width, attention="retention"),
    "gated_linear": lambda width: ModelSpec(width, attention="gated_linear"),
    "lstm": lambda width: RecurrentSpec(width),
    "mamba": lambda width: MambaSpec(width),
    "s4d": lambda width: S4DSpec(width),
}

#: Names in words.
TOLD = {
    SOFTMAX: "softmax",
    "wide_qk": "softmax, wide QK",
    "linear": "linear",
    "linear_normalised": "normalised linear",
    "retention": "retention",
    "gated_linear": "gated linear",
    "lstm": "LSTM",
    "mamba": "Mamba",
    "s4d": "S4D",
}


def body_of(name: str, width: int) -> Body:
    """Return the body of that name at a width.

    Raises:
        UnknownNameError: there is none.
        ValueError: it cannot be of this width.
    """
    if name not in BODIES:
        raise UnknownNameError("body", name, BODIES)
    return BODIES[name](width)


def kind_of(body: Body) -> str:
    """Name a body as ``BODIES`` does, whatever its width and depth; one that is not among them by its label."""
    for name in BODIES:
        named: Any = body_of(name, body.d_model)
        if body == dataclasses.replace(named, n_layers=body.n_layers):
            return name
    return body.label
