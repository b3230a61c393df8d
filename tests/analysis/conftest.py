from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from rtinterp.models.build import build_model
from rtinterp.models.transformer.spec import ModelSpec

if TYPE_CHECKING:
    from rtinterp.models.hooked_model import HookedModel


@pytest.fixture(scope="session")
def tiny_model() -> HookedModel:
    """A random two-layer model whose embeddings are shared by every test: clone before changing them."""
    model = build_model(
        SimpleNamespace(name="tiny", d_vocab=11, d_vocab_out=11, reads="tokens", n_ctx=12),
        ModelSpec(d_model=32),
        seed=2,
    )
    for parameter in model.parameters():
        # GPT-2's initial values hardly make a difference at this width.
        parameter.data *= 7 if parameter.ndim > 1 else 1
    return model
