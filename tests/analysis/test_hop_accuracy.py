from __future__ import annotations

import pytest
import torch

from rtinterp.analysis import accuracy_by_hops, prediction_table
from rtinterp.tasks import KHopInduction

TASK = KHopInduction(max_hops=3, alphabet=3, length=20)
BATCH = TASK.sample(400, torch.Generator().manual_seed(0))


def test_who_repeats_the_character_is_right_without_a_hop_and_never_after_one() -> None:
    """One hop leads behind an equal character, so to another one."""
    table = accuracy_by_hops(BATCH.tokens[BATCH.scored] == BATCH.scored_targets, BATCH, TASK)
    assert table["hops"].to_list() == [0, 1, 2, 3]
    assert table["defined_accuracy"].to_list()[:2] == [1.0, 0.0]
    assert table["undefined_accuracy"].to_list() == [None, 0.0, 0.0, 0.0]
    assert table["high"][1] > 0 == table["low"][1]
    assert table["n_sequences"].sum() == 400
    assert (table["n_defined"] + table["n_undefined"]).to_list() == (19 * table["n_sequences"]).to_list()
    # All three characters come up early, so k hops lead nowhere from 2 k + 1 places.
    per_sequence = (table["n_undefined"] / table["n_sequences"]).to_list()
    assert per_sequence == pytest.approx([0, 3, 5, 7], abs=0.05)


def test_a_model_that_never_answers_with_a_character_is_right_where_hops_lead_nowhere_alone() -> None:
    def never(tokens: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.one_hot(torch.full_like(tokens, TASK.undefined_token), TASK.d_vocab).float()

    table = prediction_table(never, BATCH)
    by_hops = accuracy_by_hops(torch.tensor(table["right"].to_list()), BATCH, TASK)
    assert by_hops["defined_accuracy"].to_list() == [0.0] * 4
    assert by_hops["undefined_accuracy"].to_list()[1:] == [1.0] * 3
    shares = (by_hops["n_undefined"] / (by_hops["n_defined"] + by_hops["n_undefined"])).to_list()
    assert by_hops["accuracy"].to_list() == pytest.approx(shares)
    rows = BATCH.tokens[:, 0] == 2
    by_hand = (BATCH.expected(20)[rows][:, 1:] == TASK.undefined_token).double().mean().item()
    assert shares[2] == pytest.approx(by_hand)


def test_one_truth_value_per_prediction() -> None:
    with pytest.raises(ValueError, match=r"right has shape \[3\]; pass one for each of 8000 predictions"):
        accuracy_by_hops(torch.ones(3, dtype=torch.bool), BATCH, TASK)
