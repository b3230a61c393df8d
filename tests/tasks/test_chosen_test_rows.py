"""Which rows a task is tested on: chosen when it is made, never met in training, unsaid where nothing was chosen."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from task_references import row_set
from torch import Tensor

from rtinterp import tasks
from rtinterp.tasks import DecimalAddition, ModularAddition, NeedleInAHaystack, ParenthesisBalancing, Task
from rtinterp.tasks.distinct_rows import allot
from rtinterp.tasks.held_out import row_hash

#: At the sizes of the quick scale.
NEEDLE = NeedleInAHaystack(max_pairs=4, n_values=16)
DECIMAL = DecimalAddition(n_digits=2)
PARENTHESES = ParenthesisBalancing(max_pairs=10)
QUICK = [NEEDLE, DECIMAL, PARENTHESES]

OFFICIAL = [NeedleInAHaystack(), DecimalAddition(), ParenthesisBalancing()]

#: sha256 of the tokens of 3000 training sequences as uint8, as they were drawn before there was a choice.
STREAMS = [
    (ModularAddition(), "cae791633d672b1b"),
    (ModularAddition(p=23), "81b00ddd1a5ad565"),
    (NeedleInAHaystack(), "b8775e32639d91f1"),
    (NEEDLE, "4db13be9b0fe5f36"),
    (DecimalAddition(), "9aad2b83621ca7b2"),
    (DECIMAL, "e63f5b0cef395e3f"),
    (ParenthesisBalancing(), "81be4a18da7bff26"),
    (PARENTHESES, "abafc84be6e0fc1a"),
]

#: The same of test sets: neither machine nor version of torch may move them.
PINNED = [
    (NEEDLE, "2a4b6380f235f5f3"),
    (NEEDLE.for_validation(), "27e300d74a435359"),
    (DECIMAL, "7e42462df70addb4"),
    (DECIMAL.for_validation(), "51e390ec2b471a81"),
    (PARENTHESES, "6d468a4f9243f690"),
    (PARENTHESES.for_validation(), "209a6dfeb492e6c0"),
    (ParenthesisBalancing().for_validation(), "9aa0af2a0b3c930e"),
    (ModularAddition().for_validation(), "f49c61959405e858"),
]


def digest(tokens: Tensor) -> str:
    return hashlib.sha256(tokens.numpy().astype(np.uint8).tobytes()).hexdigest()[:16]


def lengths(task: Task, tokens: Tensor) -> Counter[int]:
    return Counter((tokens != task.pad_token).sum(dim=1).tolist())


def training_rows(task: Task, n: int = 200_000) -> set[bytes]:
    return row_set(task.sample(n, torch.Generator().manual_seed(1)).tokens)


def all_needle_rows(n_pairs: int) -> Tensor:
    """Every sequence of a number of pairs."""
    rows = [
        NEEDLE.sequence(markers, values, query)
        for markers in itertools.permutations(range(4), n_pairs)
        for values in itertools.product(range(1, 17), repeat=n_pairs)
        for query in markers
    ]
    return torch.stack(rows)


@pytest.mark.parametrize("task", [ModularAddition(), ModularAddition(p=5), *OFFICIAL, *QUICK], ids=repr)
def test_what_is_not_chosen_is_resolved_at_once(task: Task) -> None:
    cls = type(task)
    chosen = "official" if task in (*OFFICIAL, ModularAddition(), ModularAddition(p=5)) else "distinct"
    assert task.test_rows == chosen
    given = {name: value for name, value in vars(task).items() if name in cls.__dataclass_fields__}
    assert cls(**given) == task
    assert hash(cls(**given)) == hash(task)
    assert "test_rows" not in repr(task)


@pytest.mark.parametrize("task", [*OFFICIAL, *QUICK, DecimalAddition(3, True)], ids=repr)
@pytest.mark.parametrize("rows", [None, "distinct", "drawn", "validation"])
def test_the_printed_form_makes_the_task_again(task: Task, rows: str | None) -> None:
    made = type(task)(**{**vars(task), "test_rows": rows})
    assert eval(repr(made), vars(tasks)) == made
    assert ("test_rows" in repr(made)) == (made != task)
    assert repr(ModularAddition(5, test_rows="validation")) == "ModularAddition(p=5, test_rows='validation')"


def test_the_official_list_is_there_at_the_papers_size_only() -> None:
    message = "test_rows='official' are the list for max_pairs=30, n_values=127; elsewhere there are 'distinct'"
    with pytest.raises(ValueError, match=message):
        NeedleInAHaystack(4, 16, test_rows="official")
    with pytest.raises(ValueError, match=r"test_rows='every'.*'official', 'distinct', 'drawn' or 'validation'"):
        DecimalAddition(test_rows="every")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"test_rows='distinct'.*'official' or 'validation'"):
        ModularAddition(test_rows="distinct")  # pyright: ignore[reportArgumentType]
    at_size = NeedleInAHaystack(test_rows="drawn")
    assert len(row_set(at_size.test_set().tokens)) < 4000
    assert not training_rows(at_size, 50_000) & row_set(at_size.test_set().tokens)


@pytest.mark.parametrize(("task", "expected"), STREAMS, ids=repr)
def test_training_streams_are_what_they_were(task: Task, expected: str) -> None:
    def drawn(task: Task) -> str:
        return digest(task.sample(3000, torch.Generator().manual_seed(3)).tokens)

    assert drawn(task) == expected
    if task in QUICK:
        assert drawn(type(task)(**{**vars(task), "test_rows": "drawn"})) == expected


@pytest.mark.parametrize(("task", "expected"), PINNED, ids=repr)
def test_chosen_rows_stay_what_they_were(task: Task, expected: str) -> None:
    assert digest(task.test_set().tokens) == expected


@pytest.mark.parametrize("task", QUICK, ids=repr)
def test_distinct_rows_are_distinct_held_out_and_never_trained_on(task: Task) -> None:
    tokens = task.test_set().tokens
    assert len(row_set(tokens)) == len(tokens) == (4000 if task != DECIMAL else 377)
    assert task.is_held_out(tokens).all()
    assert not row_set(tokens) & training_rows(task)


def test_where_there_are_fewer_all_are_tested() -> None:
    rows = torch.stack([DECIMAL.sequence(a, b) for a, b in itertools.product(range(10, 100), repeat=2)])
    assert row_set(DECIMAL.test_set().tokens) == row_set(rows[row_hash(rows) % 20 == 0])


def test_each_length_has_its_share_or_all_that_there_is() -> None:
    counts = lengths(NEEDLE, NEEDLE.test_set().tokens)
    for n_pairs in (1, 2):
        rows = all_needle_rows(n_pairs)
        assert counts[2 * n_pairs + 2] == int((row_hash(rows) % 20 == 0).sum())
    assert sum(counts.values()) == 4000
    # Three and four pairs are equally frequent, and there are enough of both.
    assert counts[8] == pytest.approx(counts[10], rel=0.05)


def test_a_large_task_has_the_lengths_of_its_distribution() -> None:
    task = ParenthesisBalancing(max_pairs=20)
    counts, n = lengths(task, task.test_set().tokens), 60_000
    drawn = task._draw(n, torch.Generator().manual_seed(1))
    expected = lengths(task, drawn[task.query_position(drawn) >= 20])
    for length, count in expected.items():
        share = 4000 * count / sum(expected.values())
        assert counts[length] == pytest.approx(share, abs=5 * share**0.5)


def test_no_length_is_ahead_in_a_part_of_the_rows() -> None:
    tokens = PARENTHESES.test_set().tokens
    whole, part = lengths(PARENTHESES, tokens), lengths(PARENTHESES, tokens[:1000])
    for length, count in whole.items():
        assert part[length] == pytest.approx(count / 4, abs=5 * (count / 4) ** 0.5)


def allotted_by_hand(n: int, weights: list[int], caps: list[int]) -> list[int]:
    """One after the other, to whom is furthest behind its share and has room."""
    given = [0] * len(weights)
    for _ in range(min(n, sum(cap for weight, cap in zip(weights, caps, strict=True) if weight))):
        open_ = [one for one, weight in enumerate(weights) if weight and given[one] < caps[one]]
        given[min(open_, key=lambda one: (given[one] + 0.5) / weights[one])] += 1
    return given


@pytest.mark.parametrize(
    ("n", "weights", "caps"),
    [
        (10, [1, 1], [100, 100]),
        (10, [3, 1, 0], [100, 2, 5]),
        (4000, [1000, 1000, 1000, 1000], [5, 317, 9999, 9999]),
        (50, [8, 4, 2, 1], [20, 20, 20, 20]),
        (50, [8, 4, 2, 1], [4, 4, 4, 4]),
        (7, [5, 5, 5], [7, 7, 7]),
        (0, [1], [1]),
        (3, [0, 0], [5, 5]),
    ],
)
def test_what_one_has_no_room_for_goes_to_the_others(n: int, weights: list[int], caps: list[int]) -> None:
    given = allot(n, weights, caps)
    assert sum(given) == min(n, sum(cap for weight, cap in zip(weights, caps, strict=True) if weight))
    assert all(one <= cap for one, cap in zip(given, caps, strict=True))
    assert given == pytest.approx(allotted_by_hand(n, weights, caps), abs=1)


@pytest.mark.parametrize("task", [*OFFICIAL, *QUICK], ids=repr)
def test_validation_rows_are_others_and_training_holds_both_out(task: Task) -> None:
    validated = task.for_validation()
    test, validation = row_set(task.test_set().tokens), row_set(validated.test_set().tokens)
    assert validated.test_rows == "validation"
    assert len(validation) == len(validated.test_set().tokens) == (4000 if task != DECIMAL else 416)
    assert not validation & test
    assert validated.is_held_out(task.test_set().tokens).all()
    assert validated.is_held_out(validated.test_set().tokens).all()
    assert not training_rows(validated, 100_000) & (test | validation)
    twice = validated.for_validation()
    assert twice == validated
    if task != DecimalAddition():  # whose rows hardly ever come up twice
        assert training_rows(task, 100_000) & validation, "the last training may have them"


def test_short_strings_are_validated_as_they_are_tested_at_the_papers_size() -> None:
    task = ParenthesisBalancing().for_validation()
    length = task.query_position(task.test_set().tokens)
    assert length.min() < 10 < 55 < length.max()
    assert PARENTHESES.query_position(PARENTHESES.for_validation().test_set().tokens).min() == 10


@pytest.mark.parametrize("p", [2, 5, 199])
def test_the_last_twentieth_of_the_training_pairs_is_for_validation(p: int) -> None:
    task = ModularAddition(p=p)
    validated = task.for_validation()
    test, validation = row_set(task.test_set().tokens), row_set(validated.test_set().tokens)
    n_train = int(0.95 * p * p)
    assert len(validation) == n_train - int(0.95 * n_train) > 0
    train = row_set(validated.sample(30 * p * p, torch.Generator().manual_seed(0)).tokens)
    assert not train & (test | validation)
    assert not test & validation
    assert len(train | test | validation) == p * p


def test_short_strings_can_be_trained_on_while_the_rest_of_the_list_is_held_out() -> None:
    held_out, trained_on = ParenthesisBalancing(), ParenthesisBalancing(short_strings="trained on")
    assert trained_on.short_strings == "trained on" != held_out.short_strings
    test = trained_on.test_set().tokens
    assert torch.equal(test, held_out.test_set().tokens)
    is_short = held_out.query_position(test) <= 6
    short = test[is_short]
    assert (len(short), len(row_set(short))) == (384, 78)

    drawn, before = training_rows(trained_on), training_rows(held_out)
    assert row_set(short) <= drawn
    assert not row_set(short) & before
    assert not drawn & row_set(test[~is_short])
    assert eval(repr(trained_on), vars(tasks)) == trained_on
    assert "short_strings" not in repr(held_out)
    validated = trained_on.for_validation()
    drawn = training_rows(validated)
    assert row_set(short) <= drawn
    assert not drawn & (row_set(test[~is_short]) | row_set(validated.test_set().tokens))


@pytest.mark.parametrize("fields", [{"max_pairs": 10}, {"test_rows": "distinct"}], ids=str)
def test_short_strings_are_a_matter_of_the_official_list(fields: dict) -> None:
    with pytest.raises(ValueError, match="short_strings='trained on' is about the official list"):
        ParenthesisBalancing(short_strings="trained on", **fields)
    with pytest.raises(ValueError, match=r"short_strings='both'.*'held out' or 'trained on'"):
        ParenthesisBalancing(short_strings="both")  # pyright: ignore[reportArgumentType]
