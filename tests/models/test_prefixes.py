"""Distinct prefixes: each once, wherever it occurs, and padding nowhere."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rtinterp.models.prefixes import distinct_prefixes, order_by_prefix, share_entries

#: Vocabulary, positions: few tokens share much, many little; long sequences outgrow the sort key.
SIZES = [(2, 9), (3, 5), (50, 4), (300, 12), (2, 80)]
N_MODELS, N_BATCH = 3, 40


def case(d_vocab: int, n_pos: int, ordered: bool) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(d_vocab)
    tokens = torch.randint(d_vocab, (N_MODELS, N_BATCH, n_pos), generator=generator)
    lengths = torch.randint(1, n_pos + 1, (N_MODELS, N_BATCH), generator=generator)
    if ordered:
        order = order_by_prefix(tokens, d_vocab)
        tokens, lengths = tokens.gather(1, order[..., None].expand_as(tokens)), lengths.gather(1, order)
    return tokens, lengths


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize(("d_vocab", "n_pos"), SIZES)
def test_the_row_at_a_place_is_its_prefix(d_vocab: int, n_pos: int, ordered: bool) -> None:
    tokens, lengths = case(d_vocab, n_pos, ordered)
    prefixes = distinct_prefixes(tokens, lengths)
    for model in range(N_MODELS):
        prefix_of_row: dict[int, tuple[int, ...]] = {}
        for sequence in range(N_BATCH):
            for pos in range(lengths[model, sequence]):
                prefix = tuple(tokens[model, sequence, : pos + 1].tolist())
                row = int(prefixes.row_at[model, sequence, pos])
                assert prefix_of_row.setdefault(row, prefix) == prefix, "one row, one prefix"
                assert prefixes.tokens[model, row] == prefix[-1]
                assert prefixes.positions[model, row] == pos
        for row, prefix in prefix_of_row.items():
            sequence, pos = divmod(int(prefixes.occurrence[model, row]), n_pos)
            assert tuple(tokens[model, sequence, : pos + 1].tolist()) == prefix
            assert pos < lengths[model, sequence]


@pytest.mark.parametrize(("d_vocab", "n_pos"), SIZES[:3])
def test_sequences_in_order_share_all_they_can(d_vocab: int, n_pos: int) -> None:
    tokens, _ = case(d_vocab, n_pos, ordered=True)
    prefixes = distinct_prefixes(tokens, torch.full(tokens.shape[:2], n_pos))
    n_distinct = [
        len({tuple(row[: pos + 1]) for row in of_model for pos in range(n_pos)}) for of_model in tokens.tolist()
    ]
    assert prefixes.tokens.shape == (N_MODELS, max(n_distinct))
    assert [len(set(rows.flatten().tolist())) for rows in prefixes.row_at] == n_distinct


def test_padding_has_no_rows() -> None:
    tokens = torch.tensor([[[1, 2, 0, 0], [1, 2, 0, 0], [1, 2, 3, 0]]])
    prefixes = distinct_prefixes(tokens, torch.tensor([[2, 3, 3]]))
    assert sorted(zip(prefixes.tokens[0].tolist(), prefixes.positions[0].tolist(), strict=True)) == [
        (0, 2),
        (1, 0),
        (2, 1),
        (3, 2),
    ]


def test_the_worked_example_of_the_module() -> None:
    prefixes = distinct_prefixes(torch.tensor([[[5, 7, 2], [5, 8, 2]]]), torch.tensor([[3, 3]]))
    entries, (shared,) = share_entries([prefixes], n_pos=3)
    assert prefixes.tokens.tolist() == [[5, 7, 2, 8, 2]]
    assert prefixes.positions.tolist() == [[0, 1, 2, 1, 2]]
    assert prefixes.row_at.tolist() == [[[0, 1, 2], [0, 3, 4]]]
    assert prefixes.occurrence.tolist() == [[0, 1, 2, 4, 5]]
    assert (entries.tokens.tolist(), entries.positions.tolist()) == ([[2, 5, 7, 8]], [[2, 0, 1, 1]])
    assert shared.entries.tolist() == [[1, 2, 0, 3, 0]]
