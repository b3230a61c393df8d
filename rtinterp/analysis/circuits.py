"""Circuits: what subsets of a transformer's heads and MLPs can do, measured for all of them.

Of a subset of the nodes, those in it run, each on what the nodes before it have written, and the others are ablated.
Two layers of four heads are ten nodes and 1,024 subsets, few enough to run them all, so that nothing has to be searched
for.

Subsets that agree on the first layers share them, and the last layer computes scored predictions only: all subsets cost
as much as some dozens of forward passes.

A subset is a number whose bit i says whether node i is in it; nodes count in the order of the forward pass, as
``nodes_of`` lists them: the heads of layer 0, its MLP, the heads of layer 1, ... ``circuit_values`` reads what
``subset_values`` returns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from rtinterp.analysis.ablations import Ablation, head_writes, nodes_of
from rtinterp.analysis.layer_parts import after_mlp, check_plain, factors_of, gathered, kept, logits_of
from rtinterp.analysis.predictions import is_right
from rtinterp.analysis.slices import ACTIVATIONS_PER_SLICE
from rtinterp.models.transformer.multipliers import times
from rtinterp.tasks import Batch

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel

#: More nodes have too many subsets.
MAX_NODES = 16

#: A number for every prediction, from its logits and what is expected: ``is_right``, ``nats`` or ``margins``.
Measure: TypeAlias = Callable[[Float[Tensor, "prediction d_vocab_out"], Tensor], Tensor]


@torch.no_grad()
def subset_values(
    model: HookedModel, batch: Batch, ablation: Ablation, measure: Measure = is_right
) -> Float64[Tensor, " subset"]:
    """Measure what every subset of the nodes can do, averaged over the scored predictions of a batch.

    The last value is that of the intact model, the first that of none.

    Args:
        ablation: what replaces the writes of nodes that are not in the subset.
        measure: ``is_right`` (accuracy), ``nats`` (cross-entropy), ``margins`` (logit difference), or one of your own.

    Raises:
        ValueError: nothing is scored, more than 16 nodes, or a model that is not a transformer with heads, or that has
            hooks.
    """
    check_plain(model)
    nodes = nodes_of(model)
    if len(nodes) > MAX_NODES:
        raise ValueError(f"{len(nodes)} nodes have 2^{len(nodes)} subsets; at most {MAX_NODES} nodes are measured")
    if not batch.scored.any():
        raise ValueError("no position of the batch is scored; a task's sample() and test_set() score at least one")
    n_pos = int(batch.scored.any(dim=0).nonzero().max()) + 1
    totals = torch.zeros(2 ** len(nodes), dtype=torch.float64)
    n_rows = _rows_per_pass(model, batch.scored[:, :n_pos], len(nodes))
    for start in range(0, len(batch), n_rows):
        rows = slice(start, start + n_rows)
        tokens, part = batch.tokens[rows, :n_pos], batch[rows]
        scored = part.scored[:, :n_pos].to(model.W_E.device)
        if not scored.any():
            continue
        ablated = ablation.writes(model, tokens, rows).to(model.W_E)
        expected = part.scored_targets.to(model.W_E.device)
        residual = model(tokens, stop_at_layer=0)
        for subsets, logits in _subsets(model, 0, residual, ablated, scored):
            of_each = [measure(predictions, expected).double().sum() for predictions in logits]
            totals[subsets] += torch.stack(of_each).cpu()
    return totals / int(batch.scored.sum())


def _subsets(
    model: Any,
    layer: int,
    residual: Float[Tensor, "batch pos d_model"],
    ablated: Float[Tensor, "node batch pos d_model"],
    scored: Bool[Tensor, "batch pos"],
) -> Iterator[tuple[Int64[Tensor, " subset"], Float[Tensor, "subset prediction d_vocab_out"]]]:
    """The subsets of the nodes from a layer on, as they count among all nodes, with their logits at scored positions.

    Args:
        ablated: the replacements of these nodes.
    """
    heads, mlp = ablated[: model.cfg.n_heads], ablated[model.cfg.n_heads]
    first = layer * (model.cfg.n_heads + 1)
    is_last = layer == model.cfg.n_layers - 1
    writes = head_writes(model, layer, gathered(model, layer, residual)).movedim(2, 0)
    bias = times(factors_of(model, layer).attn_out, model.blocks[layer].attn.b_O)
    residual = kept(model, layer, residual) + bias
    if is_last:
        heads, mlp, writes, residual = heads[:, scored], mlp[scored], writes[:, scored], residual[scored]
    mids = _sums(residual + heads.sum(0), writes - heads)
    if is_last:
        stacked = torch.stack(mids)
        posts = torch.cat([kept(model, layer, stacked) + mlp, after_mlp(model, layer, stacked)])
        yield torch.arange(len(posts)) << first, logits_of(model, posts)
        return
    after = ablated[model.cfg.n_heads + 1 :]
    for has_mlp in (False, True):
        for of_heads, mid in enumerate(mids):
            bits = (of_heads | has_mlp << model.cfg.n_heads) << first
            post = after_mlp(model, layer, mid) if has_mlp else kept(model, layer, mid) + mlp
            for subsets, logits in _subsets(model, layer + 1, post, after, scored):
                yield subsets | bits, logits


def _sums(start: Float[Tensor, "*shape"], terms: Float[Tensor, "term ..."]) -> list[Float[Tensor, "*shape"]]:
    """The sums of all subsets of some terms, in the order of the numbers whose bits are the subsets."""
    sums = [start]
    for term in terms:
        sums += [total + term for total in sums]
    return sums


def _rows_per_pass(model: Any, scored: Bool[Tensor, "batch pos"], n_nodes: int) -> int:
    """As many sequences as keep the largest tensor small: the writes of all nodes, or the MLPs of the last layer."""
    cfg, (_, n_pos) = model.cfg, scored.shape
    n_scored = int(scored.sum(dim=1).max())
    of_nodes = n_nodes * n_pos * cfg.d_model
    of_subsets = n_scored * 2**cfg.n_heads * max(cfg.d_mlp, 2 * cfg.d_model, 2 * cfg.d_vocab_out)
    return max(1, ACTIVATIONS_PER_SLICE // max(of_nodes, of_subsets, n_pos * cfg.d_mlp))
