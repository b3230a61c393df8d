"""M recurrent networks of one shape in one forward pass: their parameters, and the loop over positions.

The arithmetic is that of ``torch.nn.LSTM`` and ``torch.nn.RNN``, which run one model at a time; tests hold them
together.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Set

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rtinterp.models.layers import Affine, take_rows
from rtinterp.models.parameters import TOKEN_EMBEDDING, UNEMBEDDING, UNEMBEDDING_BIAS, Parameter, matrix
from rtinterp.models.prefixes import Entries, Prefixes
from rtinterp.models.recurrent.spec import Cell, RecurrentSpec


@dataclasses.dataclass(frozen=True)
class RecurrentLayer:
    """One layer of M models. Gates stand side by side in PyTorch's order: input, forget, cell, output."""

    cell: Cell
    from_input: Affine
    from_hidden: Affine

    def gates(self, x: Float[Tensor, "model row d_model"]) -> Float[Tensor, "model row gates"]:
        """What inputs add to the gates, both biases included; float32 whatever the precision of the product."""
        return self.from_input(x).float()

    def run(self, gates: Float[Tensor, "model pos batch gates"]) -> Float[Tensor, "model pos batch d_model"]:
        """Hidden states at every position, from what the inputs add to the gates. States start at zero."""
        first, *later = gates.unbind(1)
        hidden, memory = self._states(first, torch.zeros_like(first[..., : self.from_hidden.weight.shape[1]]))
        hidden_at = [hidden]
        for from_input in later:
            hidden, memory = self._states(self.from_hidden.added_to(from_input, hidden), memory)
            hidden_at.append(hidden)
        return torch.stack(hidden_at, 1)

    def _states(
        self, gates: Float[Tensor, "model batch gates"], memory: Float[Tensor, "model batch d_model"]
    ) -> tuple[Float[Tensor, "model batch d_model"], Float[Tensor, "model batch d_model"]]:
        """Hidden state and an LSTM's cell state after a position, from its gates and the cell state before."""
        if self.cell == "rnn":
            return gates.tanh(), memory
        write, keep, candidate, read = gates.chunk(4, -1)
        memory = keep.sigmoid() * memory + write.sigmoid() * candidate.tanh()
        return read.sigmoid() * memory.tanh(), memory


@dataclasses.dataclass(frozen=True)
class StackedRecurrent:
    """The weights of M models, laid out for batched matrix multiplication; embeddings and states are float32."""

    W_E: Float[Tensor, "model d_vocab d_model"]
    layers: tuple[RecurrentLayer, ...]
    W_U: Float[Tensor, "model d_model d_vocab"]
    b_U: Float[Tensor, "model d_vocab"]

    @property
    def unembedding(self) -> Affine:
        """Made at each use: a layout of frozen weights is kept while the bias trains."""
        return Affine(self.W_U, self.b_U.unsqueeze(1))

    def embed(self, entries: Entries) -> list[Float[Tensor, "model entry columns"]]:
        """What entries share: all that the first layer's gates get from the token."""
        return [self.layers[0].gates(take_rows(self.W_E, entries.tokens))]

    def scored_residual(
        self,
        embedded: list[Float[Tensor, "model entry columns"]],
        prefixes: Prefixes,
        scored_positions: Int64[Tensor, "model batch scored"],
    ) -> Float[Tensor, "model scored_row d_model"]:
        """The last layer's hidden state at the scored positions.

        States at padding mean nothing and reach nothing: they come after a sequence's last scored position.
        """
        n_batch, n_pos = prefixes.row_at.shape[1:]
        entry_at = prefixes.entry_at.transpose(1, 2).flatten(1)
        hidden = self.layers[0].run(take_rows(embedded[0], entry_at).unflatten(1, (n_pos, n_batch)))
        for layer in self.layers[1:]:
            hidden = layer.run(layer.gates(hidden.flatten(1, 2)).unflatten(1, (n_pos, n_batch)))
        sequence = torch.arange(n_batch, device=scored_positions.device)[:, None]
        return take_rows(hidden.flatten(1, 2), (scored_positions * n_batch + sequence).flatten(1))


def recurrent_parameters(spec: RecurrentSpec, d_vocab: int, n_ctx: int) -> tuple[Parameter, ...]:
    """Every parameter of the model, at the default values of torch.nn: Embedding, then LSTM or RNN, then Linear.

    Args:
        n_ctx: makes no difference; there is no positional embedding.
    """
    bound = 1 / math.sqrt(spec.d_model)
    return (
        matrix(TOKEN_EMBEDDING, (d_vocab, spec.d_model), std=1.0),
        Parameter(UNEMBEDDING, (spec.d_model, d_vocab), bound=bound, decays=True),
        Parameter(UNEMBEDDING_BIAS, (d_vocab,), bound=bound),
        *(
            Parameter(f"layers.{layer}.{name}", shape, bound=bound, decays=len(shape) == 2)
            for layer in range(spec.n_layers)
            for name, shape in layer_shapes(spec).items()
        ),
    )


def layer_shapes(spec: RecurrentSpec) -> dict[str, tuple[int, ...]]:
    """Of one layer's parameters, under PyTorch's names: ``[gates, d_model]`` and ``[gates]``."""
    n_gates = spec.n_gates * spec.d_model
    matrices, biases = (n_gates, spec.d_model), (n_gates,)
    return {"weight_ih": matrices, "weight_hh": matrices, "bias_ih": biases, "bias_hh": biases}


def stack_layer(
    spec: RecurrentSpec, tensors: Mapping[str, Float[Tensor, "model ..."]], dtype: torch.dtype = torch.float32
) -> RecurrentLayer:
    """Lay out one layer, by PyTorch's names."""
    bias = (tensors["bias_ih"] + tensors["bias_hh"]).unsqueeze(1)
    return RecurrentLayer(
        cell=spec.cell,
        from_input=Affine(tensors["weight_ih"].transpose(1, 2), bias).to(dtype),
        from_hidden=Affine(tensors["weight_hh"].transpose(1, 2), None).to(dtype),
    )


def stack_recurrent(
    spec: RecurrentSpec,
    tensors: Mapping[str, Float[Tensor, "model ..."]],
    frozen: Set[str] = frozenset(),
    dtype: torch.dtype = torch.float32,
) -> StackedRecurrent:
    """Lay out stacked parameters, by name, for the forward pass; differentiable.

    Args:
        frozen: makes no difference; no initial value is one that could be left out.
        dtype: of the layers' matrix products. Embeddings, states and logits stay float32.
    """

    def layer(prefix: str) -> RecurrentLayer:
        return stack_layer(spec, {name: tensors[f"{prefix}.{name}"] for name in layer_shapes(spec)}, dtype)

    return StackedRecurrent(
        W_E=tensors[TOKEN_EMBEDDING],
        layers=tuple(layer(f"layers.{index}") for index in range(spec.n_layers)),
        W_U=tensors[UNEMBEDDING],
        b_U=tensors[UNEMBEDDING_BIAS],
    )
