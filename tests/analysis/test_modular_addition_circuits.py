import math

import numpy as np
import pytest
import torch

from rtinterp.analysis import (
    bootstrap,
    correct_logits,
    correct_logits_at,
    distance_irrelevance,
    gradient_cosines,
    gradient_symmetricity,
    irrelevance_of,
)
from rtinterp.analysis import modular_addition_circuits as circuits
from rtinterp.models.build import build_model
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import ModularAddition

P = 11
TASK = ModularAddition(p=P)
A, B = np.indices((P, P))


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def gaussian(*shape, seed):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def without_norms(d_model):
    """One layer of one head, with random embeddings and weights, in which no norm stands between them."""
    from transformer_lens.config import TransformerBridgeConfig

    from rtinterp.models.hooked_decoder import HookedDecoder
    from rtinterp.models.transformer.hooked_block import HookedAttention, HookedBlock, HookedMLP

    sizes = {"n_layers": 1, "n_heads": 1, "d_head": d_model, "n_ctx": TASK.n_ctx}
    cfg = TransformerBridgeConfig(d_model=d_model, d_vocab=P, d_vocab_out=P, device="cpu", **sizes)
    block = HookedBlock(
        cfg, HookedAttention(cfg), HookedMLP(d_model, 4 * d_model), norm=lambda cfg: torch.nn.Identity()
    )
    model = HookedDecoder(cfg, [block], torch.nn.Identity())
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(gaussian(*parameter.shape, seed=len(name)) if ".b_" not in name else 0 * parameter)
    return model


def mixing_model(gain):
    """Position 1 of its residual stream reads gain / 2 * E_a + (1 + gain / 2) * E_b, plus a constant, and no more.

    One head without a query looks at both positions alike and writes ``gain`` times what it sees; the MLP comes after.
    """
    model = without_norms(d_model=16)
    attention = model.blocks[0].attn
    with torch.no_grad():
        attention.W_Q.zero_()
        attention.b_Q.zero_()
        attention.W_V.copy_(torch.eye(16)[None])
        attention.W_O.copy_(gain * torch.eye(16)[None])
        for parameter in (model.W_E, model.W_pos, model.blocks[0].mlp.W_in, model.blocks[0].mlp.W_out):
            parameter.copy_(torch.randn(parameter.shape, generator=seeded(parameter.numel())))
    return model


def brute_force_symmetricity(model, triples):
    """One backward pass a triple from the residual stream, without hooks."""
    cosines = []
    for a, b, c in triples.tolist():
        embeddings = model.W_E[[a, b]].detach().clone().requires_grad_()
        logits = model((embeddings + model.W_pos[:2])[None], start_at_layer=0)
        (gradient,) = torch.autograd.grad(logits[0, 1, c], embeddings)
        of_a, of_b = gradient.double().numpy()
        cosines.append(of_a @ of_b / math.sqrt((of_a @ of_a) * (of_b @ of_b)))
    return math.fsum(cosines) / len(cosines)


@pytest.mark.parametrize(
    ("gain", "cosine"), [(1.0, 1), (5.0, 1), (-1.0, -1), (-0.5, -1), (-3.0, 1), (0.0, 0), (-2.0, 0)]
)
def test_gradients_of_a_mixture_are_parallel_antiparallel_or_absent(gain, cosine):
    """Weights of E_a and E_b: of one sign, opposite, or one of them zero (at gain 0 that of a, at -2 that of b)."""
    assert gradient_symmetricity(mixing_model(gain), TASK, seeded(0)) == pytest.approx(cosine, abs=1e-5)


def test_symmetricity_equals_brute_force(tiny_model):
    n_triples = circuits.PAIRS_PER_PASS + 44
    triples = torch.randint(P, (n_triples, 3), generator=seeded(3))
    assert (triples[:, 0] == triples[:, 1]).any()
    expected = brute_force_symmetricity(tiny_model, triples)
    assert 0.01 < abs(expected) < 0.99
    assert gradient_symmetricity(tiny_model, TASK, seeded(3), n_triples) == pytest.approx(expected, abs=1e-6)


def test_symmetricity_is_a_function_of_the_generator_alone(tiny_model):
    before = torch.get_rng_state()
    value = gradient_symmetricity(tiny_model, TASK, seeded(0))
    torch.manual_seed(1)
    assert gradient_symmetricity(tiny_model, TASK, seeded(0)) == value
    torch.set_rng_state(before)
    assert gradient_symmetricity(tiny_model, TASK, seeded(0), circuits.N_TRIPLES) == value
    assert torch.equal(torch.get_rng_state(), before)
    generator = seeded(0)
    first, second = (gradient_symmetricity(tiny_model, TASK, generator) for _ in range(2))
    assert first == value != second


def test_symmetricity_leaves_the_model_as_it_was_and_works_without_gradients(tiny_model):
    value = gradient_symmetricity(tiny_model, TASK, seeded(0))
    with torch.no_grad():
        assert gradient_symmetricity(tiny_model, TASK, seeded(0)) == value
    assert all(parameter.grad is None for parameter in tiny_model.parameters())
    assert not tiny_model.hook_embed.fwd_hooks
    assert not tiny_model.hook_embed.bwd_hooks


def test_an_intervention_is_measured(tiny_model):
    with tiny_model.hooks(fwd_hooks=[("blocks.0.hook_attn_out", zero), ("blocks.1.hook_attn_out", zero)]):
        assert gradient_symmetricity(tiny_model, TASK, seeded(0)) == 0  # nothing reaches position 1 from position 0
        logits = correct_logits(tiny_model, TASK)
    assert not torch.equal(correct_logits(tiny_model, TASK), logits)
    # Without attention the logits of a sum depend on b and on the sum alone: one forward pass over b gives them all.
    with tiny_model.hooks(fwd_hooks=[("blocks.0.hook_attn_out", zero), ("blocks.1.hook_attn_out", zero)]):
        of_b = tiny_model(torch.stack([torch.zeros(P, dtype=torch.int64), torch.arange(P)], dim=1))[:, 1]
    torch.testing.assert_close(logits, of_b[torch.from_numpy(B), torch.from_numpy((A + B) % P)])


def zero(activation, hook):
    return torch.zeros_like(activation)


def test_correct_logits_equal_one_pair_at_a_time():
    p = 17
    assert p * p > circuits.PAIRS_PER_PASS
    model = build_model(ModularAddition(p=p), ModelSpec(d_model=16, n_layers=1, n_heads=2), seed=0)
    table = correct_logits(model, ModularAddition(p=p))
    assert table.shape == (p, p)
    assert not table.requires_grad
    with torch.no_grad():
        for a, b in [(0, 0), (0, 5), (5, 0), (16, 16), (15, 1), (15, 2), (3, 9)]:
            logit = model(torch.tensor([[a, b, 0]]))[0, 1, (a + b) % p]
            torch.testing.assert_close(table[a, b], logit)


@pytest.mark.parametrize("p", [2, 7, 8, P])
def test_distance_irrelevance_equals_a_double_loop(p):
    table = gaussian(p, p, seed=p).numpy() + 100
    spreads = []
    for distance in range(p):
        logits = [table[a, b] for a in range(p) for b in range(p) if (a - b) % p == distance]
        assert len(logits) == p
        spreads.append(np.std(logits))
    expected = np.mean(spreads) / np.std(table)
    assert distance_irrelevance(torch.from_numpy(table)) == pytest.approx(expected)


@pytest.mark.parametrize(("sum_scale", "distance_scale"), [(1.0, 0.0), (0.0, 1.0), (3.0, 4.0), (0.1, 2.0)])
def test_planted_clock_and_pizza_tables(sum_scale, distance_scale):
    """A clock's right logit may differ between sums, a pizza's follows |cos(w (a - b) / 2)|, the length of a chord."""
    of_sum = np.sin(np.arange(P) ** 2)
    of_distance = np.abs(np.cos(2 * np.pi * 3 * np.arange(P) / P / 2))
    of_sum, of_distance = ((f - f.mean()) / f.std() for f in (of_sum, of_distance))
    table = torch.from_numpy(sum_scale * of_sum[(A + B) % P] + distance_scale * of_distance[(A - B) % P]) + 20
    expected = sum_scale / math.hypot(sum_scale, distance_scale)
    assert distance_irrelevance(table) == pytest.approx(expected, abs=1e-12)


def test_distance_irrelevance_ignores_scale_offset_and_order_of_the_numbers():
    table = gaussian(P, P, seed=1)
    for same in (table.T, -3 * table + 7, table.float(), table.clone().requires_grad_()):
        assert distance_irrelevance(same) == pytest.approx(distance_irrelevance(table), rel=1e-6)
    assert 0 < distance_irrelevance(table) < 1


def test_bad_input_is_refused(tiny_model):
    with pytest.raises(ValueError, match="n_triples is 0"):
        gradient_symmetricity(tiny_model, TASK, seeded(0), 0)
    for measure in (correct_logits, lambda model, task: gradient_symmetricity(model, task, seeded(0))):
        with pytest.raises(ValueError, match="reads 11 tokens and predicts 11, the task has p = 13"):
            measure(tiny_model, ModularAddition(p=13))
    table = torch.arange(4.0).view(2, 2)
    for wrong in (table[:1], table[None]):
        with pytest.raises(ValueError, match="correct_logits has shape"):
            distance_irrelevance(wrong)
    with pytest.raises(ValueError, match="1 logits are not finite"):
        distance_irrelevance(table.log())
    with pytest.raises(ValueError, match="all logits equal 1"):
        distance_irrelevance(torch.ones(3, 3))


def test_correct_logits_at_some_distances_are_those_of_the_table(tiny_model):
    table, distances = correct_logits(tiny_model, TASK), torch.tensor([3, 0, 10])
    at = correct_logits_at(tiny_model, TASK, distances)
    for row, distance in zip(at, distances.tolist(), strict=True):
        expected = torch.stack([table[a, (a - distance) % P] for a in range(P)])
        torch.testing.assert_close(row, expected)


def test_irrelevance_from_all_distances_is_distance_irrelevance(tiny_model):
    at = correct_logits_at(tiny_model, TASK, torch.arange(P)).double()
    assert irrelevance_of(at).item() == pytest.approx(distance_irrelevance(correct_logits(tiny_model, TASK)), abs=1e-6)


def test_symmetricity_is_the_mean_of_the_cosines(tiny_model):
    cosines = gradient_cosines(tiny_model, TASK, seeded(3), 50)
    assert cosines.shape == (50,)
    assert gradient_symmetricity(tiny_model, TASK, seeded(3), 50) == pytest.approx(cosines.mean().item())


def test_bootstrap_intervals_have_the_width_of_the_standard_error_and_hold_the_truth():
    """The mean of n draws with standard deviation 2 lies within 1.96 * 2 / sqrt(n) of 5 in 95 % of all samples."""
    n, samples = 400, gaussian(60, 400, seed=1) * 2 + 5
    found = [bootstrap(sample, torch.mean, seeded(number)) for number, sample in enumerate(samples)]
    assert found[0].value == pytest.approx(samples[0].mean().item())
    widths = [one.high - one.low for one in found]
    assert np.mean(widths) == pytest.approx(2 * 1.96 * 2 / math.sqrt(n), rel=0.05)
    assert 52 <= sum(one.low <= 5 <= one.high for one in found) <= 60
    assert bootstrap(samples[0], torch.mean, seeded(0)) == found[0]


def test_bootstrap_draws_whole_units():
    """Two distances of another spread each: resamples have one or both."""
    by_distance = torch.tensor([[0.0, 0.0, 0.0, 0.0], [-1.0, 1.0, -1.0, 1.0]], dtype=torch.float64)
    found = bootstrap(by_distance[[0, 1] * 20], irrelevance_of, seeded(0))
    assert found.value == pytest.approx(0.5 / math.sqrt(0.5))
    assert found.low < found.value < found.high < 1
