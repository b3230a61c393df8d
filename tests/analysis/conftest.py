from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import torch
from analysis_references import PLANTED

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


@pytest.fixture(scope="module")
def sharp_model(tiny_model: HookedModel) -> HookedModel:
    """A model whose next token depends on the tokens before it and where they stand: d_vocab 11, n_ctx 12."""
    model = copy.deepcopy(tiny_model)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name)))
        parameter.data += (1.0 if name in ("embed.W_E", "pos_embed.W_pos") else 0.2) * noise
    return model


@pytest.fixture(scope="module")
def planted_model(tiny_model: HookedModel) -> HookedModel:
    """A model that predicts ``PLANTED`` after everything."""
    model = copy.deepcopy(tiny_model)
    model.unembed.W_U.data.zero_()
    model.unembed.b_U.data = torch.tensor(PLANTED).log()
    return model


@pytest.fixture
def logits_per_call(sharp_model: HookedModel, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many logits each call of a model computes."""
    seen: list[int] = []
    forward = type(sharp_model).forward

    def counting(self: HookedModel, tokens: torch.Tensor) -> torch.Tensor:
        logits = forward(self, tokens)
        seen.append(logits.numel())
        return logits

    monkeypatch.setattr(type(sharp_model), "forward", counting)
    return seen
