"""Ablations: what stands in the place of what a head or an MLP writes to the residual stream.

The nodes of a transformer are its heads and MLPs. What an ablated node writes is replaced, position by position, by the
mean over positions of the same role (``MeanAblation``), by what it writes on another sequence (``ResampleAblation``),
or by what is given (``GivenAblation``). How much a node seems to matter hinges on this choice, so state it beside every
number. A mean over positions that hold different things is a vector that the model never sees: take it by role.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rtinterp.analysis.activations import means_by_role
from rtinterp.analysis.batches import TokenBatches, each_tokens
from rtinterp.analysis.layer_parts import factors_of
from rtinterp.models.transformer.multipliers import times

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel


class Node(NamedTuple):
    """A head of a layer, or the layer's MLP where ``head`` is None."""

    layer: int
    head: int | None

    def __str__(self) -> str:
        return f"L{self.layer} MLP" if self.head is None else f"L{self.layer}H{self.head}"


class Ablation(Protocol):
    """What stands in the place of what ablated nodes write."""

    def writes(
        self, model: HookedModel, tokens: Int64[Tensor, "batch pos"], rows: slice
    ) -> Float[Tensor, "node batch pos d_model"]:
        """Replacements for every node, on the sequences ``rows`` of a batch, which are ``tokens``."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class MeanAblation:
    """The mean of what a node writes at positions of the same role.

    Attributes:
        means: for every node and role, as ``mean_ablation`` measures them.
        roles: the role of every position, from 0; such as ``task.roles``.
    """

    means: Float[Tensor, "node role d_model"]
    roles: Callable[[Int64[Tensor, "batch pos"]], Int64[Tensor, "batch pos"]]

    def writes(
        self, model: HookedModel, tokens: Int64[Tensor, "batch pos"], rows: slice
    ) -> Float[Tensor, "node batch pos d_model"]:
        return self.means[:, self.roles(tokens).to(self.means.device)]


@dataclasses.dataclass(frozen=True, eq=False)
class ResampleAblation:
    """What a node writes, undisturbed, at the same position of another sequence.

    Attributes:
        sources: the other sequence of each sequence of the batch.
    """

    sources: Int64[Tensor, "batch pos"]

    def writes(
        self, model: HookedModel, tokens: Int64[Tensor, "batch pos"], rows: slice
    ) -> Float[Tensor, "node batch pos d_model"]:
        sources = self.sources[rows, : tokens.shape[1]]
        if sources.shape != tokens.shape:
            raise ValueError(
                f"the sources have shape {list(self.sources.shape)}; a resample ablation needs one for every sequence "
                f"of the batch, of at least {tokens.shape[1]} positions"
            )
        return node_writes(model, sources)


@dataclasses.dataclass(frozen=True, eq=False)
class GivenAblation:
    """What is given for every node and position: zero, what is drawn by role, or anything else.

    Attributes:
        values: of the sequences of the batch.
    """

    values: Float[Tensor, "node batch pos d_model"]

    def writes(
        self, model: HookedModel, tokens: Int64[Tensor, "batch pos"], rows: slice
    ) -> Float[Tensor, "node batch pos d_model"]:
        values = self.values[:, rows, : tokens.shape[1]]
        n_nodes = len(nodes_of(model))
        if values.shape[:3] != (n_nodes, *tokens.shape):
            raise ValueError(
                f"the values have shape {list(self.values.shape)}; this ablation needs them for each of {n_nodes} "
                f"nodes, every sequence of the batch, and at least {tokens.shape[1]} positions"
            )
        return values


def nodes_of(model: HookedModel) -> tuple[Node, ...]:
    """List the heads and MLPs of a transformer, in the order of the forward pass.

    Raises:
        ValueError: the model is not a transformer with heads.
    """
    if "blocks.0.attn.hook_z" not in model.hook_dict:
        raise ValueError(f"{type(model).__name__} has no attention heads; pass a transformer")
    cfg: Any = model.cfg
    return tuple(Node(layer, head) for layer in range(cfg.n_layers) for head in (*range(cfg.n_heads), None))


@torch.no_grad()
def node_writes(model: HookedModel, tokens: Int64[Tensor, "batch pos"]) -> Float[Tensor, "node batch pos d_model"]:
    """Compute what every node adds to the residual stream; of heads without their common bias b_O.

    Raises:
        ValueError: the model is not a transformer with heads.
    """
    nodes = nodes_of(model)
    wanted = ("attn.hook_z", "hook_mlp_out")
    _, cache = model.run_with_cache(tokens, names_filter=lambda name: name.endswith(wanted))
    writes: list[Tensor] = []
    for layer in range(model.cfg.n_layers):
        writes += head_writes(model, layer, cache[f"blocks.{layer}.attn.hook_z"]).unbind(2)
        writes.append(cache[f"blocks.{layer}.hook_mlp_out"])
    assert len(writes) == len(nodes)
    return torch.stack(writes)


@torch.no_grad()
def mean_ablation(
    model: HookedModel,
    batches: TokenBatches,
    roles: Callable[[Int64[Tensor, "batch pos"]], Int64[Tensor, "batch pos"]],
    n_roles: int,
) -> MeanAblation:
    """Measure the means of what every node writes, by the role of the position; zero for roles that never come up.

    Args:
        batches: one or several, or their tokens, of the training stream and of any sizes; they are weighted by the
            positions they have.
        roles: the role of every position, from 0 to ``n_roles - 1``.

    Raises:
        ValueError: no batch, roles out of range, or a model without heads.
    """
    total, counts = None, torch.zeros(n_roles)
    for tokens in each_tokens(batches):
        of_batch = roles(tokens)
        n_each = torch.bincount(of_batch.flatten(), minlength=n_roles).float().cpu()
        means = torch.stack([means_by_role(writes, of_batch, n_roles) for writes in node_writes(model, tokens)])
        sums = means * n_each.to(means)[:, None]
        total = sums if total is None else total + sums
        counts += n_each
    if total is None:
        raise ValueError("batches is empty; pass at least one of tokens")
    return MeanAblation(total / counts.clamp(min=1).to(total)[:, None], roles)


def head_writes(
    model: Any, layer: int, z: Float[Tensor, "batch pos head d_head"]
) -> Float[Tensor, "batch pos head d_model"]:
    """Compute what each head of a layer writes of what it has gathered, without the common bias b_O."""
    writes = torch.einsum("bphd,hdm->bphm", z, model.blocks[layer].attn.W_O)
    return times(factors_of(model, layer).attn_out, writes)
