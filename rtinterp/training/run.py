"""A finished run: what was trained, how it went, and the model that comes of it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING

import polars as pl
from jaxtyping import Float
from torch import Tensor

from rtinterp.models.build import hooked_model
from rtinterp.models.initialisation import initialise
from rtinterp.training.environment import Environment
from rtinterp.training.spec import RunSpec

if TYPE_CHECKING:
    from transformer_lens import HookedRootModule


@dataclasses.dataclass(frozen=True)
class Run:
    """One trained model. A random transformer is its seed plus its embeddings, so only those are held.

    Attributes:
        trained: final value of every trained tensor, by TransformerLens name, on the CPU; leaves where the spec has a
            parametrisation.
        history: one row per evaluation: ``step`` (finished optimiser steps), ``train_loss`` (nats, mean since the row
            before), ``test_loss`` (nats), ``test_accuracy`` (in [0, 1]).
        fingerprint: hash of the frozen tensors.
        environment: what it ran on, and for how long.
    """

    spec: RunSpec
    trained: Mapping[str, Float[Tensor, ...]]
    history: pl.DataFrame
    fingerprint: str
    environment: Environment

    @property
    def test_accuracy(self) -> float:
        """Fraction of scored test predictions that are right after the last step, in [0, 1]."""
        return self.history["test_accuracy"][-1]

    @property
    def test_loss(self) -> float:
        """Mean loss of the scored test predictions after the last step, in nats."""
        return self.history["test_loss"][-1]

    @functools.cached_property
    def model(self) -> HookedRootModule:
        """The trained model with hook points, built at first use."""
        return hooked_model(self.spec.task, self.spec.model, self.tensors())

    @functools.cached_property
    def initial_model(self) -> HookedRootModule:
        """The same model before training, built at first use."""
        initial = self.spec.model_tensors(initialise(self.spec.parameters(), self.spec.seed))
        return hooked_model(self.spec.task, self.spec.model, initial)

    def tensors(self) -> dict[str, Float[Tensor, ...]]:
        """Every parameter of the trained model: the frozen ones from the seed, the trained ones as they ended."""
        frozen = (parameter for parameter in self.spec.parameters() if parameter.name not in self.trained)
        return dict(self.spec.model_tensors({**initialise(frozen, self.spec.seed), **self.trained}))

    def __repr__(self) -> str:
        return f"Run({self.spec.run_id}, test_accuracy={self.test_accuracy:.4f})"
