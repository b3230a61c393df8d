"""The GPT-2 block as a body."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Set
from typing import TYPE_CHECKING, ClassVar

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from rtinterp.models.body import Body
from rtinterp.models.layers import LAYER_NORM_EPS
from rtinterp.models.parameters import Parameter
from rtinterp.models.products import BatchSize, Stage
from rtinterp.models.transformer.architecture import WHEN_ABSENT, TransformerArchitecture
from rtinterp.models.transformer.gates import GATED, KEYS_PER_CHUNK
from rtinterp.models.transformer.parameters import body_parameters, embedding_parameters
from rtinterp.models.transformer.products import transformer_products
from rtinterp.models.transformer.stacked import StackedTransformer, stack_transformers
from rtinterp.strict import strict
from rtinterp.tasks import Task

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel


LABELS = {
    "softmax": "transformer",
    "prefix_sum": "linearised transformer",
    "linear": "transformer with linear attention",
    "linear_normalised": "transformer with normalised linear attention",
    "retention": "transformer with retention",
    "gated_linear": "transformer with gated linear attention",
    "random_mixing": "transformer with random mixing",
    "random_mixing_with_sink": "transformer with random mixing and a sink",
}


@strict(repr=False)
class ModelSpec(TransformerArchitecture, Body):
    __doc__ = TransformerArchitecture.__doc__

    name: ClassVar[str] = "transformer"

    def __repr__(self) -> str:
        """Leave out the younger fields that are as GPT-2 has them."""
        values = ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))
        told = [f"{name}={value!r}" for name, value in values if name not in WHEN_ABSENT or value != WHEN_ABSENT[name]]
        return f"{type(self).__name__}({', '.join(told)})"

    @property
    def label(self) -> str:
        return LABELS[self.attention]

    def parameters(self, d_vocab: int, n_ctx: int, d_vocab_out: int | None = None) -> tuple[Parameter, ...]:
        return (*embedding_parameters(self, d_vocab, n_ctx, d_vocab_out or d_vocab), *body_parameters(self, n_ctx))

    def stack(
        self,
        tensors: Mapping[str, Float[Tensor, "model ..."]],
        frozen: Set[str] = frozenset(),
        dtype: torch.dtype = torch.float32,
    ) -> StackedTransformer:
        return stack_transformers(self, tensors, frozen, dtype)

    def hooked(self, task: Task, tensors: Mapping[str, Float32[Tensor, ...]], device: str) -> HookedModel:
        from rtinterp.models.transformer.hooked import hooked_transformer

        return hooked_transformer(task, self, tensors, device)

    def check_can_read(self, task: Task) -> None:
        """Raise ValueError if the task's sequences are longer than what random mixing is drawn for."""
        if self.mixing_length is not None and task.sequence_length > self.mixing_length:
            raise ValueError(
                f"mixing_length={self.mixing_length} is less than the {task.sequence_length} positions of the task's "
                f"sequences; use {task.sequence_length} or more, or leave it out"
            )

    @property
    def widest_row(self) -> int:
        return self.d_mlp

    def widest_place(self, sequence_length: int) -> int:
        """Elements of the widest activation of a position in a sequence, which only attention sees."""
        if self.attention == GATED:
            # Queries for every chunk of keys are the widest of all in long sequences.
            return self.d_model * max(4, -(-sequence_length // KEYS_PER_CHUNK))
        return max(3 * self.d_model, self.n_heads * sequence_length)

    def products(self, size: BatchSize) -> tuple[Stage, ...]:
        return transformer_products(self, size)

    def gpt2_config(self) -> dict[str, object] | None:
        if not self.has_gpt2_blocks:
            return None
        return {
            "n_embd": self.d_model,
            "n_layer": self.n_layers,
            "n_head": self.n_heads,
            "n_inner": self.d_mlp,
            "activation_function": "gelu_new",
            "layer_norm_epsilon": LAYER_NORM_EPS,
        }
