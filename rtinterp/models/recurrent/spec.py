"""The stack of LSTM or RNN layers as a body."""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from typing import TYPE_CHECKING, ClassVar

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from rtinterp.models.body import Body
from rtinterp.models.initial_values import Normal, Uniform
from rtinterp.models.parameters import TOKEN_EMBEDDING, UNEMBEDDING, UNEMBEDDING_BIAS, Parameter, matrix, vector
from rtinterp.models.products import BatchSize, Stage
from rtinterp.models.recurrent.architecture import RecurrentArchitecture
from rtinterp.models.recurrent.stacked import StackedRecurrent, stack_recurrent
from rtinterp.strict import strict
from rtinterp.tasks import Task

if TYPE_CHECKING:
    from rtinterp.models.recurrent.hooked import HookedRecurrent

RECURRENCE = "recurrence"


@strict
class RecurrentSpec(RecurrentArchitecture, Body):
    __doc__ = RecurrentArchitecture.__doc__

    name: ClassVar[str] = "recurrent"
    own_groups: ClassVar[frozenset[str]] = frozenset({RECURRENCE})

    @property
    def label(self) -> str:
        return self.cell

    def parameters(self, d_vocab: int, n_ctx: int, d_vocab_out: int | None = None) -> tuple[Parameter, ...]:
        """Every parameter of the model, at the default values of torch.nn: Embedding, then LSTM or RNN, then Linear.

        Args:
            n_ctx: makes no difference; there is no positional embedding.
        """
        initial = Uniform(1 / math.sqrt(self.d_model))
        d_vocab_out = d_vocab_out or d_vocab
        return (
            matrix(TOKEN_EMBEDDING, (d_vocab, self.d_model), Normal(1.0)),
            matrix(UNEMBEDDING, (self.d_model, d_vocab_out), initial),
            vector(UNEMBEDDING_BIAS, (d_vocab_out,), initial),
            *(
                Parameter(f"layers.{layer}.{name}", shape, initial, RECURRENCE, decays=len(shape) == 2)
                for layer in range(self.n_layers)
                for name, shape in self.layer_shapes.items()
            ),
        )

    def stack(
        self,
        tensors: Mapping[str, Float[Tensor, "model ..."]],
        frozen: Set[str] = frozenset(),
        dtype: torch.dtype = torch.float32,
    ) -> StackedRecurrent:
        return stack_recurrent(self, tensors, dtype)

    def hooked(self, task: Task, tensors: Mapping[str, Float32[Tensor, ...]], device: str) -> HookedRecurrent:
        from rtinterp.models.recurrent.hooked import hooked_recurrent

        return hooked_recurrent(task, self, tensors, device)

    @property
    def widest_row(self) -> int:
        return self.n_gates * self.d_model

    def widest_place(self, sequence_length: int) -> int:
        return self.n_gates * self.d_model

    def products(self, size: BatchSize) -> tuple[Stage, ...]:
        """Layer 0's inputs once for each entry, all else at every place."""
        matrix = self.n_gates * self.d_model**2
        later = [Stage({RECURRENCE: size.n_places * matrix})] * (2 * self.n_layers - 1)
        return (Stage({RECURRENCE: size.n_entries * matrix}), *later)
