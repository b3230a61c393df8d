import doctest
import math

import polars as pl
import pytest
import torch

from rtinterp.analysis import attention, attention_patterns, attention_score, best_head, pattern_table

# m1 v1 m2 v2 m3 v3 q, where q asks for v2.
VALUE_POS = torch.tensor([1, 3, 5])
MARKER_POS = VALUE_POS - 1
QUERY_POS = torch.tensor([6])
MATCHED_POS = torch.tensor([3])
FIRST_SEQUENCE = torch.zeros(3, dtype=torch.int64)


@pytest.fixture
def tokens():
    return torch.randint(11, (3, 9), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def planted():
    """[layer 2, batch 1, head 3, 7, 7]: uniform, but (0, 2) copies markers and (1, 1) retrieves with weight 0.9."""
    uniform = torch.ones(7, 7).tril()
    patterns = (uniform / uniform.sum(dim=-1, keepdim=True)).repeat(2, 1, 3, 1, 1)
    patterns[0, 0, 2, VALUE_POS] = torch.eye(7)[MARKER_POS]
    patterns[1, 0, 1, 6] = torch.tensor([0.0, 0.03, 0.0, 0.9, 0.0, 0.05, 0.02])
    return patterns


def test_patterns_are_causal_distributions(tiny_model, tokens):
    patterns = attention_patterns(tiny_model, tokens)
    assert patterns.shape == (2, 3, 4, 9, 9)
    assert not patterns.requires_grad
    assert (patterns.triu(diagonal=1) == 0).all()
    torch.testing.assert_close(patterns.sum(dim=-1), torch.ones(2, 3, 4, 9))


def test_patterns_equal_the_full_cache(tiny_model, tokens):
    _, cache = tiny_model.run_with_cache(tokens)
    patterns = attention_patterns(tiny_model, tokens)
    for layer in range(2):
        assert torch.equal(patterns[layer], cache["pattern", layer])


def test_one_sequence_is_a_batch_of_one(tiny_model, tokens):
    alone = attention_patterns(tiny_model, tokens[1])
    torch.testing.assert_close(alone, attention_patterns(tiny_model, tokens)[:, 1:2])


def test_changing_a_token_leaves_earlier_queries_alone(tiny_model, tokens):
    changed = tokens.clone()
    changed[:, 5] = (changed[:, 5] + 1) % 11
    before, after = attention_patterns(tiny_model, tokens), attention_patterns(tiny_model, changed)
    assert torch.equal(before[..., :5, :], after[..., :5, :])
    assert not torch.allclose(before[..., 5:, :], after[..., 5:, :])


@pytest.mark.parametrize("shape", [(0,), (13,), (2, 13)])
def test_bad_tokens_are_refused(tiny_model, shape):
    with pytest.raises(ValueError, match="tokens"):
        attention_patterns(tiny_model, torch.zeros(shape, dtype=torch.int64))


def test_table_reshapes_back_to_the_patterns(tiny_model, tokens):
    patterns = attention_patterns(tiny_model, tokens)[:, 2]
    labels = list("abcabcabc")
    table = pattern_table(patterns, labels).sample(fraction=1.0, shuffle=True, seed=0)
    assert table.columns == ["layer", "head", "query_pos", "key_pos", "query_label", "key_label", "weight"]
    table = table.sort("layer", "head", "query_pos", "key_pos")
    assert torch.equal(table["weight"].to_torch().reshape(patterns.shape), patterns)
    row = table.filter(pl.col("layer") == 1, pl.col("head") == 3, pl.col("query_pos") == 7, pl.col("key_pos") == 2)
    assert row["query_label"].item() == "b"
    assert row["key_label"].item() == "c"
    assert row["weight"].item() == patterns[1, 3, 7, 2].item()


def test_table_wants_one_label_per_position():
    with pytest.raises(ValueError, match="2 labels for 3 positions"):
        pattern_table(torch.zeros(1, 1, 3, 3), ["a", "b"])


def test_planted_marker_head_is_found(planted):
    scores = attention_score(planted, batch_index=FIRST_SEQUENCE, query_pos=VALUE_POS, key_pos=MARKER_POS)
    assert best_head(scores) == (0, 2, 1.0)
    uniform = (1 / 2 + 1 / 4 + 1 / 6) / 3
    assert scores[1, 0].item() == pytest.approx(uniform)
    assert best_head(scores, layer=1).score == pytest.approx(uniform)
    itself = attention_score(planted, batch_index=FIRST_SEQUENCE, query_pos=VALUE_POS, key_pos=VALUE_POS)
    assert itself[0, 2] == 0


def test_planted_retrieval_head_is_found(planted):
    query = {"batch_index": FIRST_SEQUENCE[:1], "query_pos": QUERY_POS}
    best = best_head(attention_score(planted, **query, key_pos=MATCHED_POS))
    assert best[:2] == (1, 1)
    assert best.score == pytest.approx(0.9)
    assert attention_score(planted, **query, key_pos=QUERY_POS)[1, 1].item() == pytest.approx(0.02)


def test_the_worked_example_is_true():
    n_failed, n_tried = doctest.testmod(attention, extraglobs={"torch": torch})
    assert (n_failed, n_tried) == (0, 6)


def test_score_averages_over_occurrences_of_all_sequences():
    generator = torch.Generator().manual_seed(2)
    patterns = torch.rand(2, 4, 3, 6, 6, generator=generator)
    occurrences = [(0, 5, 1), (3, 2, 2), (3, 4, 0), (1, 3, 1)]
    batch_index, query_pos, key_pos = torch.tensor(occurrences).T
    score = attention_score(patterns, batch_index=batch_index, query_pos=query_pos, key_pos=key_pos)
    for layer in range(2):
        for head in range(3):
            by_hand = math.fsum(patterns[layer, b, head, q, k].item() for b, q, k in occurrences) / len(occurrences)
            assert score[layer, head].item() == pytest.approx(by_hand)


@pytest.mark.parametrize(
    ("batch_index", "query_pos", "key_pos", "message"),
    [
        ([], [], [], "at least one"),
        ([1], [2], [1], "batch_index spans 1"),
        ([0], [7], [1], "query_pos spans 7"),
        ([0], [2], [-1], "key_pos spans -1"),
        ([0], [1], [2], "swap"),
    ],
)
def test_bad_occurrences_are_refused(planted, batch_index, query_pos, key_pos, message):
    indices = {"batch_index": batch_index, "query_pos": query_pos, "key_pos": key_pos}
    with pytest.raises(ValueError, match=message):
        attention_score(planted, **{name: torch.tensor(index).long() for name, index in indices.items()})


def test_best_head_refuses_unknown_layers_and_nan():
    with pytest.raises(ValueError, match="layer 2 does not exist"):
        best_head(torch.zeros(2, 3), layer=2)
    with pytest.raises(ValueError, match="finite"):
        best_head(torch.tensor([[0.1, math.nan]]))
