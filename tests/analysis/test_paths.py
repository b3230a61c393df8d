from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from rtinterp.analysis.ablations import Node, nodes_of
from rtinterp.analysis.activations import activations_at
from rtinterp.analysis.interventions import intervene
from rtinterp.analysis.paths import (
    Receiver,
    path,
    path_table,
    reads,
    receivers_of,
    sender_changes,
    split_inputs,
)
from rtinterp.analysis.predictions import margins
from rtinterp.tasks import Batch

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel

N, N_POS = 5, 7
N_LAYERS = 2


@pytest.fixture(scope="module")
def tokens() -> torch.Tensor:
    return torch.randint(11, (N, N_POS), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def others() -> torch.Tensor:
    return torch.randint(11, (N, N_POS), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def patched_logits(model: HookedModel, tokens: torch.Tensor, *edges: tuple[Receiver, torch.Tensor]) -> torch.Tensor:
    with split_inputs(model), intervene(model, *(path(receiver, change, N_LAYERS) for receiver, change in edges)):
        return model(tokens)


def test_all_senders_into_the_unembedding_make_the_other_logits(
    sharp_model: HookedModel, tokens: torch.Tensor, others: torch.Tensor
) -> None:
    changes = sender_changes(sharp_model, tokens, others).sum(0)
    with torch.no_grad():
        expected = sharp_model(others)
    torch.testing.assert_close(
        patched_logits(sharp_model, tokens, (Receiver(None), changes)), expected, rtol=1e-4, atol=1e-4
    )


def test_all_edges_together_make_the_other_run(
    sharp_model: HookedModel, tokens: torch.Tensor, others: torch.Tensor
) -> None:
    # Layer 0 and the unembedding read the other embedding; the rest follows from what they are given.
    changes = sender_changes(sharp_model, tokens, others)[0]
    edges = [(receiver, changes) for receiver in receivers_of(sharp_model)]
    with torch.no_grad():
        expected = sharp_model(others)
    torch.testing.assert_close(patched_logits(sharp_model, tokens, *edges), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("which", ["q", "k", "v"])
def test_one_edge_changes_one_input_of_one_head(
    sharp_model: HookedModel, tokens: torch.Tensor, others: torch.Tensor, which: str
) -> None:
    changes = sender_changes(sharp_model, tokens, others)
    sender, receiver = 1 + nodes_of(sharp_model).index(Node(0, 2)), Receiver(Node(1, 3), which)  # pyright: ignore[reportArgumentType]
    site = f"blocks.1.attn.hook_{which}"
    before = activations_at(sharp_model, tokens, site)
    stream = activations_at(sharp_model, tokens, "blocks.1.hook_resid_pre") + changes[sender]
    block = sharp_model.blocks[1]
    with torch.no_grad():
        weight, bias = getattr(block.attn, f"W_{which.upper()}")[3], getattr(block.attn, f"b_{which.upper()}")[3]
        expected = before.clone()
        expected[:, :, 3] = block.ln1(stream) @ weight + bias
        with split_inputs(sharp_model), intervene(sharp_model, path(receiver, changes[sender], N_LAYERS)):
            after = activations_at(sharp_model, tokens, site)
            others_read = activations_at(sharp_model, tokens, "blocks.1.hook_resid_pre")
    torch.testing.assert_close(after, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(others_read, activations_at(sharp_model, tokens, "blocks.1.hook_resid_pre"))


def test_the_table_has_every_edge_once_and_its_effect(
    sharp_model: HookedModel, tokens: torch.Tensor, others: torch.Tensor
) -> None:
    scored = torch.zeros(N, N_POS, dtype=torch.bool)
    scored[:, 4] = True
    batch = Batch(tokens, scored)
    table = path_table(sharp_model, batch, others)
    # Inputs of two layers of four heads and their MLPs, after one, five, six and ten senders; and the unembedding.
    assert len(table) == 12 * 1 + 5 + 12 * 6 + 10 + 11
    assert table.select("sender", "receiver").is_duplicated().sum() == 0
    changes = sender_changes(sharp_model, tokens, others)
    logits = patched_logits(sharp_model, tokens, (Receiver(Node(0, None)), changes[2]))
    row = table.filter(table["sender"] == "L0H1", table["receiver"] == "L0 MLP").row(0, named=True)
    assert row["patched"] == pytest.approx(margins(logits[scored], batch.scored_targets).mean().item(), abs=1e-5)
    assert row["effect"] == pytest.approx(row["patched"] - row["clean"])
    assert not sharp_model.cfg.use_split_qkv_input
    assert (path_table(sharp_model, batch, tokens)["effect"].abs() < 1e-5).all(), "clean into clean"


def test_only_what_comes_later_reads() -> None:
    head, mlp, later = Node(0, 1), Node(0, None), Node(1, 0)
    assert not reads(Receiver(head, "q"), Node(0, 2))
    assert not reads(Receiver(head, "q"), mlp)
    assert reads(Receiver(mlp), head)
    assert not reads(Receiver(mlp), mlp)
    assert reads(Receiver(later, "k"), mlp)
    assert reads(Receiver(head, "v"), None)
    assert reads(Receiver(None), Node(1, None))


def test_the_model_is_as_before_after_an_exception(sharp_model: HookedModel) -> None:
    with pytest.raises(KeyboardInterrupt), split_inputs(sharp_model):
        raise KeyboardInterrupt
    assert not sharp_model.cfg.use_split_qkv_input


def test_what_does_not_fit_is_refused(sharp_model: HookedModel, tokens: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="pass pairs"):
        sender_changes(sharp_model, tokens, tokens[:2])
    with pytest.raises(ValueError, match="no position of the batch is scored"):
        path_table(sharp_model, Batch(tokens, torch.zeros(N, N_POS, dtype=torch.bool)), tokens)
