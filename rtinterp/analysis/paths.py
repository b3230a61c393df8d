"""Paths: what a head or an MLP changes through one reader of what it writes, and through nothing else.

A *sender* writes to the residual stream: the embedding, a head, an MLP. A *receiver* reads it: a head through its
queries, its keys or its values, an MLP, or the unembedding. An edge is patched by letting one receiver read what the
sender writes on another sequence, while it reads everything else, and everybody else reads the sender, as before; what
follows from the receiver's answer is computed in full (path patching, Goldowsky-Dill et al. 2023, arXiv 2304.05969).
The change is made before the receiver's norm, so that it is exact, not linearised.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import polars as pl
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rtinterp.analysis.ablations import Node, node_writes, nodes_of
from rtinterp.analysis.activations import activations_at
from rtinterp.analysis.circuits import Measure
from rtinterp.analysis.interventions import Intervention, intervene
from rtinterp.analysis.layer_parts import check_adds_up
from rtinterp.analysis.predictions import margins
from rtinterp.tasks import Batch

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel

#: What a head reads.
Input = Literal["q", "k", "v"]
#: The sender that is no node.
EMBEDDING = "embedding"
#: The receiver that is no node.
UNEMBEDDING = "unembedding"


class Receiver(NamedTuple):
    """What reads the residual stream: a head through one of its inputs, an MLP, or the unembedding if ``node`` is None.

    Attributes:
        input: of a head: its queries, keys or values; None for the others.
    """

    node: Node | None
    input: Input | None = None

    def __str__(self) -> str:
        return UNEMBEDDING if self.node is None else f"{self.node}{' ' + self.input.upper() if self.input else ''}"


def receivers_of(model: HookedModel) -> tuple[Receiver, ...]:
    """List what reads the residual stream of a transformer, in the order of the forward pass.

    Raises:
        ValueError: the model is not a transformer with heads.
    """
    receivers = [
        Receiver(node, input)
        for node in nodes_of(model)
        for input in ([None] if node.head is None else get_args(Input))
    ]
    return (*receivers, Receiver(None))


def reads(receiver: Receiver, sender: Node | None) -> bool:
    """Tell whether a receiver comes after a sender; the embedding, None, is before all."""
    if sender is None or receiver.node is None:
        return True
    if receiver.node.layer != sender.layer:
        return receiver.node.layer > sender.layer
    return receiver.node.head is None and sender.head is not None


def path(receiver: Receiver, change: Float[Tensor, "batch pos d_model"], n_layers: int) -> Intervention:
    """Let one receiver, and nothing else, read a residual stream that is changed.

    It takes effect within ``split_inputs(model)``, which gives every reader an input of its own.

    Args:
        change: what is added to the stream, such as the difference between what a sender writes on two sequences.
        n_layers: layers of the model.
    """

    def edit(read: Tensor, tokens: Tensor) -> Tensor:
        new = change[:, : read.shape[1]].to(read)
        if read.ndim == 3:
            return read + new
        assert receiver.node is not None
        assert receiver.node.head is not None
        changed = read.clone()
        changed[:, :, receiver.node.head] += new
        return changed

    if receiver.node is None:
        # After the last layer only the unembedding reads the stream.
        return Intervention(f"blocks.{n_layers - 1}.hook_resid_post", edit)
    name = "hook_mlp_in" if receiver.input is None else f"hook_{receiver.input}_input"
    return Intervention(f"blocks.{receiver.node.layer}.{name}", edit)


@contextlib.contextmanager
def split_inputs(model: HookedModel) -> Iterator[HookedModel]:
    """Give every head's queries, keys and values, and every MLP, an input of its own; afterwards it is as before."""
    cfg: Any = model.cfg
    before = {name: getattr(cfg, name) for name in ("use_split_qkv_input", "use_hook_mlp_in")}
    try:
        for name in before:
            setattr(cfg, name, True)
        yield model
    finally:
        for name, value in before.items():
            setattr(cfg, name, value)


@torch.no_grad()
def sender_changes(
    model: HookedModel, tokens: Int64[Tensor, "batch pos"], sources: Int64[Tensor, "batch pos"]
) -> Float[Tensor, "sender batch pos d_model"]:
    """Compute what every sender writes on the sources less what it writes on the tokens; the embedding is the first.

    Raises:
        ValueError: tokens and sources of two shapes, a model that is not a transformer with heads, or one whose body
            scales its residual stream.
    """
    if tokens.shape != sources.shape:
        raise ValueError(f"tokens have shape {list(tokens.shape)}, sources {list(sources.shape)}; pass pairs")
    check_adds_up(model)
    site = "blocks.0.hook_resid_pre"
    embedding = activations_at(model, sources, site) - activations_at(model, tokens, site)
    return torch.cat([embedding[None], node_writes(model, sources) - node_writes(model, tokens)])


@torch.no_grad()
def path_table(
    model: HookedModel, batch: Batch, sources: Int64[Tensor, "batch pos"], measure: Measure = margins
) -> pl.DataFrame:
    """Measure what every single edge carries: a row for every sender and every receiver after it.

    All pairs run at once, so pass a few hundred of them.

    Args:
        batch: clean sequences and what is expected of them.
        sources: a sequence for each, from which what is sent along one edge is taken.
        measure: averaged over the scored predictions; by default the logit difference from the strongest wrong answer.

    Returns:
        columns ``sender``, ``receiver`` (as they print), ``clean`` (the measure without a patch), ``patched`` and
        ``effect`` (patched less clean).

    Raises:
        ValueError: as ``sender_changes``; or nothing is scored.
    """
    if not batch.scored.any():
        raise ValueError("no position of the batch is scored; a task's sample() and test_set() score at least one")
    senders = [None, *nodes_of(model)]
    changes = sender_changes(model, batch.tokens, sources)
    expected = batch.scored_targets.to(changes.device)

    def measured() -> float:
        return measure(model(batch.tokens)[batch.scored.to(changes.device)], expected).double().mean().item()

    clean, rows = measured(), []
    with split_inputs(model):
        for sender, change in zip(senders, changes, strict=True):
            for receiver in receivers_of(model):
                if reads(receiver, sender):
                    with intervene(model, path(receiver, change, model.cfg.n_layers)):
                        patched = measured()
                    rows.append((str(sender or EMBEDDING), str(receiver), clean, patched, patched - clean))
    return pl.DataFrame(rows, schema=["sender", "receiver", "clean", "patched", "effect"], orient="row")
