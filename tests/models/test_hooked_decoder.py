"""HookedDecoder against HookedTransformer with the same planted weights: hooks, cached values, gradients, tools."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from model_references import planted_tensors
from torch import Tensor

from rtinterp.models.hooked_decoder import HookedDecoder
from rtinterp.models.loading import load_exactly
from rtinterp.models.transformer.hooked import has_hooked_transformer, hooked_decoder, hooked_transformer
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import NeedleInAHaystack

TASK = NeedleInAHaystack(max_pairs=4, n_values=16)
SPEC = ModelSpec(d_model=12, n_layers=2, n_heads=2)
N_SEQUENCES, N_POS = 2, 5
GENERATOR = torch.Generator().manual_seed(0)
TOKENS = torch.randint(TASK.d_vocab, (N_SEQUENCES, N_POS), generator=GENERATOR)
CORRUPTED = torch.randint(TASK.d_vocab, (N_SEQUENCES, N_POS), generator=GENERATOR)
FLAGS = ("use_attn_result", "use_split_qkv_input", "use_attn_in", "use_hook_mlp_in")

beside_theirs = pytest.mark.skipif(
    not has_hooked_transformer(), reason="this TransformerLens has no HookedTransformer to compare with"
)


def planted_decoder() -> HookedDecoder:
    model = hooked_decoder(TASK, SPEC).eval()
    load_exactly(model, planted_tensors(SPEC, TASK.d_vocab, TASK.n_ctx, seed=3))
    return model.to(torch.float64)


def pair(*flags: str) -> tuple[HookedDecoder, Any]:
    """Ours and theirs in float64, with some flags on."""
    theirs = hooked_transformer(TASK, SPEC, planted_tensors(SPEC, TASK.d_vocab, TASK.n_ctx, seed=3))
    assert type(theirs).__name__ == "HookedTransformer"
    ours, theirs = planted_decoder(), theirs.to(torch.float64, print_details=False)
    for model in (ours, theirs):
        for flag in flags:
            getattr(model, f"set_{flag}")(True)
    return ours, theirs


def close(ours: Any, theirs: Any) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-10, equal_nan=True)


every_flag = pytest.mark.parametrize("flags", [(), *((flag,) for flag in FLAGS), FLAGS], ids="+".join)


@beside_theirs
def test_each_state_dict_loads_into_the_other() -> None:
    ours, theirs = pair()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [name for name, _ in ours.named_parameters()] == [name for name, _ in theirs.named_parameters()]
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())


@beside_theirs
@every_flag
def test_hook_points_have_the_names_and_the_order_of_calls_of_theirs(flags: tuple[str, ...]) -> None:
    ours, theirs = pair(*flags)
    assert list(ours.hook_dict) == list(theirs.hook_dict)
    calls: tuple[list, list] = [], []
    for model, called in zip((ours, theirs), calls, strict=True):
        note = (lambda name: True, lambda x, hook, called=called: called.append((hook.name, x.shape)))
        model.run_with_hooks(TOKENS, fwd_hooks=[note])
    assert calls[0] == calls[1]
    assert len(calls[0]) > 40


@beside_theirs
@every_flag
def test_every_cached_value_and_gradient_is_theirs(flags: tuple[str, ...]) -> None:
    ours, theirs = pair(*flags)
    caches = []
    for model in (ours, theirs):
        with warnings.catch_warnings():
            # The embedding's inputs need no gradient, of which torch warns.
            warnings.simplefilter("ignore", UserWarning)
            caches.append(model.run_with_cache(TOKENS, return_type="loss", incl_bwd=True)[1])
    assert list(caches[0]) == list(caches[1])
    assert sum(name.endswith("_grad") for name in caches[0]) >= 40
    for name, value in caches[1].items():
        close(caches[0][name], value)
    for parameter, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
        close(parameter.grad, expected.grad)


def replaced(x: Tensor, hook: Any) -> Tensor:
    return x.flip(0)


def zeroed(x: Tensor, hook: Any) -> Tensor:
    return torch.zeros_like(x)


def written_in_place(x: Tensor, hook: Any) -> None:
    x[:, -1] = x[:, 0].clone()
    x[0] *= 2


@beside_theirs
@pytest.mark.parametrize("write", [replaced, zeroed, written_in_place], ids=lambda write: write.__name__)
@pytest.mark.parametrize("flags", [(), ("use_attn_in", "use_attn_result"), FLAGS], ids="+".join)
@torch.no_grad()
def test_a_write_at_any_hook_does_what_it_does_to_theirs(flags: tuple[str, ...], write: Callable) -> None:
    ours, theirs = pair(*flags)
    clean, effective = ours(TOKENS), 0
    for name in ours.hook_dict:
        after = []
        for model in (ours, theirs):
            with model.hooks([(name, write)]):
                after.append(model.run_with_cache(TOKENS, return_cache_object=False))
        close(*after)
        effective += not torch.equal(after[0][0], clean)
    assert effective > 30


STACKED = [f"{kind}_{x}" for kind in "Wb" for x in ("Q", "K", "V", "O", "in", "out")]

#: Of a model and its cache.
TOOLS: dict[str, Callable[[Any, Any], Any]] = {
    "accumulated_resid": lambda model, cache: cache.accumulated_resid(incl_mid=True, apply_ln=True),
    "decompose_resid with labels": lambda model, cache: cache.decompose_resid(apply_ln=True, return_labels=True),
    "decompose_resid before an MLP": lambda model, cache: cache.decompose_resid(layer=1, mlp_input=True),
    "stack_head_results with labels": lambda model, cache: cache.stack_head_results(return_labels=True),
    "stack_neuron_results with labels": lambda model, cache: cache.stack_neuron_results(-1, return_labels=True),
    "full decomposition with labels": lambda model, cache: cache.get_full_resid_decomposition(return_labels=True),
    "of neurons": lambda model, cache: cache.get_full_resid_decomposition(expand_neurons=True, apply_ln=True),
    "of a layer": lambda model, cache: cache.get_full_resid_decomposition(layer=1, mlp_input=True),
    "logit_attrs": lambda model, cache: cache.logit_attrs(cache.decompose_resid(), tokens=5, incorrect_tokens=6),
    "logit_attrs of each": lambda model, cache: cache.logit_attrs(cache.decompose_resid(), tokens=TOKENS),
    "stack_activation": lambda model, cache: cache.stack_activation("pattern"),
    "pos_slice": lambda model, cache: dict(model.run_with_cache(TOKENS, pos_slice=-1)[1].items()),
    "remove_batch_dim": lambda model, cache: dict(model.run_with_cache(TOKENS[:1], remove_batch_dim=True)[1].items()),
    "names_filter": lambda model, cache: dict(model.run_with_cache(TOKENS, names_filter="hook_embed")[1].items()),
    "loss": lambda model, cache: model(TOKENS, return_type="loss"),
    "loss per token": lambda model, cache: model(TOKENS, return_type="loss", loss_per_token=True),
    "both": lambda model, cache: tuple(model(TOKENS, return_type="both", prepend_bos=True)),
    "one sequence": lambda model, cache: model(TOKENS[0]),
    "stop_at_layer": lambda model, cache: [model(TOKENS, stop_at_layer=layer) for layer in (0, 1, -1)],
    "start_at_layer": lambda model, cache: model(cache["resid_pre", 1], start_at_layer=-1),
    "start and loss": lambda model, cache: model(cache["resid_pre", 1], "loss", start_at_layer=1, tokens=TOKENS),
    "attention_mask": lambda model, cache: model(TOKENS, attention_mask=MASK, return_type="both"),
    "token directions": lambda model, cache: [model.tokens_to_residual_directions(t) for t in (3, MASK[0, 0], TOKENS)],
    "accumulated_bias": lambda model, cache: [model.accumulated_bias(0, mlp_input=True), model.accumulated_bias(2)],
    "without MLPs": lambda model, cache: model.accumulated_bias(2, include_mlp_biases=False),
    "W_E": lambda model, cache: [model.W_E, model.W_pos, model.W_E_pos, model.W_U, model.b_U],
    "W_Q": lambda model, cache: [getattr(model, name) for name in STACKED],
    "QK": lambda model, cache: [model.QK.AB, model.OV.AB, model.blocks[1].attn.QK.AB, model.blocks[1].attn.OV.AB],
}
MASK = torch.ones_like(TOKENS)
MASK[0, :2] = 0
MASK[1, 4] = 0


@beside_theirs
@pytest.mark.parametrize("tool", TOOLS)
@torch.no_grad()
def test_tools_give_what_they_give_for_theirs(tool: str) -> None:
    ours, theirs = (TOOLS[tool](model, model.run_with_cache(TOKENS)[1]) for model in pair())
    if tool.endswith("with labels"):
        (ours, labels), (theirs, expected) = ours, theirs
        assert labels == expected
    # HookedTransformer adds up biases in float32.
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6, check_dtype=False)


@beside_theirs
@torch.no_grad()
def test_a_key_value_cache_gives_the_logits_of_the_whole() -> None:
    from transformer_lens.cache.key_value_cache import TransformerLensKeyValueCache

    for model in pair():
        past = TransformerLensKeyValueCache.init_cache(model.cfg, "cpu", N_SEQUENCES)
        parts = zip(TOKENS.split(4, 1), MASK.split(4, 1), strict=True)
        steps = [model(tokens, attention_mask=mask, past_kv_cache=past) for tokens, mask in parts]
        close(torch.cat(steps, 1), model(TOKENS, attention_mask=MASK))


def patching_functions() -> list[str]:
    from transformer_lens import patching

    return [name for name in dir(patching) if name.startswith("get_act_patch_")]


@beside_theirs
@pytest.mark.parametrize("name", patching_functions())
@torch.no_grad()
def test_every_patching_function_gives_what_it_gives_for_theirs(name: str) -> None:
    from transformer_lens import patching

    def metric(logits: Tensor) -> Tensor:
        return logits[:, -1, 5].mean() - logits[:, 2, 6].mean()

    results = []
    for model in pair():
        _, clean = model.run_with_cache(TOKENS)
        results.append(getattr(patching, name)(model, CORRUPTED, clean, metric))
    close(*results)
    assert results[0].std() > 1e-3


@torch.no_grad()
def test_real_valued_inputs_enter_through_the_embedding() -> None:
    model = planted_decoder()
    one_hot = torch.nn.functional.one_hot(TOKENS, TASK.d_vocab).double()
    close(model(one_hot), model(TOKENS))
    vectors = torch.randn(N_SEQUENCES, N_POS, TASK.d_vocab, generator=torch.Generator().manual_seed(1)).double()
    logits, cache = model.run_with_cache(vectors)
    close(cache["hook_embed"], vectors @ model.W_E)
    close(model(cache["resid_pre", 0], start_at_layer=0), logits)
    close(model(vectors[0]), logits[:1])
    assert model(vectors, return_type="loss", tokens=TOKENS).item() == pytest.approx(
        model.loss_fn(logits, TOKENS).item()
    )
    with pytest.raises(ValueError, match="pass tokens="):
        model(vectors, return_type="loss")


def test_what_cannot_be_computed_is_refused() -> None:
    model = hooked_decoder(TASK, SPEC)
    with pytest.raises(ValueError, match=r"return_type='logit'"):
        model(TOKENS, return_type="logit")
    with pytest.raises(ValueError, match=f"longer than n_ctx = {TASK.n_ctx}"):
        model(TOKENS.repeat(1, TASK.n_ctx))
    for flag, name in zip(FLAGS, ("attn.hook_result", "hook_k_input", "hook_attn_in", "hook_mlp_in"), strict=True):
        with pytest.raises(AssertionError, match=flag):
            model.add_hook(f"blocks.1.{name}", replaced)
        getattr(model, f"set_{flag}")(True)
        model.add_hook(f"blocks.1.{name}", replaced)


def test_the_configuration_follows_the_model() -> None:
    model = hooked_decoder(TASK, SPEC).double()
    assert model.cfg.dtype == torch.float64
    assert model(TOKENS).dtype == torch.float64
    assert model.to("meta").cfg.device == "meta"
