from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from rtinterp.analysis import attention_patterns, retrieval_scores
from rtinterp.models.build import build_model
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import NeedleInAHaystack

TASK = NeedleInAHaystack(max_pairs=4, n_values=16)
TOKENS = TASK.sample(40, torch.Generator().manual_seed(0)).tokens


def test_planted_heads_are_found_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Head 0 of layer 0 looks one back, head 1 of layer 1 mostly at the right value, the others at themselves."""
    n_pos = TOKENS.shape[1]
    patterns = torch.eye(n_pos).repeat(2, len(TOKENS), 2, 1, 1)
    patterns[0, :, 0] = torch.eye(n_pos).roll(-1, 1)
    for row, tokens in enumerate(TOKENS.tolist()):
        query = next(place for place, token in enumerate(tokens) if token >= 21)
        asked = tokens.index(tokens[query] - 4) + 1
        patterns[1, row, 1, query] = 0.0
        patterns[1, row, 1, query, asked] = 0.7
    monkeypatch.setattr("rtinterp.analysis.retrieval_heads.attention_patterns", lambda model, tokens: patterns)
    table = retrieval_scores(SimpleNamespace(), TOKENS, TASK)  # pyright: ignore[reportArgumentType]
    assert table.select("layer", "head").rows() == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert table["prev_score"].to_list() == [1.0, 0.0, 0.0, 0.0]
    # The last pair of a context stands right before the query.
    last = (TASK.queried_value_position(TOKENS) == TASK.query_position(TOKENS) - 1).double().mean().item()
    assert table["retr_score"].to_list() == pytest.approx([last, 0.0, 0.0, 0.7])


def test_scores_of_a_model_are_means_over_pairs_and_over_queries() -> None:
    model = build_model(TASK, ModelSpec(16), seed=0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.mul_(20 if ".W_" in name else 1)
    table = retrieval_scores(model, TOKENS, TASK)
    patterns = attention_patterns(model, TOKENS)
    prev = torch.zeros(2, 4)
    retr = torch.zeros(2, 4)
    n_pairs = 0
    for row, tokens in enumerate(TOKENS.tolist()):
        query = next(place for place, token in enumerate(tokens) if token >= 21)
        for value in range(1, query, 2):
            prev += patterns[:, row, :, value, value - 1]
            n_pairs += 1
        retr += patterns[:, row, :, query, tokens.index(tokens[query] - 4) + 1]
    assert table["prev_score"].to_list() == pytest.approx((prev / n_pairs).flatten().tolist(), rel=1e-4)
    assert table["retr_score"].to_list() == pytest.approx((retr / len(TOKENS)).flatten().tolist(), rel=1e-4)
