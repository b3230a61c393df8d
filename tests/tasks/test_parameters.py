"""Tasks are values: checked when made, immutable, equal when their parameters are."""

from __future__ import annotations

import dataclasses

import pytest
from task_references import CASES, Reference

from rtinterp.tasks import (
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


@pytest.mark.parametrize(
    ("build", "parameters", "message"),
    [
        (ModularAddition, {"p": 1}, "p=.*greater than or equal to 2"),
        (ModularAddition, {"p": 1001}, "p=.*less than or equal to 1000"),
        (ModularAddition, {"p": 7.0}, "valid integer"),
        (ModularAddition, {"p": "7"}, "valid integer"),
        (ModularAddition, {"p": True}, "valid integer"),
        (ModularAddition, {"q": 7}, "there is no q"),
        (NeedleInAHaystack, {"max_pairs": 0}, "max_pairs=.*greater than or equal to 1"),
        (NeedleInAHaystack, {"max_pairs": 201}, "max_pairs=.*less than or equal to 200"),
        (NeedleInAHaystack, {"n_values": 1}, "n_values=.*greater than or equal to 2"),
        (NeedleInAHaystack, {"max_pairs": 1, "n_values": 99}, "99 distinct .* 100 .* larger max_pairs or n_values"),
        (NeedleInAHaystack, {"max_pairs": 2, "n_values": 4}, "72 distinct sequences"),
        (DecimalAddition, {"n_digits": -1}, "n_digits=.*greater than or equal to 2"),
        (DecimalAddition, {"n_digits": 19}, "n_digits=.*less than or equal to 18"),
        (DecimalAddition, {"score_first_digit": 1}, "valid boolean"),
        (ParenthesisBalancing, {"max_pairs": 0}, "max_pairs=.*greater than or equal to 3"),
        (ParenthesisBalancing, {"max_pairs": 201}, "max_pairs=.*less than or equal to 200"),
        (ParenthesisBalancing, {"n_kinds": 0}, "n_kinds=.*greater than or equal to 1"),
        (ParenthesisBalancing, {"n_kinds": 31}, "n_kinds=.*less than or equal to 30"),
        (ParenthesisBalancing, {"n_kinds": 2, "test_rows": "official"}, "list for max_pairs=30, n_kinds=1; elsewhere"),
        (Memorization, {"n_keys": 1}, "n_keys=.*greater than or equal to 2"),
        (Memorization, {"n_keys": 2049}, "n_keys=.*less than or equal to 2048"),
        (CircuitImitation, {}, "target_d_model is missing"),
        (CircuitImitation, {"target_d_model": 0}, "target_d_model=.*greater than or equal to 1"),
        (CircuitImitation, {"target_d_model": 7}, "target_d_model=7 is not a multiple of target_n_heads=2"),
        (CircuitImitation, {"target_d_model": 4.0}, "valid integer"),
        (CircuitImitation, {"target_d_model": 4, "target_n_heads": 0}, "target_n_heads=.*greater than or equal to 1"),
        (
            CircuitImitation,
            {"target_d_model": 4, "target_n_layers": 0},
            "target_n_layers=.*than or equal to 1",
        ),
        (CircuitImitation, {"target_d_model": 4, "target_seed": -1}, "target_seed=.*greater than or equal to 0"),
        (CircuitImitation, {"target_d_model": 4, "n_tokens": 0}, "n_tokens=.*greater than or equal to 1"),
        (CircuitImitation, {"target_d_model": 4, "d_vocab": 1}, "d_vocab=.*greater than or equal to 2"),
        (CircuitImitation, {"target_d_model": 4, "scored_positions": "first"}, "'last' or 'all'"),
        (KHopInduction, {"max_hops": 0}, "max_hops=.*greater than or equal to 1"),
        (KHopInduction, {"alphabet": 2}, "alphabet=.*greater than or equal to 3"),
        (KHopInduction, {"alphabet": 27}, "alphabet=.*less than or equal to 26"),
        (KHopInduction, {"length": 18}, "max_hops=16 lead nowhere in 18 positions; use a length of at least 19"),
        (KHopInduction, {"max_hops": 1, "alphabet": 3, "length": 6}, "48 distinct .* larger alphabet or length"),
        (KHopInduction, {"test_rows": "official"}, "test_rows='official'.*'distinct' or 'validation'"),
        (GroupWordProblem, {"length": 1}, "length=.*greater than or equal to 2"),
        (GroupWordProblem, {"group": "S5"}, "group='S5'.*'Z2', 'Z60', 'A4xZ5' or 'A5'"),
        (GroupWordProblem, {"length": 6, "group": "Z2"}, "only 64 distinct .* larger length or group"),
        (MultiQueryRecall, {"n_pairs": 0}, "n_pairs=.*greater than or equal to 1"),
        (MultiQueryRecall, {"n_pairs": 17}, "n_pairs=17 .* not fit into 64 tokens; use a length of at least 68"),
        (MultiQueryRecall, {"d_vocab": 9}, "n_pairs=4 .* d_vocab=9 has 3; use a d_vocab of at least 10"),
        (MultiQueryRecall, {"n_pairs": 2, "d_vocab": 8}, "only 72 distinct .* larger d_vocab or n_pairs"),
        (Sorting, {"length": 1}, "length=.*greater than or equal to 2"),
        (Sorting, {"vocabulary": 1}, "vocabulary=.*greater than or equal to 2"),
        (Sorting, {"length": 2}, "only 25 distinct .* larger length or vocabulary"),
        (Multiplication, {"n_digits_a": 0}, "n_digits_a=.*greater than or equal to 1"),
        (Multiplication, {"n_digits_b": 21}, "n_digits_b=.*less than or equal to 20"),
        (Multiplication, {"n_digits_a": 1, "n_digits_b": 1}, "only 81 distinct .* larger n_digits_a or n_digits_b"),
        (GraphSearch, {"max_lookahead": 0}, "max_lookahead=.*greater than or equal to 1"),
        (GraphSearch, {"max_lookahead": 8}, "branches of 17 vertices, .* is 16; use n_vertices of at least 17"),
        (GraphSearch, {"n_edges": 7}, "branches of 8 edges, .* is 7; use n_edges of at least 8"),
        (GraphSearch, {"n_vertices": 9}, "n_edges=20 are more than n_vertices=9 .* up to 4; use at most 8"),
        (GraphSearch, {"n_vertices": 3, "n_edges": 2, "max_lookahead": 1}, "only 6 distinct .* larger n_vertices"),
    ],
)
def test_nonsense_is_refused_with_what_is_allowed(build: type[Task], parameters: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**parameters)


#: What the other parameters decide, where nothing is given.
CHOSEN = {"test_rows"}


@pytest.mark.parametrize(("task", "reference"), CASES)
def test_tasks_are_values(task: Task, reference: Reference) -> None:
    field = dataclasses.fields(task)[0]
    same = dataclasses.replace(task)
    value = "0" * 64 if isinstance(getattr(task, field.name), str) else 17
    other = dataclasses.replace(task, **{field.name: value}, **dict.fromkeys(CHOSEN & vars(task).keys()))
    assert task == same
    assert hash(task) == hash(same)
    assert task != other
    assert same.test_set() is task.test_set()
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(task, field.name, value)


def test_tasks_of_different_kinds_differ_even_with_equal_parameters() -> None:
    assert ModularAddition(p=31) != Memorization(n_keys=31)
    assert DecimalAddition() != DecimalAddition(score_first_digit=True)
