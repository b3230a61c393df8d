"""A recurrent model with TransformerLens's hook points. Importing this takes seconds, for transformer_lens."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn
from transformer_lens import HookedRootModule
from transformer_lens.hook_points import HookPoint

from rtinterp.models.hooked_embedding import HookedEmbed
from rtinterp.models.loading import load_exactly
from rtinterp.models.recurrent.architecture import Cell, RecurrentArchitecture
from rtinterp.models.recurrent.stacked import stack_layer
from rtinterp.tasks import Task


@dataclasses.dataclass(frozen=True)
class HookedRecurrentConfig:
    """Sizes, under the names that they have in a HookedTransformer's ``cfg``.

    Attributes:
        n_ctx: the task's; the model itself takes sequences of any length.
    """

    d_model: int
    n_layers: int
    d_vocab: int
    d_vocab_out: int
    n_ctx: int


class HookedRecurrent(HookedRootModule):
    """An LSTM or RNN between embeddings, for ``run_with_cache`` and ``run_with_hooks``; parameters start as zeros.

    Hook points: ``hook_embed`` and ``layers.{l}.hook_hidden``, the hidden states that the next layer or the unembedding
    reads, both [batch pos d_model]. A layer has run over all positions when its hook is called, so a change there
    reaches the layers above and not the later states of its own layer.
    """

    def __init__(self, architecture: RecurrentArchitecture, d_vocab: int, n_ctx: int, d_vocab_out: int) -> None:
        super().__init__()
        self.cfg = HookedRecurrentConfig(architecture.d_model, architecture.n_layers, d_vocab, d_vocab_out, n_ctx)
        self.embed = HookedEmbed(d_vocab, architecture.d_model)
        self.hook_embed = HookPoint()
        self.layers = nn.ModuleList(HookedLayer(architecture) for _ in range(architecture.n_layers))
        self.unembed = nn.ParameterDict(
            {"W_U": torch.zeros(architecture.d_model, d_vocab_out), "b_U": torch.zeros(d_vocab_out)}
        )
        self.setup()

    @property
    def W_E(self) -> Float[Tensor, "d_vocab d_model"]:
        return self.embed.W_E

    @property
    def W_U(self) -> Float[Tensor, "d_model d_vocab_out"]:
        return self.unembed["W_U"]

    @property
    def b_U(self) -> Float[Tensor, " d_vocab_out"]:
        return self.unembed["b_U"]

    def forward(
        self, input: Int64[Tensor, "batch pos"] | Float[Tensor, "batch pos d_vocab"], stop_at_layer: int | None = None
    ) -> Float[Tensor, "batch pos d_vocab_out"] | Float[Tensor, "batch pos d_model"]:
        """Logits at every position of tokens or real-valued vectors, or what the layer ``stop_at_layer`` would read."""
        x = self.hook_embed(self.embed(input))
        for layer in self.layers[:stop_at_layer]:
            x = layer(x)
        return x @ self.W_U + self.b_U if stop_at_layer is None else x


class HookedLayer(nn.Module):
    """One LSTM or RNN layer, its parameters under PyTorch's names."""

    def __init__(self, architecture: RecurrentArchitecture) -> None:
        super().__init__()
        self.cell: Cell = architecture.cell
        for name, shape in architecture.layer_shapes.items():
            self.register_parameter(name, nn.Parameter(torch.zeros(shape)))
        self.hook_hidden = HookPoint()

    def forward(self, x: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos d_model"]:
        """Hidden states at every position."""
        n_batch, n_pos, _ = x.shape
        layer = stack_layer(self.cell, {name: p.unsqueeze(0) for name, p in self.named_parameters(recurse=False)})
        gates = layer.gates(x.transpose(0, 1).flatten(0, 1).unsqueeze(0))
        hidden = layer.run(gates.unflatten(1, (n_pos, n_batch))).squeeze(0)
        return self.hook_hidden(hidden.transpose(0, 1))


def hooked_recurrent(
    task: Task, architecture: RecurrentArchitecture, tensors: Mapping[str, Float32[Tensor, ...]], device: str = "cpu"
) -> HookedRecurrent:
    """A HookedRecurrent with exactly these tensors, by name.

    Raises:
        ValueError: the tensors are not those of the model.
    """
    model = HookedRecurrent(architecture, task.d_vocab, task.n_ctx, task.d_vocab_out)
    load_exactly(model, tensors)
    return model.to(device).eval()
