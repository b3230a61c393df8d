"""M recurrent networks of one shape in one forward pass: the loop over positions.

The arithmetic is that of ``torch.nn.LSTM`` and ``torch.nn.RNN``, which run one model at a time; tests hold them
together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rtinterp.models.layers import Affine, take_rows
from rtinterp.models.prefixes import Prefixes
from rtinterp.models.recurrent.architecture import Cell, RecurrentArchitecture


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
    """The layers of M models, laid out for batched matrix multiplication; states are float32."""

    layers: tuple[RecurrentLayer, ...]

    def shared(self, x: Float[Tensor, "model entry d_model"]) -> list[Float[Tensor, "model entry columns"]]:
        """What entries share: all that layer 0's gates get from the token."""
        return [self.layers[0].gates(x)]

    def scored_residual(
        self,
        shared: list[Float[Tensor, "model entry columns"]],
        prefixes: Prefixes,
        scored_positions: Int64[Tensor, "model batch scored"],
    ) -> Float[Tensor, "model scored_row d_model"]:
        """The last layer's hidden state at the scored positions.

        States at padding mean nothing and reach nothing: they come after a sequence's last scored position.
        """
        n_batch, n_pos = prefixes.row_at.shape[1:]
        entry_at = prefixes.entry_at.transpose(1, 2).flatten(1)
        hidden = self.layers[0].run(take_rows(shared[0], entry_at).unflatten(1, (n_pos, n_batch)))
        for layer in self.layers[1:]:
            hidden = layer.run(layer.gates(hidden.flatten(1, 2)).unflatten(1, (n_pos, n_batch)))
        sequence = torch.arange(n_batch, device=scored_positions.device)[:, None]
        return take_rows(hidden.flatten(1, 2), (scored_positions * n_batch + sequence).flatten(1))


def stack_layer(
    cell: Cell, tensors: Mapping[str, Float[Tensor, "model ..."]], dtype: torch.dtype = torch.float32
) -> RecurrentLayer:
    """Lay out one layer, by PyTorch's names."""
    bias = (tensors["bias_ih"] + tensors["bias_hh"]).unsqueeze(1)
    return RecurrentLayer(
        cell=cell,
        from_input=Affine(tensors["weight_ih"].transpose(1, 2), bias).to(dtype),
        from_hidden=Affine(tensors["weight_hh"].transpose(1, 2), None).to(dtype),
    )


def stack_recurrent(
    architecture: RecurrentArchitecture,
    tensors: Mapping[str, Float[Tensor, "model ..."]],
    dtype: torch.dtype = torch.float32,
) -> StackedRecurrent:
    """Lay out stacked parameters, by name, for the forward pass; differentiable.

    Args:
        dtype: of the layers' matrix products. States stay float32.
    """

    def layer(prefix: str) -> RecurrentLayer:
        of_layer = {name: tensors[f"{prefix}.{name}"] for name in architecture.layer_shapes}
        return stack_layer(architecture.cell, of_layer, dtype)

    return StackedRecurrent(tuple(layer(f"layers.{index}") for index in range(architecture.n_layers)))
