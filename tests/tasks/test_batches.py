"""Every sequence of every task: right answer, right padding, right scored positions, reproducible."""

from __future__ import annotations

import random

import pytest
import torch
from task_references import CASES, Reference

from rtinterp.tasks import (
    TASKS,
    CircuitImitation,
    DecimalAddition,
    GraphSearch,
    GroupWordProblem,
    KHopInduction,
    Memorization,
    ModularAddition,
    Multiplication,
    MultiQueryRecall,
    NeedleInAHaystack,
    ParenthesisBalancing,
    Sorting,
    Task,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("source", ["sample", "test_set"])
@pytest.mark.parametrize(("task", "reference"), CASES)
def test_rows_and_scored_positions_are_those_of_a_brute_force(task: Task, reference: Reference, source: str) -> None:
    batch = task.sample(500, generator()) if source == "sample" else task.test_set()[:500]
    assert batch.tokens.dtype == torch.int64
    assert batch.scored.dtype == torch.bool
    assert batch.tokens.shape == batch.scored.shape == (len(batch), task.sequence_length)
    assert 0 <= batch.tokens.min() <= batch.tokens.max() < task.d_vocab
    for row, scored in zip(batch.tokens.tolist(), batch.scored, strict=True):
        expected_row, expected_scored = reference(task, row)
        assert row == expected_row
        assert scored.nonzero().flatten().tolist() == expected_scored


@pytest.mark.parametrize(
    ("task", "sequence_length", "n_ctx", "d_vocab"),
    [
        (ModularAddition(), 3, 5, 199),
        (NeedleInAHaystack(), 63, 100, 256),
        (DecimalAddition(), 34, 40, 31),
        (ParenthesisBalancing(), 63, 80, 4),
        (ParenthesisBalancing(n_kinds=3), 63, 80, 8),
        (Memorization(), 3, 5, 1024),
        (CircuitImitation(128), 41, 40, 512),
        (KHopInduction(), 99, 99, 23),
        (GroupWordProblem(), 16, 16, 60),
        (GroupWordProblem(9, "Z2"), 9, 9, 2),
        (MultiQueryRecall(), 64, 64, 8192),
        (Sorting(), 21, 21, 6),
        (GraphSearch(), 65, 65, 19),
        (Multiplication(), 15, 15, 24),
        (NeedleInAHaystack(max_pairs=4, n_values=7), 11, 48, 16),
        (NeedleInAHaystack(max_pairs=4, n_values=8), 11, 48, 32),
    ],
    ids=str,
)
def test_sizes(task: Task, sequence_length: int, n_ctx: int, d_vocab: int) -> None:
    assert (task.sequence_length, task.n_ctx, task.d_vocab) == (sequence_length, n_ctx, d_vocab)


@pytest.mark.parametrize("score_first_digit", [False, True])
def test_decimal_addition_scores_eleven_or_twelve_predictions(score_first_digit: bool) -> None:
    task = DecimalAddition(score_first_digit=score_first_digit)
    per_row = task.sample(1000, generator()).scored.sum(dim=1)
    assert per_row.unique().tolist() == [task.n_scored] == [12 if score_first_digit else 11]
    assert torch.equal(task.test_set().tokens, DecimalAddition().test_set().tokens)


@pytest.mark.parametrize(("task", "reference"), CASES)
def test_the_generator_decides_the_batch_and_nothing_else_does(task: Task, reference: Reference) -> None:
    torch.manual_seed(1)
    before, python_before = torch.get_rng_state(), random.getstate()
    first = task.sample(300, generator(5))
    torch.manual_seed(2)
    again = task.sample(300, generator(5))
    assert torch.equal(first.tokens, again.tokens)
    assert torch.equal(first.scored, again.scored)
    assert not torch.equal(first.tokens, task.sample(300, generator(6)).tokens)

    torch.manual_seed(1)
    task.sample(300, generator(7))
    assert torch.equal(torch.get_rng_state(), before)
    assert random.getstate() == python_before


@pytest.mark.parametrize(
    "task",
    [
        ModularAddition(p=11),
        NeedleInAHaystack(max_pairs=3, n_values=11),
        DecimalAddition(n_digits=4),
        ParenthesisBalancing(max_pairs=5),
        ParenthesisBalancing(max_pairs=5, n_kinds=2),
        Memorization(n_keys=7),
        CircuitImitation(6, n_tokens=5),
        KHopInduction(max_hops=3, length=12),
        GroupWordProblem(4),
        GraphSearch(6, 6, 2),
        Multiplication(2, 2),
        Sorting(4),
        MultiQueryRecall(10, 2, 12),
    ],
    ids=str,
)
def test_building_a_test_set_leaves_global_generators_alone(task: Task) -> None:
    torch.manual_seed(1)
    before, python_before = torch.get_rng_state(), random.getstate()
    task.test_set()
    task.floors()
    assert torch.equal(torch.get_rng_state(), before)
    assert random.getstate() == python_before


@pytest.mark.parametrize(("task", "reference"), CASES)
def test_a_stream_goes_on(task: Task, reference: Reference) -> None:
    stream = generator()
    assert not torch.equal(task.sample(300, stream).tokens, task.sample(300, stream).tokens)


@pytest.mark.parametrize("n", [1, 2, 1001])
@pytest.mark.parametrize(("task", "reference"), CASES)
def test_as_many_sequences_as_asked_for(task: Task, reference: Reference, n: int) -> None:
    assert len(task.sample(n, generator())) == n


@pytest.mark.parametrize("n", [0, -3])
@pytest.mark.parametrize(("task", "reference"), CASES)
def test_no_sequences_is_an_error(task: Task, reference: Reference, n: int) -> None:
    with pytest.raises(ValueError, match=f"at least 1, got {n}"):
        task.sample(n, generator())


@pytest.mark.parametrize(
    ("task", "tokens", "text"),
    [
        (ModularAddition(p=7), [3, 5, 1], "3 5 1"),
        (NeedleInAHaystack(), [128, 5, 129, 17, 159, 17, 0], "a 5 b 17 b? 17"),
        (NeedleInAHaystack(), [153, 5, 154, 17, 184, 17], "z 5 A 17 A? 17"),
        (NeedleInAHaystack(max_pairs=60), [180, 1, 240, 1], "m52 1 m52? 1"),
        (DecimalAddition(), [1, 2, 10, 3, 4, 11, 24, 26, 30, 12], "1 2 + 3 4 = 4 6 ."),
        (ParenthesisBalancing(), [1, 2, 3, 2, 0, 0], "( ) ? yes"),
        (ParenthesisBalancing(), [2, 1, 3, 1, 0], ") ( ? no"),
        (ParenthesisBalancing(n_kinds=5), [1, 4, 10, 11, 5, 2, 3, 2, 0], "( [ a A ] ) ? yes"),
        (Memorization(), [3, 517, 400], "3 y5 400"),
        (CircuitImitation(8), [3, 511, 0], "3 511 0"),
        (KHopInduction(), [16, 17, 20, 21, 22], "16 a d ~ _"),
        (GroupWordProblem(), [0, 1, 2, 3, 59], "e (345) (354) (23)(45) (15)(24)"),
        (GroupWordProblem(group="A4xZ5"), [0, 7, 59], "e,0 (234),2 (14)(23),4"),
        (MultiQueryRecall(12, 2, 12), [1, 7, 5, 11, 0, 6, 5, 7, 3, 2, 1, 1], "k1 v1 k5 v5 0 v0 k5? v1 k3 k2 k1? k1?"),
        (Sorting(3, 30), [29, 0, 3, 30, 0, 3, 29], "29 0 3 = 0 3 29"),
        (Multiplication(2, 1), [1, 2, 10, 3, 11, 16, 19, 23, 12], "1 2 * 3 = 3 6 ."),
        (
            GraphSearch(6, 4, 1),
            [6, 0, 5, 6, 0, 2, 6, 1, 2, 6, 5, 4, 7, 0, 5, 8, 5],
            "E 0 5 E 0 2 E 1 2 E 5 4 Q 0 5 P 5",
        ),
        (GroupWordProblem(group="Z60"), [0, 7, 59], "0 7 59"),
    ],
)
def test_decode(task: Task, tokens: list[int], text: str) -> None:
    assert task.decode(torch.tensor(tokens)) == text


@pytest.mark.parametrize(("task", "reference"), CASES)
def test_decode_and_labels_cover_the_vocabulary_and_no_more(task: Task, reference: Reference) -> None:
    labels = [task.token_label(token) for token in range(task.d_vocab)]
    assert all(labels)
    assert not any(" " in label for label in labels)
    for token in (-1, task.d_vocab):
        with pytest.raises(ValueError, match=f"token {token} is not in the vocabulary"):
            task.decode(torch.tensor([0, token]))
        with pytest.raises(ValueError, match=f"0 to {task.d_vocab - 1}"):
            task.token_label(token)
    with pytest.raises(ValueError, match="one sequence"):
        task.decode(torch.zeros(2, 2, dtype=torch.int64))


def test_figure_2_sequence_and_its_positions() -> None:
    task = NeedleInAHaystack()
    tokens = task.sequence(markers=[0, 1, 2, 3], values=[1, 2, 3, 4], query=1)
    assert tokens[:10].tolist() == [128, 1, 129, 2, 130, 3, 131, 4, 159, 2]
    assert tokens[10:].eq(0).all()
    assert len(tokens) == task.sequence_length

    batch = torch.stack([tokens, task.sequence(markers=[7, 2], values=[9, 9], query=7)])
    assert task.query_position(batch).tolist() == [8, 4]
    assert task.queried_value_position(batch).tolist() == [3, 1]
    pairs = task.key_value_positions(batch)
    assert pairs.row.tolist() == [0, 0, 0, 0, 1, 1]
    assert pairs.marker.tolist() == [0, 2, 4, 6, 0, 2]
    assert pairs.value.tolist() == [1, 3, 5, 7, 1, 3]


def test_positions_found_in_random_sequences_hold_what_they_should() -> None:
    task = NeedleInAHaystack(max_pairs=6, n_values=20)
    tokens = task.sample(300, generator()).tokens
    row = torch.arange(len(tokens))
    query, queried = task.query_position(tokens), task.queried_value_position(tokens)
    assert torch.equal(tokens[row, queried], tokens[row, query + 1])
    assert torch.equal(tokens[row, queried - 1] + 6, tokens[row, query])
    assert (queried < query).all()


def test_explicit_sequences() -> None:
    addition = DecimalAddition(n_digits=3)
    assert addition.decode(addition.sequence(123, 978)) == "3 2 1 + 8 7 9 = 1 0 1 1 ."
    assert addition.decode(addition.sequence(123, 456)) == "3 2 1 + 6 5 4 = 9 7 5 ."
    balancing = ParenthesisBalancing()
    assert balancing.decode(balancing.sequence("(())()")) == "( ( ) ) ( ) ? yes"
    assert balancing.decode(balancing.sequence("())(()")) == "( ) ) ( ( ) ? no"
    assert balancing.decode(balancing.sequence("(")) == "( ? no"
    assert balancing.sequence("(" * 30 + ")" * 30)[60:].tolist() == [3, 2, 0]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: NeedleInAHaystack().sequence([0, 0], [1, 2], 0), "distinct markers"),
        (lambda: NeedleInAHaystack().sequence([0, 1], [1], 0), "one value for each"),
        (lambda: NeedleInAHaystack().sequence([0, 1], [1, 2], 2), "one of the markers"),
        (lambda: NeedleInAHaystack().sequence([0, 1], [1, 128], 0), "1 to 127"),
        (lambda: NeedleInAHaystack().sequence([0, 30], [1, 2], 0), "0 to 29"),
        (lambda: DecimalAddition(n_digits=3).sequence(12, 345), "3 digits, got 12"),
        (lambda: DecimalAddition(n_digits=3).sequence(-12, 345), "3 digits, got -12"),
        (lambda: ParenthesisBalancing(max_pairs=3).sequence("((((((("), "1 to 6 parentheses"),
        (lambda: ParenthesisBalancing().sequence(""), "1 to 60 parentheses"),
        (lambda: ParenthesisBalancing().sequence("(]"), "parentheses, got"),
    ],
)
def test_impossible_sequences_are_refused(build, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def test_names_find_their_tasks() -> None:
    assert {name: task.name for name, task in TASKS.items()} == {name: name for name in TASKS}
    assert {name for name, task in TASKS.items() if task.__module__.startswith("rtinterp.")} == {
        "modular_addition",
        "needle_in_a_haystack",
        "decimal_addition",
        "parenthesis_balancing",
        "memorization",
        "circuit_imitation",
        "k_hop_induction",
        "language_modelling",
        "affine_recurrence",
        "polynomial_sequence",
        "group_word_problem",
        "multi_query_recall",
        "sorting",
        "multiplication",
        "graph_search",
    }


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("task", "reference"), CASES)
def test_samples_are_right_on_a_gpu_and_keep_to_the_same_split(task: Task, reference: Reference) -> None:
    batch = task.sample(500, torch.Generator("cuda").manual_seed(0))
    assert batch.tokens.device.type == batch.scored.device.type == "cuda"
    for row, scored in zip(batch.tokens.tolist(), batch.scored.cpu(), strict=True):
        assert (row, scored.nonzero().flatten().tolist()) == reference(task, row)
    if hasattr(task, "is_held_out"):
        assert not task.is_held_out(batch.tokens.cpu()).any()
        assert task.is_held_out(task.test_set().tokens.cuda()).all()
