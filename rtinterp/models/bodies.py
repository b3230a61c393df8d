"""What lies between the embeddings, as one small interface: a spec, its parameters, and a stacked forward pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Set
from typing import TYPE_CHECKING, Protocol, TypeAlias

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from rtinterp.models.layers import Affine
from rtinterp.models.parameters import Parameter, transformer_parameters
from rtinterp.models.prefixes import Entries, Prefixes
from rtinterp.models.recurrent.spec import RecurrentSpec
from rtinterp.models.recurrent.stacked import recurrent_parameters, stack_recurrent
from rtinterp.models.regimes import Trainable, is_trained
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.models.transformer.stacked import stack_transformers

if TYPE_CHECKING:
    from transformer_lens import HookedTransformer

    from rtinterp.models.recurrent.hooked import HookedRecurrent
    from rtinterp.tasks import Task

#: Each has ``name``, ``d_model``, ``n_layers``, ``widest_row`` and ``widest_place``.
BodySpec: TypeAlias = ModelSpec | RecurrentSpec


class StackedModel(Protocol):
    """The forward pass of M models of one spec; see ``StackedTransformer``."""

    W_E: Float[Tensor, "model d_vocab d_model"]
    unembedding: Affine

    def embed(self, entries: Entries) -> list[Float[Tensor, "model entry columns"]]:
        """What every occurrence of a token at a position shares."""

    def scored_residual(
        self,
        embedded: list[Float[Tensor, "model entry columns"]],
        prefixes: Prefixes,
        scored_positions: Int64[Tensor, "model batch scored"],
    ) -> Float[Tensor, "model scored_row d_model"]:
        """What the unembedding reads at the scored positions."""


@dataclasses.dataclass(frozen=True)
class Body:
    """All that the rest of the package asks of a kind of body.

    Attributes:
        parameters: of a spec, a vocabulary size and a context length.
        stack: from stacked tensors by name, the frozen names and the precision to a forward pass.
        hooked: from a task and tensors by name to a module with hook points, on a device. Imports what it needs itself.
    """

    parameters: Callable[[BodySpec, int, int], tuple[Parameter, ...]]
    stack: Callable[[BodySpec, Mapping[str, Float[Tensor, "model ..."]], Set[str], torch.dtype], StackedModel]
    hooked: Callable[[Task, BodySpec, Mapping[str, Float32[Tensor, ...]], str], HookedTransformer | HookedRecurrent]


def _hooked_transformer(
    task: Task, spec: ModelSpec, tensors: Mapping[str, Float32[Tensor, ...]], device: str
) -> HookedTransformer:
    from rtinterp.models.transformer.hooked import hooked_transformer

    return hooked_transformer(task, spec, tensors, device)


def _hooked_recurrent(
    task: Task, spec: RecurrentSpec, tensors: Mapping[str, Float32[Tensor, ...]], device: str
) -> HookedRecurrent:
    from rtinterp.models.recurrent.hooked import hooked_recurrent

    return hooked_recurrent(task, spec, tensors, device)


BODIES: dict[type, Body] = {
    ModelSpec: Body(transformer_parameters, stack_transformers, _hooked_transformer),
    RecurrentSpec: Body(recurrent_parameters, stack_recurrent, _hooked_recurrent),
}

#: By the name that stands in a stored spec.
BODY_SPECS: dict[str, type] = {spec.name: spec for spec in BODIES}


def model_parameters(spec: BodySpec, d_vocab: int, n_ctx: int) -> tuple[Parameter, ...]:
    """Every parameter of the model: the embeddings and the body."""
    return BODIES[type(spec)].parameters(spec, d_vocab, n_ctx)


def trained_parameters(spec: BodySpec, d_vocab: int, n_ctx: int, trainable: Trainable) -> tuple[Parameter, ...]:
    """Those that train under a regime."""
    return tuple(p for p in model_parameters(spec, d_vocab, n_ctx) if p.trains and is_trained(p.name, trainable))


def stack_models(
    spec: BodySpec,
    tensors: Mapping[str, Float[Tensor, "model ..."]],
    frozen: Set[str] = frozenset(),
    dtype: torch.dtype = torch.float32,
) -> StackedModel:
    """Lay out stacked parameters for the forward pass; see ``stack_transformers``."""
    return BODIES[type(spec)].stack(spec, tensors, frozen, dtype)


def hooked_model(
    task: Task, spec: BodySpec, tensors: Mapping[str, Float32[Tensor, ...]], device: str = "cpu"
) -> HookedTransformer | HookedRecurrent:
    """A module with hook points and exactly these tensors, by name."""
    return BODIES[type(spec)].hooked(task, spec, tensors, device)
