"""Analyses that go on from the middle of a model, where the body scales what is written, and what is written to."""

from __future__ import annotations

import pytest
import torch

from rtinterp.analysis.ablations import ResampleAblation, head_writes, node_writes, nodes_of
from rtinterp.analysis.circuits import subset_values
from rtinterp.analysis.interventions import Intervention, intervene
from rtinterp.analysis.layer_parts import after_heads, after_mlp, gathered, logits_from
from rtinterp.analysis.paths import path_table
from rtinterp.analysis.predictions import nats
from rtinterp.analysis.similarity_heads import head_contributions
from rtinterp.models.build import build_model
from rtinterp.models.transformer.presets import llama_like, mixit
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import Batch, KHopInduction

TASK = KHopInduction(max_hops=2, length=12)
BODIES = {
    "mixit": mixit(16, n_heads=2),
    "llama_like": llama_like(16, n_heads=2),
    "skip_share": ModelSpec(16, n_heads=2, skip_share=0.25),
    "width_multipliers": ModelSpec(16, n_heads=2, width_multipliers=True),
}


@pytest.fixture(params=BODIES.values(), ids=list(BODIES))
def model(request: pytest.FixtureRequest):
    model = build_model(TASK, request.param, seed=0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.endswith(("mixing", "b_U")):
                parameter.mul_(3).add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.fixture
def batch() -> Batch:
    return TASK.sample(6, torch.Generator().manual_seed(1))


def test_every_subset_has_the_value_that_hooks_give_it(model, batch: Batch) -> None:
    sources = TASK.sample(6, torch.Generator().manual_seed(2)).tokens
    values = subset_values(model, batch, ResampleAblation(sources), nats)
    writes, nodes = node_writes(model, sources), nodes_of(model)
    model.set_use_attn_result(True)
    for subset in (0, 1, 0b100110, 0b011011, 0b111111):
        with torch.no_grad(), intervene(model, *ablated(nodes, subset, writes)):
            logits = model(batch.tokens)[batch.scored]
        assert values[subset].item() == pytest.approx(nats(logits, batch.scored_targets).mean().item(), rel=1e-4)
    assert len({round(value, 5) for value in values.tolist()}) > 30


def ablated(nodes, subset: int, writes: torch.Tensor) -> list[Intervention]:
    interventions = []
    for index, node in enumerate(nodes):
        if subset >> index & 1:
            continue
        if node.head is None:
            interventions.append(Intervention(f"blocks.{node.layer}.hook_mlp_out", lambda h, _, w=writes[index]: w))
            continue

        def other_head(result: torch.Tensor, _: object, head: int = node.head, new: torch.Tensor = writes[index]):
            changed = result.clone()
            changed[:, :, head] = new
            return changed

        interventions.append(Intervention(f"blocks.{node.layer}.attn.hook_result", other_head))
    return interventions


def test_parts_go_on_as_the_model_does(model, batch: Batch) -> None:
    with torch.no_grad():
        logits, cache = model.run_with_cache(batch.tokens)
        for layer in range(2):
            pre, mid, post = (cache[f"blocks.{layer}.hook_resid_{x}"] for x in ("pre", "mid", "post"))
            z = gathered(model, layer, pre)
            torch.testing.assert_close(after_heads(model, layer, pre, z), mid, atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(after_mlp(model, layer, mid), post, atol=1e-5, rtol=1e-4)
            factor = model.blocks[layer].attn.factors.attn_out
            written = head_writes(model, layer, z).sum(2) + factor * model.blocks[layer].attn.b_O
            torch.testing.assert_close(written, cache[f"blocks.{layer}.hook_attn_out"], atol=1e-5, rtol=1e-4)
            for site in ("hook_resid_pre", "hook_resid_mid", "hook_resid_post"):
                name = f"blocks.{layer}.{site}"
                got = logits_from(model, name, cache[name], batch.scored)
                torch.testing.assert_close(got, logits[batch.scored], atol=1e-4, rtol=1e-4)


def test_what_takes_the_stream_for_a_sum_refuses_one_that_is_not() -> None:
    batch = TASK.sample(4, torch.Generator().manual_seed(0))
    model = build_model(TASK, BODIES["skip_share"], seed=0)
    with pytest.raises(ValueError, match=r"scales its residual stream .* pass a model without skip_share"):
        path_table(model, batch, batch.tokens.flip(0))
    with pytest.raises(ValueError, match="scales its residual stream"):
        head_contributions(model, batch.tokens)
    with pytest.raises(ValueError, match="no final LayerNorm"):
        head_contributions(build_model(TASK, BODIES["llama_like"], seed=0), batch.tokens)


@torch.no_grad()
def test_accumulated_biases_are_what_biases_leave_in_the_stream(model, batch: Batch) -> None:
    """Where nothing but biases is written, and the stream starts at zero, it holds what they leave."""
    for name, parameter in model.named_parameters():
        if name.endswith((".W_O", ".W_out", "W_E", "W_pos")):
            parameter.zero_()
    _, cache = model.run_with_cache(batch.tokens)
    for layer, mlp_input, site in (
        (0, True, "0.hook_resid_mid"),
        (1, False, "0.hook_resid_post"),
        (2, False, "1.hook_resid_post"),
    ):
        torch.testing.assert_close(model.accumulated_bias(layer, mlp_input), cache[f"blocks.{site}"][0, 0])
    assert not model.accumulated_bias(0).any()
    for block in model.blocks:
        block.mlp.b_out.zero_()
    _, cache = model.run_with_cache(batch.tokens)
    without = model.accumulated_bias(2, include_mlp_biases=False)
    torch.testing.assert_close(without, cache["blocks.1.hook_resid_post"][0, 0])


@torch.no_grad()
def test_a_heads_matrix_is_what_it_copies(model, batch: Batch) -> None:
    """What each head adds is the pattern's mean of what the norm gives, through OV, where values have no bias."""
    for block in model.blocks:
        block.attn.b_V.zero_()
    model.set_use_attn_result(True)
    _, cache = model.run_with_cache(batch.tokens)
    for layer, block in enumerate(model.blocks):
        seen = torch.einsum("bhqk,bkm->bhqm", cache[f"blocks.{layer}.attn.hook_pattern"], read_by(block, cache, layer))
        results = cache[f"blocks.{layer}.attn.hook_result"].transpose(1, 2)
        for matrix in (model.OV.AB[layer], block.attn.OV.AB):
            torch.testing.assert_close(seen @ matrix, results, rtol=1e-4, atol=1e-5)


def read_by(block, cache, layer: int) -> torch.Tensor:
    return block.ln1(cache[f"blocks.{layer}.hook_resid_pre"])
