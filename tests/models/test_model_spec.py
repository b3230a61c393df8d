"""ModelSpec: checked when made, immutable, a value."""

from __future__ import annotations

import dataclasses

import pytest

from rtinterp.models.transformer.presets import llama_like, mixit
from rtinterp.models.transformer.spec import ModelSpec


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "d_model is missing"),
        ({"d_model": "8"}, "d_model=.*valid integer"),
        ({"d_model": True}, "d_model=.*valid integer"),
        ({"d_model": 8.0}, "d_model=.*valid integer"),
        ({"d_model": 0}, "d_model=.*greater than or equal to 1"),
        ({"d_model": 8, "n_layers": 0}, "n_layers=.*greater than or equal to 1"),
        ({"d_model": 8, "n_heads": -4}, "n_heads=.*greater than or equal to 1"),
        ({"d_model": 8, "init": "xavier"}, "init=.*'gpt2', 'paper_text', 'imitation_target' or 'normal'"),
        ({"d_model": 8, "d_head": 2}, "there is no d_head"),
        ({"d_model": 30}, "d_model=30 is not a multiple of n_heads=4; .* 28 and 32"),
        ({"d_model": 31, "n_heads": 5}, "31 is not a multiple of n_heads=5; .* 30 and 35"),
        ({"d_model": 12, "positions": "rotary"}, "d_head=3 of d_model=12 and n_heads=4 is odd; use .* multiple of 8"),
        ({"d_model": 8, "positions": "rotary", "attention": "random_mixing"}, "'rotary' rotates .* use 'learned'"),
        ({"d_model": 8, "positions": "rotary", "attention": "prefix_sum"}, "'rotary' rotates .* use 'learned'"),
        (
            {"d_model": 8, "qk_init_std": "inverse_sqrt_width", "attention": "random_mixing"},
            "qk_init_std='inverse_sqrt_width' is about queries and keys, .*; leave it out",
        ),
        ({"d_model": 8, "mixing_length": 5}, "mixing_length=5 is about random mixing, .* 'softmax'; leave it out"),
        ({"d_model": 8, "skip_share": 1.0}, "skip_share=1.0.*less than 1"),
        ({"d_model": 8, "skip_share": 0.0}, "skip_share=0.0.*greater than 0"),
        ({"d_model": 8, "norm": "batch_norm"}, "norm=.*'layer_norm' or 'rms_norm'"),
        ({"d_model": 2}, "d_model=2 is not a multiple of n_heads=4; .* 4$"),
    ],
    ids=str,
)
def test_nonsense_is_refused_with_what_is_allowed(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelSpec(**fields)


def test_sizes_follow_from_the_width() -> None:
    spec = ModelSpec(d_model=24, n_heads=3)
    assert (spec.n_layers, spec.d_head, spec.d_mlp) == (2, 8, 96)


def test_specs_are_values() -> None:
    spec = ModelSpec(d_model=16)
    assert spec == ModelSpec(16, n_layers=2, n_heads=4, init="gpt2")
    assert hash(spec) == hash(ModelSpec(16))
    assert spec != ModelSpec(32)
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.d_model = 32


def test_it_is_told_without_the_younger_fields_that_are_as_in_gpt2() -> None:
    assert repr(ModelSpec(16)) == (
        "ModelSpec(d_model=16, n_layers=2, n_heads=4, init='gpt2', attention='softmax', positions='learned')"
    )
    for spec in (mixit(16), llama_like(16), ModelSpec(16, qk_init_std="inverse_sqrt_width")):
        assert eval(repr(spec)) == spec
    assert "mlp='gated'" in repr(mixit(16))
