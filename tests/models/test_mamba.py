"""Mamba's layers: Hugging Face's logits, a plain recurrence, initial values, and hook points that change the run."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import MambaConfig, MambaForCausalLM

from rtinterp import build_model
from rtinterp.analysis import complete, residual_explained_variance
from rtinterp.models.build import hooked_model
from rtinterp.models.mamba.hooked import recurrent_states
from rtinterp.models.mamba.scan import Scan, run
from rtinterp.models.mamba.selective_scan import selective_scan
from rtinterp.models.mamba.spec import MambaSpec
from rtinterp.models.prefixes import distinct_prefixes, share_entries
from rtinterp.tasks import NeedleInAHaystack

TASK = NeedleInAHaystack(max_pairs=4, n_values=16)
N_POS = TASK.sequence_length
SPECS = [MambaSpec(16), MambaSpec(24, n_layers=3, d_state=5, d_conv=3), MambaSpec(20, n_layers=1)]
TOKENS = torch.randint(TASK.d_vocab, (4, N_POS), generator=torch.Generator().manual_seed(0))

specs = pytest.mark.parametrize("spec", SPECS, ids=str)


def planted(spec: MambaSpec, seed: int) -> dict[str, Tensor]:
    """Larger weights than initial ones and gains that differ, so that no term vanishes."""
    generator = torch.Generator().manual_seed(seed)
    tensors = spec.initial_tensors(TASK.d_vocab, TASK.n_ctx, seed)
    for name, tensor in tensors.items():
        if name != "unembed.b_U":
            tensors[name] = tensor + 0.2 * torch.randn(tensor.shape, generator=generator)
    return tensors


def hugging_face(spec: MambaSpec, tensors: dict[str, Tensor]) -> MambaForCausalLM:
    """Their model with our tensors, which stand there as [d_out, d_in]."""
    config = MambaConfig(
        vocab_size=TASK.d_vocab, hidden_size=spec.d_model, state_size=spec.d_state, num_hidden_layers=spec.n_layers,
        conv_kernel=spec.d_conv, expand=2, time_step_rank=spec.step_rank, tie_word_embeddings=False,
    )  # fmt: skip
    state = {
        "backbone.embeddings.weight": tensors["embed.W_E"],
        "backbone.norm_f.weight": tensors["ln_final.w"],
        "lm_head.weight": tensors["unembed.W_U"].T,
    }
    names = {"W_in": "in_proj.weight", "W_x": "x_proj.weight", "W_dt": "dt_proj.weight", "b_dt": "dt_proj.bias",
             "W_out": "out_proj.weight", "A_log": "A_log", "D": "D", "b_conv": "conv1d.bias"}  # fmt: skip
    for layer in range(spec.n_layers):
        theirs, ours = f"backbone.layers.{layer}", f"blocks.{layer}"
        state[f"{theirs}.norm.weight"] = tensors[f"{ours}.ln1.w"]
        state[f"{theirs}.mixer.conv1d.weight"] = tensors[f"{ours}.mixer.W_conv"][:, None]
        for our_name, their_name in names.items():
            tensor = tensors[f"{ours}.mixer.{our_name}"]
            state[f"{theirs}.mixer.{their_name}"] = tensor.T if our_name in ("W_in", "W_x", "W_dt", "W_out") else tensor
    model = MambaForCausalLM(config)
    model.load_state_dict(state)
    return model.eval()


def scored_logits(spec: MambaSpec, models: list[dict[str, Tensor]], tokens: Tensor, positions: Tensor) -> Tensor:
    prefixes = distinct_prefixes(tokens, positions.amax(-1) + 1)
    entries, (shared,) = share_entries([prefixes], tokens.shape[2])
    model = spec.stack_model({name: torch.stack([one[name] for one in models]) for name in models[0]})
    residual = model.scored_residual(model.embed(entries), shared, positions)
    return model.unembedding(residual).unflatten(1, positions.shape[1:])


@specs
@torch.no_grad()
def test_hooked_logits_are_those_of_hugging_face(spec: MambaSpec) -> None:
    tensors = planted(spec, 0)
    expected = hugging_face(spec, tensors)(TOKENS).logits
    assert expected.std() > 0.3
    torch.testing.assert_close(hooked_model(TASK, spec, tensors)(TOKENS), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("n_scored", [1, 4])
@specs
@torch.no_grad()
def test_stacked_logits_are_those_of_hugging_face_at_the_scored_positions(spec: MambaSpec, n_scored: int) -> None:
    """Sequences end at different positions, and some begin alike."""
    generator = torch.Generator().manual_seed(1)
    models = [planted(spec, seed) for seed in range(3)]
    tokens = torch.randint(TASK.d_vocab, (3, 6, N_POS), generator=generator)
    tokens[:, 3:, :5] = tokens[:, :3, :5]
    positions = torch.randint(N_POS, (3, 6, n_scored), generator=generator).sort(-1).values
    logits = scored_logits(spec, models, tokens, positions)
    for index, tensors in enumerate(models):
        expected = hugging_face(spec, tensors)(tokens[index]).logits
        expected = expected.gather(1, positions[index][..., None].expand(-1, -1, TASK.d_vocab))
        torch.testing.assert_close(logits[index], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("n_pos", [1, 2, 3, 4, 7, 8, 13])
def test_scans_are_the_recurrence_forwards_and_backwards(n_pos: int) -> None:
    generator = torch.Generator().manual_seed(n_pos)
    kept, added = (torch.randn(2, n_pos, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    states, from_the_end = [added[:, 0]], [added[:, -1]]
    for at in range(1, n_pos):
        states.append(kept[:, at] * states[-1] + added[:, at])
        from_the_end.append(kept[:, n_pos - at] * from_the_end[-1] + added[:, n_pos - 1 - at])
    scan, forwards, backwards = Scan(kept), added.clone(), added.clone()
    scan.join()
    run(scan.forwards(forwards))
    run(scan.backwards(backwards))
    torch.testing.assert_close(forwards, torch.stack(states, 1))
    torch.testing.assert_close(backwards, torch.stack(from_the_end[::-1], 1))


@pytest.mark.parametrize("n_pos", [1, 2, 7])
@pytest.mark.parametrize("at_once", [1, 300, 10**6])
def test_gradients_of_the_scan_are_those_of_the_recurrence(
    n_pos: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many sequences are worked on at a time: one, two and then one, all."""
    monkeypatch.setattr("rtinterp.models.mamba.selective_scan.STATES_AT_ONCE", at_once)
    generator = torch.Generator().manual_seed(n_pos)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()

    u, written, read = drawn(2, 3, n_pos, 4), drawn(2, 3, n_pos, 5), drawn(2, 3, n_pos, 5)
    step = drawn(2, 3, n_pos, 4).detach().exp().requires_grad_()
    rate = -drawn(2, 4, 5).detach().exp().requires_grad_()
    inputs, weights = (u, step, rate, written, read), drawn(2, 3, n_pos, 4).detach()
    expected = torch.stack(
        [(recurrent_states(u[i], step[i], rate[i], written[i]) @ read[i].unsqueeze(-1)).squeeze(-1) for i in range(2)]
    )
    actual = selective_scan(*inputs)
    torch.testing.assert_close(actual, expected)
    ours = torch.autograd.grad((actual * weights).sum(), inputs)
    theirs = torch.autograd.grad((expected * weights).sum(), inputs, allow_unused=True, materialize_grads=True)
    for actual_gradient, expected_gradient in zip(ours, theirs, strict=True):
        torch.testing.assert_close(actual_gradient, expected_gradient)


def test_initial_values_are_those_of_the_official_code() -> None:
    spec = MambaSpec(64, n_layers=4)
    tensors = spec.initial_tensors(10, 10, seed=0)
    mixer = {
        name.removeprefix("blocks.1.mixer."): tensor for name, tensor in tensors.items() if "blocks.1.mixer" in name
    }
    steps = F.softplus(mixer["b_dt"])
    assert 1e-3 <= steps.min() < 1.2e-3
    assert 0.08 < steps.max() <= 0.1
    assert steps.log().mean().item() == pytest.approx((torch.tensor([1e-3, 0.1]).log()).mean().item(), abs=0.3)
    torch.testing.assert_close(mixer["A_log"].exp(), torch.arange(1.0, 17).expand(128, 16))
    assert mixer["D"].eq(1).all()
    bounds = {"W_in": 64**-0.5, "W_conv": 0.5, "b_conv": 0.5, "W_x": 128**-0.5, "W_dt": 0.5, "W_out": 128**-0.5 / 2}
    for name, bound in bounds.items():
        assert 0.97 * bound < mixer[name].abs().max() <= bound, name
    for parameter in spec.parameters(10, 10):
        actual = tensors[parameter.name].square().mean().sqrt().item()
        tolerance = 0.1 if tensors[parameter.name].numel() > 200 else 0.25
        assert actual == pytest.approx(parameter.initial.root_mean_square(parameter.shape), rel=tolerance), (
            parameter.name
        )


@torch.no_grad()
def test_a_state_is_read_and_a_change_of_it_moves_its_position_alone() -> None:
    spec = SPECS[0]
    model = hooked_model(TASK, spec, planted(spec, 0))
    _, cache = model.run_with_cache(TOKENS)
    names = ("state", "C", "y", "conv", "delta", "B")
    state, read, y, u, step, written = (cache[f"blocks.0.mixer.hook_{name}"] for name in names)
    mixer = model.blocks[0].mixer
    torch.testing.assert_close((state * read[:, :, None]).sum(-1) + mixer.D * u, y, atol=1e-4, rtol=1e-4)
    kept = (step[..., None] * -mixer.A_log.exp()).exp()
    added = (step * u)[..., None] * written[:, :, None]
    torch.testing.assert_close(kept[:, 1:] * state[:, :-1] + added[:, 1:], state[:, 1:], atol=1e-4, rtol=1e-4)

    def emptied(value: Tensor, hook: object) -> Tensor:
        value = value.clone()
        value[:, 5] = 0
        return value

    with model.hooks([("blocks.0.mixer.hook_state", emptied)]):
        _, changed = model.run_with_cache(TOKENS)
    after = changed["blocks.0.hook_resid_post"] - cache["blocks.0.hook_resid_post"]
    assert after[:, 5].abs().max() > 1e-2
    after[:, 5] = 0
    assert after.abs().max() < 1e-6
    total = cache["blocks.0.hook_resid_pre"] + cache["blocks.0.hook_mixer_out"]
    torch.testing.assert_close(total, cache["blocks.0.hook_resid_post"])


@torch.no_grad()
def test_no_position_reads_a_later_one() -> None:
    model = build_model(TASK, MambaSpec(16), seed=0)
    other = TOKENS.clone()
    other[:, 6:] = (other[:, 6:] + 1) % TASK.d_vocab
    torch.testing.assert_close(model(TOKENS)[:, :6], model(other)[:, :6])
    assert (model(TOKENS)[:, 6:] - model(other)[:, 6:]).abs().max() > 1e-4


@torch.no_grad()
def test_what_a_recurrence_cannot_do_is_refused() -> None:
    from transformer_lens.cache.key_value_cache import TransformerLensKeyValueCache

    model = build_model(TASK, MambaSpec(16), seed=0)
    mask = torch.ones_like(TOKENS)
    assert torch.equal(model(TOKENS, attention_mask=mask), model(TOKENS))
    mask[:, 2] = 0
    with pytest.raises(ValueError, match="reads every position up to the present one; pass no attention_mask"):
        model(TOKENS, attention_mask=mask)
    past = TransformerLensKeyValueCache.init_cache(model.cfg, "cpu", len(TOKENS))
    with pytest.raises(ValueError, match="no keys that could be cached"):
        model(TOKENS, past_kv_cache=past)
    with pytest.raises(ValueError, match=r"d_state.*0"):
        MambaSpec(16, d_state=0)


@torch.no_grad()
def test_the_tools_work_on_it() -> None:
    model = build_model(TASK, MambaSpec(16, n_layers=2), seed=0)
    everywhere = torch.ones_like(TOKENS, dtype=torch.bool)
    table = residual_explained_variance(model, [(TOKENS, everywhere)], k=3)
    _, cache = model.run_with_cache(TOKENS)
    last = cache["blocks.1.hook_resid_post"].flatten(0, 1).double()
    variances = torch.linalg.svdvals(last - last.mean(0)).square()
    assert table["share_principal_components"][-1] == pytest.approx((variances[:3].sum() / variances.sum()).item())
    continued = complete(model, TOKENS[:, :4], 3, temperature=0.0)
    assert torch.equal(continued[:, 4], model(TOKENS[:, :4])[:, -1].argmax(-1))
    assert continued.shape == (4, 7)
