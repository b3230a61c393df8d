from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from transformer_lens import HookedTransformer


@pytest.fixture(scope="session")
def tiny_model() -> HookedTransformer:
    """A random two-layer model whose embeddings are shared by every test: clone before changing them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from transformer_lens import HookedTransformer, HookedTransformerConfig

        cfg = HookedTransformerConfig(
            n_layers=2,
            d_model=32,
            n_ctx=12,
            d_head=8,
            n_heads=4,
            d_mlp=64,
            d_vocab=11,
            act_fn="gelu_new",
            normalization_type="LN",
            device="cpu",
            seed=0,
        )
        return HookedTransformer(cfg)
