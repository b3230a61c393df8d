"""What a model is given to read, of whatever type, is read as what it is or refused with what to pass."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from rtinterp import MambaSpec, ModelSpec, RecurrentSpec, build_model
from rtinterp.analysis import accuracy, attention_patterns, residual_explained_variance
from rtinterp.tasks import Batch, ModularAddition

TASK = ModularAddition(p=13)
TOKENS, SCORED = TASK.test_set().tokens[:4], TASK.test_set().scored[:4]
BODIES = [ModelSpec(8), ModelSpec(8, attention="prefix_sum"), RecurrentSpec(8), MambaSpec(8)]
SAME = {
    "int32": TOKENS.int(),
    "uint8": TOKENS.to(torch.uint8),
    "int16": TOKENS.short(),
    "array": TOKENS.numpy(),
    "array of bytes": TOKENS.numpy().astype(np.uint8),
    "lists": TOKENS.tolist(),
}


@pytest.fixture(scope="module", params=BODIES, ids=lambda body: body.label)
def model(request: pytest.FixtureRequest):
    return build_model(TASK, request.param, seed=0)


@pytest.mark.parametrize("tokens", SAME.values(), ids=SAME)
def test_token_ids_of_any_type_are_read_alike(model, tokens) -> None:
    logits = model(TOKENS)
    assert torch.equal(model(tokens), logits)
    assert torch.equal(model(input=tokens), logits)
    assert torch.equal(model.run_with_cache(tokens)[0], logits)


@pytest.mark.parametrize(
    ("given", "kind", "told"),
    [
        (TOKENS.float(), TypeError, r"float32 and shape \[4, 3\] are no token ids; pass token ids \[batch pos\]"),
        (TOKENS.bool(), TypeError, "inputs are of torch.bool; pass token ids"),
        (TOKENS + 13, ValueError, r"token ids are 1\d to 2\d, the model's 0 to 12; pass those of the task"),
        (TOKENS - 13, ValueError, r"token ids are -\d+ to -\d, the model's 0 to 12"),
        ("2 3", TypeError, "no tokenizer to read '2 3' with; pass token ids"),
        ([[1, 2], [3]], TypeError, "inputs are not numbers"),
        (None, TypeError, "not NoneType"),
    ],
    ids=["float", "bool", "too large", "negative", "text", "ragged", "nothing"],
)
def test_what_is_no_token_of_the_model_is_refused(model, given, kind: type[Exception], told: str) -> None:
    with pytest.raises(kind, match=told):
        model(given)


def test_a_residual_stream_is_no_input(model) -> None:
    if hasattr(model, "blocks"):
        residual = torch.full((2, 3, 8), 99.0)
        assert model(residual, start_at_layer=1).shape == (2, 3, 13)


def test_copies_look_at_their_inputs_too(model) -> None:
    with pytest.raises(ValueError, match="the model's 0 to 12"):
        copy.deepcopy(model)(TOKENS + 13)


@pytest.mark.parametrize("tokens", SAME.values(), ids=SAME)
def test_batches_and_analyses_take_them_too(tokens) -> None:
    transformer = build_model(TASK, BODIES[0], seed=0)
    batch = Batch(tokens, SCORED.numpy())
    assert torch.equal(batch.tokens, TOKENS)
    assert batch.tokens.dtype == torch.int64
    assert accuracy(transformer, batch) == accuracy(transformer, Batch(TOKENS, SCORED))
    assert torch.equal(attention_patterns(transformer, tokens), attention_patterns(transformer, TOKENS))
    everywhere = torch.ones_like(SCORED)
    expected = residual_explained_variance(transformer, [(TOKENS, everywhere)], k=2)
    assert residual_explained_variance(transformer, [(tokens, everywhere)], k=2).equals(expected)
    assert TASK.decode(tokens[0]) == TASK.decode(TOKENS[0])


def test_a_batch_scores_true_and_false_alone() -> None:
    with pytest.raises(TypeError, match=r"scored is of torch.int64; pass True where a prediction counts"):
        Batch(TOKENS, SCORED.long())
    with pytest.raises(TypeError, match="tokens must be a tensor of token ids or of real values, not str"):
        Batch("2 3", SCORED)
