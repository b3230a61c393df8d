"""Test sets: the official ones at the paper's parameters, fixed ones elsewhere, never met in training."""

from __future__ import annotations

import hashlib
import itertools
import random

import numpy as np
import pytest
import torch
from task_references import row_set

from rtinterp.tasks import (
    CircuitImitation,
    DecimalAddition,
    Memorization,
    ModularAddition,
    NeedleInAHaystack,
    ParenthesisBalancing,
    Task,
)
from rtinterp.tasks.held_out import row_hash

#: sha256 of the official test sets, rows as uint8.
OFFICIAL = [
    (NeedleInAHaystack(), "b390d0d8d23c73be7b3e577acd6ac32bcb4ac6c1a2fbe7e31c685e6935383dbf"),
    (DecimalAddition(), "f8efa49f605dab902cc2f320d6119efc8c12421e556d063a3298651718cc1d52"),
    (DecimalAddition(score_first_digit=True), "f8efa49f605dab902cc2f320d6119efc8c12421e556d063a3298651718cc1d52"),
    (ParenthesisBalancing(), "65af564180a681f0c9457f04fd611e81f20b2e7be2e10743d7de84900ba7ba0a"),
    (ModularAddition(), "8c67e6cbc7f85a9052775bfe4cc15d13e6896ad7666a534ed0cc243989a50a32"),
]

#: sha256 of test sets drawn by the sampler, as first drawn: neither machine nor version of torch may move them.
PINNED = [
    (
        NeedleInAHaystack(max_pairs=6, n_values=20, test_rows="drawn"),
        "24738cd1a9c8035068cdfa37cc682df255d0b34307fea53626f4c326c44613c2",
    ),
    (
        DecimalAddition(n_digits=3, test_rows="drawn"),
        "66dee8b084f6d5325b8403387c735e37aa0b1d2308c3a60874a96832eeac5d96",
    ),
    (
        CircuitImitation(6, n_tokens=9, d_vocab=50),
        "b978c2262688b4a1994a1509d0d165e7f32532949e9d1545c56dca59970ada90",
    ),
    (
        ParenthesisBalancing(max_pairs=8, test_rows="drawn"),
        "8dafa0495d4e2c4f5d16b2a4d55e511f12d99e3effd24438c0bb425ada325060",
    ),
]

SMALL_OR_PAPER = [
    ModularAddition(),
    ModularAddition(p=7),
    NeedleInAHaystack(),
    NeedleInAHaystack(max_pairs=3, n_values=4),
    DecimalAddition(n_digits=2),
    DecimalAddition(n_digits=3, score_first_digit=True),
    ParenthesisBalancing(),
    ParenthesisBalancing(max_pairs=4),
    ParenthesisBalancing(max_pairs=12),
]


def sha256(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


@pytest.mark.parametrize(("task", "digest"), OFFICIAL, ids=str)
def test_official_test_sets(task: Task, digest: str) -> None:
    assert sha256(task.test_set().tokens.numpy().astype(np.uint8)) == digest


def test_official_labels() -> None:
    labels = Memorization().test_set().tokens[:, 2].numpy()
    assert sha256(labels.astype(np.uint16)) == "20fd44a8dd2f710258556e500b3d943a90b597f19edcacaa141c09e840002733"


@pytest.mark.parametrize(("task", "digest"), PINNED, ids=str)
def test_other_test_sets_stay_what_they_were(task: Task, digest: str) -> None:
    assert task.test_set().tokens.shape == (4000, task.sequence_length)
    assert sha256(task.test_set().tokens.numpy().astype(np.uint8)) == digest


@pytest.mark.parametrize("task", SMALL_OR_PAPER, ids=str)
def test_training_never_meets_a_test_sequence(task: Task) -> None:
    train = row_set(task.sample(200_000, torch.Generator().manual_seed(1)).tokens)
    test = row_set(task.test_set().tokens)
    assert test
    assert not train & test


@pytest.mark.parametrize("task", [ParenthesisBalancing(), NeedleInAHaystack()], ids=str)
def test_without_rejection_training_would_meet_them(task: Task) -> None:
    full = row_set(task._draw(20_000, torch.Generator().manual_seed(1)))
    assert full & row_set(task.test_set().tokens)


def test_a_twenty_digit_row_is_recognised_where_chance_would_never_draw_it() -> None:
    task = DecimalAddition()
    tokens = task.test_set().tokens
    assert task.is_held_out(tokens).all()
    assert not task.is_held_out(task._draw(10_000, torch.Generator().manual_seed(1))).any()
    other = tokens[0].clone()
    other[0] = (other[0] + 1) % 10
    assert not task.is_held_out(other[None]).any()


def test_the_hash_holds_out_one_distinct_sequence_in_twenty() -> None:
    task = DecimalAddition(n_digits=2)
    rows = torch.stack([task.sequence(a, b) for a, b in itertools.product(range(10, 100), repeat=2)])
    share = task.is_held_out(rows).double().mean().item()
    assert share == pytest.approx(0.05, abs=4 * (0.05 * 0.95 / len(rows)) ** 0.5)
    test = row_set(task.test_set().tokens)
    assert test == row_set(rows[task.is_held_out(rows)])
    train = row_set(task.sample(200_000, torch.Generator().manual_seed(0)).tokens)
    assert train == row_set(rows[~task.is_held_out(rows)])


def test_held_out_sums_do_not_cluster() -> None:
    task = DecimalAddition(n_digits=2)
    rows = torch.stack([task.sequence(a, b) for a, b in itertools.product(range(10, 100), repeat=2)])
    held_out = task.is_held_out(rows)
    for column in (0, 1, 3, 4):
        for digit in rows[:, column].unique():
            at_digit = held_out[rows[:, column] == digit].double()
            assert at_digit.mean().item() == pytest.approx(0.05, abs=5 * (0.05 * 0.95 / len(at_digit)) ** 0.5)


def test_even_the_smallest_tasks_hold_out_both_kinds_of_answers() -> None:
    task = ParenthesisBalancing(max_pairs=3)
    batch = task.test_set()
    answers = batch.tokens[:, 1:][batch.scored[:, :-1]]
    assert answers.unique().tolist() == [1, 2]
    assert NeedleInAHaystack(max_pairs=1, n_values=100).test_set().tokens.unique(dim=0).shape[0] >= 1


@pytest.mark.parametrize("p", [2, 5, 199])
def test_modular_addition_splits_all_pairs(p: int) -> None:
    task = ModularAddition(p=p)
    test = row_set(task.test_set().tokens[:, :2])
    train = row_set(task.sample(20 * p * p, torch.Generator().manual_seed(0)).tokens[:, :2])
    everything = row_set(task.pairs)
    assert len(everything) == p * p
    assert task.pairs[p].tolist() == [1, 0]
    assert len(test) == len(task.test_set()) == p * p - int(0.95 * p * p)
    assert train | test == everything
    assert not train & test


def test_memorization_trains_on_its_test_set() -> None:
    task = Memorization(n_keys=6)
    test = task.test_set().tokens
    assert test[:, :2].tolist() == [[x, 6 + y] for y in range(6) for x in range(6)]
    assert row_set(task.sample(2000, torch.Generator().manual_seed(0)).tokens) == row_set(test)


def test_every_target_is_imitated_on_the_same_sequences() -> None:
    tokens = CircuitImitation(4).test_set().tokens
    assert torch.equal(tokens, CircuitImitation(128, target_seed=3, scored_positions="all").test_set().tokens)
    assert not row_set(tokens) & row_set(CircuitImitation(4).sample(20_000, torch.Generator().manual_seed(1)).tokens)
    assert len(row_set(tokens)) == 4000


def test_row_hash_is_splitmix_of_a_weighted_sum() -> None:
    rng, mask = random.Random(12345), 2**64 - 1
    weights = [rng.getrandbits(64) | 1 for _ in range(5)]
    rows = torch.randint(0, 1000, (50, 5), generator=torch.Generator().manual_seed(0))
    for row, got in zip(rows.tolist(), row_hash(rows).tolist(), strict=True):
        z = sum(token * weight for token, weight in zip(row, weights, strict=True)) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        assert got & mask == z ^ (z >> 31)


def test_row_hash_hardly_ever_collides() -> None:
    rows = torch.cartesian_prod(*[torch.arange(8)] * 6)
    assert row_hash(rows).unique().numel() == len(rows)


def test_no_string_of_parentheses_makes_up_much_of_a_test_set() -> None:
    task = ParenthesisBalancing(max_pairs=10)
    tokens = task.test_set().tokens
    assert int(task.query_position(tokens).min()) >= 10, "short strings, which are common, are never held out"
    _, counts = tokens.unique(dim=0, return_counts=True)
    assert counts.max() < 0.05 * len(tokens)
    drawn = task.sample(20_000, torch.Generator().manual_seed(0)).tokens
    assert int(task.query_position(drawn).min()) == 1, "and are trained on"
