"""The architecture of a recurrent network between embeddings, as data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rtinterp.strict import strict

Cell = Literal["lstm", "rnn"]

#: Vectors of length d_model that a cell computes from its input and its last state.
N_GATES: dict[Cell, int] = {"lstm": 4, "rnn": 1}


@strict
class RecurrentArchitecture:
    """A stack of LSTM or RNN layers as PyTorch has them, starting from its default values (baseline of paper table 1).

    Attributes:
        d_model: width of embeddings and hidden states.
        cell: "lstm", or "rnn" for a plain recurrent network with tanh.

    Raises:
        ValueError: a value is out of range.
    """

    d_model: Annotated[int, Field(ge=1)]
    n_layers: Annotated[int, Field(ge=1)] = 2
    cell: Cell = "lstm"

    @property
    def n_gates(self) -> int:
        return N_GATES[self.cell]

    @property
    def layer_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of one layer's parameters, under PyTorch's names: ``[gates, d_model]`` and ``[gates]``."""
        n_gates = self.n_gates * self.d_model
        matrices, biases = (n_gates, self.d_model), (n_gates,)
        return {"weight_ih": matrices, "weight_hh": matrices, "bias_ih": biases, "bias_hh": biases}
