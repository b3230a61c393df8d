from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import torch

from rtinterp.analysis import accuracy, cross_entropy
from rtinterp.analysis.ablations import (
    Ablation,
    GivenAblation,
    Node,
    ResampleAblation,
    mean_ablation,
    node_writes,
    nodes_of,
)
from rtinterp.analysis.circuits import subset_values
from rtinterp.analysis.interventions import Intervention, intervene
from rtinterp.analysis.predictions import is_right, margins, nats
from rtinterp.models.build import build_model
from rtinterp.models.recurrent.spec import RecurrentSpec
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import Batch, ModularAddition

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel

N, N_POS, N_ROLES = 7, 9, 3


def roles(tokens: torch.Tensor) -> torch.Tensor:
    return tokens % N_ROLES


@pytest.fixture(scope="module")
def batch() -> Batch:
    tokens = torch.randint(11, (N, N_POS), generator=torch.Generator().manual_seed(0))
    scored = torch.zeros(N, N_POS, dtype=torch.bool)
    scored[:, 6] = True
    scored[::2, 4] = True
    return Batch(tokens, scored)


@pytest.fixture(scope="module")
def others() -> torch.Tensor:
    return torch.randint(11, (N, N_POS), generator=torch.Generator().manual_seed(1))


def by_hand(model: HookedModel, subset: int, writes: torch.Tensor) -> list[Intervention]:
    """The ablation of what is not in a subset, one hook after the other."""
    interventions = []
    for index, node in enumerate(nodes_of(model)):
        if subset >> index & 1:
            continue
        if node.head is None:
            interventions.append(Intervention(f"blocks.{node.layer}.hook_mlp_out", lambda h, _, w=writes[index]: w))
            continue

        def other_head(result: torch.Tensor, _: object, node: Node = node, new: torch.Tensor = writes[index]):
            changed = result.clone()
            changed[:, :, node.head] = new
            return changed

        interventions.append(Intervention(f"blocks.{node.layer}.attn.hook_result", other_head))
    return interventions


@pytest.mark.parametrize("kind", ["mean", "resample", "given"])
@pytest.mark.parametrize("measure", [is_right, nats, margins])
def test_every_subset_has_the_value_that_hooks_give_it(
    sharp_model: HookedModel, batch: Batch, others: torch.Tensor, kind: str, measure: object
) -> None:
    ablation: Ablation = ResampleAblation(others)
    if kind != "resample":
        ablation = mean_ablation(sharp_model, [others], roles, N_ROLES)
    if kind == "given":
        drawn = torch.randn(
            10, *batch.tokens.shape, sharp_model.cfg.d_model, generator=torch.Generator().manual_seed(3)
        )
        ablation = GivenAblation(drawn)
    values = subset_values(sharp_model, batch, ablation, measure)  # pyright: ignore[reportArgumentType]
    assert len(values) == 1024
    writes = ablation.writes(sharp_model, batch.tokens, slice(None))
    sharp_model.set_use_attn_result(True)
    try:
        for subset in (0, 1, 0b10000, 0b0000100010, 0b1011011101, 0b0111111111, 1023):
            with torch.no_grad(), intervene(sharp_model, *by_hand(sharp_model, subset, writes)):
                logits = sharp_model(batch.tokens)[batch.scored]
            expected = measure(logits, batch.scored_targets).double().mean()  # pyright: ignore[reportCallIssue]
            assert values[subset].item() == pytest.approx(expected.item(), abs=1e-4)
    finally:
        sharp_model.set_use_attn_result(False)


def test_subsets_of_three_layers_are_in_their_places(batch: Batch, others: torch.Tensor) -> None:
    task = SimpleNamespace(name="tiny", d_vocab=11, d_vocab_out=11, reads="tokens", n_ctx=12)
    model = build_model(task, ModelSpec(d_model=16, n_layers=3, n_heads=1), seed=0)  # pyright: ignore[reportArgumentType]
    for parameter in model.parameters():
        parameter.data *= 9 if parameter.ndim > 1 else 1
    ablation = ResampleAblation(others)
    values = subset_values(model, batch, ablation, nats)
    writes = ablation.writes(model, batch.tokens, slice(None))
    model.set_use_attn_result(True)
    for subset in range(2**6):
        with torch.no_grad(), intervene(model, *by_hand(model, subset, writes)):
            expected = nats(model(batch.tokens)[batch.scored], batch.scored_targets).double().mean()
        assert values[subset].item() == pytest.approx(expected.item(), abs=1e-4)
    assert values.unique().numel() == 64


def test_the_whole_is_the_intact_model(sharp_model: HookedModel, batch: Batch, others: torch.Tensor) -> None:
    values = subset_values(sharp_model, batch, ResampleAblation(others), nats)
    assert values[-1].item() == pytest.approx(cross_entropy(sharp_model, batch), abs=1e-5)
    assert subset_values(sharp_model, batch, ResampleAblation(others))[-1] == accuracy(sharp_model, batch)


def test_clean_into_clean_makes_all_subsets_alike(sharp_model: HookedModel, batch: Batch) -> None:
    values = subset_values(sharp_model, batch, ResampleAblation(batch.tokens), nats)
    torch.testing.assert_close(values, values[-1].expand_as(values), rtol=1e-5, atol=1e-5)


def test_slices_change_nothing(
    sharp_model: HookedModel, batch: Batch, others: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = subset_values(sharp_model, batch, ResampleAblation(others), nats)
    monkeypatch.setattr("rtinterp.analysis.circuits.ACTIVATIONS_PER_SLICE", 1)
    torch.testing.assert_close(subset_values(sharp_model, batch, ResampleAblation(others), nats), whole)


def test_the_stream_is_the_embedding_plus_what_all_nodes_write(sharp_model: HookedModel, others: torch.Tensor) -> None:
    with torch.no_grad():
        biases = sharp_model.b_O.sum(0)
        start = sharp_model(others, stop_at_layer=0)
        end = sharp_model(others, stop_at_layer=2)
    torch.testing.assert_close(start + node_writes(sharp_model, others).sum(0) + biases, end, rtol=1e-4, atol=1e-4)


def test_means_are_of_the_positions_of_a_role_in_all_batches(sharp_model: HookedModel, others: torch.Tensor) -> None:
    whole = mean_ablation(sharp_model, [others], roles, N_ROLES + 1)
    parts = mean_ablation(sharp_model, [others[:2], others[2:]], roles, N_ROLES + 1)
    torch.testing.assert_close(parts.means, whole.means)
    writes = node_writes(sharp_model, others)
    for role in range(N_ROLES):
        torch.testing.assert_close(whole.means[:, role], writes[:, roles(others) == role].mean(1))
    assert (whole.means[:, N_ROLES] == 0).all()


def test_nodes_are_in_the_order_of_the_forward_pass(sharp_model: HookedModel) -> None:
    names = [str(node) for node in nodes_of(sharp_model)]
    assert names == ["L0H0", "L0H1", "L0H2", "L0H3", "L0 MLP", "L1H0", "L1H1", "L1H2", "L1H3", "L1 MLP"]


def test_what_has_no_circuits_is_refused(sharp_model: HookedModel, batch: Batch, others: torch.Tensor) -> None:
    recurrent = build_model(ModularAddition(p=11), RecurrentSpec(8), seed=0)
    with pytest.raises(ValueError, match="HookedRecurrent has no attention heads; pass a transformer"):
        nodes_of(recurrent)
    unscored = Batch(batch.tokens, torch.zeros_like(batch.scored))
    with pytest.raises(ValueError, match="no position of the batch is scored"):
        subset_values(sharp_model, unscored, ResampleAblation(others))
    with pytest.raises(ValueError, match="a resample ablation needs one for every sequence"):
        subset_values(sharp_model, batch, ResampleAblation(others[:3]))
    with pytest.raises(ValueError, match="this ablation needs them for each of 10 nodes"):
        subset_values(sharp_model, batch, GivenAblation(torch.zeros(10, 3, N_POS, sharp_model.cfg.d_model)))
    with pytest.raises(ValueError, match="batches is empty"):
        mean_ablation(sharp_model, [], roles, N_ROLES)
