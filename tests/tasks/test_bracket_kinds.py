"""Brackets of several kinds: matching by a stack, the law of the draws, the split, floors, the causal model."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter

import pytest
import torch
from task_references import brackets, excess_of_two, row_set

from rtinterp import tasks
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import ParenthesisBalancing, bracket_kinds, parenthesis_strings
from rtinterp.training.spec import RunSpec, TrainSpec, spec_from_json, spec_to_json

SMALL = ParenthesisBalancing(max_pairs=3, n_kinds=2)
PAIRS = {")": "(", "]": "[", "}": "{"}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def strings(task: ParenthesisBalancing, tokens: torch.Tensor) -> list[str]:
    return [task.decode(row).split("?")[0].replace(" ", "") for row in tokens]


def matches(string: str) -> dict[int, int]:
    """The place of its opening for every closing that has one, whatever the kinds."""
    opened, found = [], {}
    for place, symbol in enumerate(string):
        if symbol not in PAIRS:
            opened.append(place)
        elif opened:
            found[place] = opened.pop()
    return found


def conditions(string: str) -> dict[str, bool]:
    depths = list(itertools.accumulate((-1 if symbol in PAIRS else 1) for symbol in string))
    return {
        "equal counts": depths[-1] == 0,
        "never negative": min(depths) >= 0,
        "matching kinds": all(
            string[opening] == PAIRS[string[closing]] for closing, opening in matches(string).items()
        ),
    }


def test_openings_are_those_of_a_stack() -> None:
    every = list(itertools.product("()", repeat=9))
    symbols = torch.tensor([[1 + "()".index(symbol) for symbol in string] for string in every])
    for string, found in zip(every, bracket_kinds.openings(symbols).tolist(), strict=True):
        assert {closing: at for closing, at in enumerate(found) if at >= 0} == matches("".join(string))


def test_tokens_stand_for_symbols_and_kinds() -> None:
    symbols, kinds = torch.tensor([[1, 2, 1, 2, 1, 2]]), torch.tensor([[0, 0, 1, 1, 4, 4]])
    tokens = bracket_kinds.to_tokens(symbols, kinds)
    assert tokens.tolist() == [[1, 2, 4, 5, 10, 11]]
    assert torch.equal(bracket_kinds.to_symbols(tokens), symbols)
    assert torch.equal(bracket_kinds.to_kinds(tokens), kinds)
    assert [bracket_kinds.label(token) for token in tokens[0].tolist()] == ["(", ")", "[", "]", "a", "A"]


def test_symbols_beyond_the_length_mean_nothing() -> None:
    symbols, kinds = torch.tensor([[1, 1, 2, 2]]).expand(4, 4), torch.tensor([[0, 1, 1, 1]]).expand(4, 4)
    assert bracket_kinds.match(symbols, kinds, torch.tensor([1, 2, 3, 4])).tolist() == [True, True, True, False]


def with_kinds(string: str, rng: random.Random) -> str:
    """A string with two kinds of brackets, as the documentation tells of it."""
    opening_of = matches(string)
    kinds = [rng.randrange(2) for _ in string]
    kinds = [kinds[opening_of.get(place, place)] for place in range(len(string))]
    closings = [place for place, symbol in enumerate(string) if symbol == ")"]
    if rng.random() < 0.5 and len({kinds[place] for place in closings}) == 2:
        one = rng.choice(closings)
        other = rng.choice([place for place in closings if kinds[place] != kinds[one]])
        kinds[one], kinds[other] = kinds[other], kinds[one]
    return "".join(("([" if symbol == "(" else ")]")[kind] for symbol, kind in zip(string, kinds, strict=True))


def test_strings_are_those_of_one_kind_with_kinds_as_documented() -> None:
    rng, task = random.Random(0), ParenthesisBalancing(max_pairs=3, test_rows="drawn")
    of_one_kind = strings(task, task._draw(60_000, generator(1)))
    expected = Counter(with_kinds(string, rng) for string in of_one_kind)
    assert excess_of_two(expected, Counter(strings(SMALL, SMALL._draw(60_000, generator(2))))) < 4


def test_exchanged_kinds_stay_as_frequent_and_break_what_was_balanced() -> None:
    n, length = 4000, torch.full((4000,), 12)
    symbols = torch.full((n, 12), bracket_kinds.CLOSE)
    parenthesis_strings._write_balanced(symbols, torch.arange(n), torch.full((n,), 6), generator())
    kinds = bracket_kinds.draw(symbols, length, 2, generator())
    of_openings, of_closings = ((kinds * (symbols == symbol)).sum(1) for symbol in (1, 2))
    assert torch.equal(of_openings, of_closings)
    share = bracket_kinds.match(symbols, kinds, length).double().mean().item()
    assert share == pytest.approx(0.5 + 0.5 * 2 / 2**6, abs=0.03), "a half, and strings of which all are of one kind"


def test_one_kind_is_the_task_as_it_was() -> None:
    task = ParenthesisBalancing(max_pairs=8)
    assert (task.n_kinds, task.d_vocab, task.variables) == (1, 4, ("equal counts", "never negative"))
    assert "n_kinds" not in repr(task)
    assert "kinds ignored" not in task.floors()
    spec = RunSpec(task, ModelSpec(d_model=16), TrainSpec(n_steps=10, batch_size=8))
    assert "n_kinds" not in json.loads(spec_to_json(spec))["task"]
    assert spec_from_json(spec_to_json(spec)) == spec


@pytest.mark.parametrize("max_pairs", [8, 30])
def test_several_kinds_make_another_run_without_an_official_list(max_pairs: int) -> None:
    task = ParenthesisBalancing(max_pairs, n_kinds=2)
    assert task.test_rows == "distinct"
    assert repr(task) == f"ParenthesisBalancing(max_pairs={max_pairs}, n_kinds=2)"
    assert eval(repr(task.for_validation()), vars(tasks)) == task.for_validation()
    spec = RunSpec(task, ModelSpec(d_model=16), TrainSpec(n_steps=10, batch_size=8))
    assert json.loads(spec_to_json(spec))["task"]["n_kinds"] == 2
    assert spec_from_json(spec_to_json(spec)) == spec
    with pytest.raises(ValueError, match="short_strings='trained on' is about the official list"):
        ParenthesisBalancing(max_pairs, n_kinds=2, short_strings="trained on")


def test_no_sequence_is_on_two_sides_of_the_split() -> None:
    task = ParenthesisBalancing(max_pairs=5, n_kinds=2)
    test, validation = (row_set(one.test_set().tokens) for one in (task, task.for_validation()))
    drawn = row_set(task.sample(20_000, generator()).tokens)
    assert not test & validation
    assert not drawn & test
    assert drawn & validation
    assert not row_set(task.for_validation().sample(20_000, generator()).tokens) & (test | validation)
    assert len(test) == len(task.test_set())


def test_floors_are_those_of_the_very_test_rows() -> None:
    task = ParenthesisBalancing(max_pairs=10, n_kinds=3)
    tokens = task.test_set().tokens
    equal, ignored, right = 0, 0, []
    for string, row in zip(strings(task, tokens), tokens.tolist(), strict=True):
        right.append(brackets(task, row)[0][len(string) + 1] == 2)
        equal += all(string.count(one) == string.count(two) for two, one in PAIRS.items()) == right[-1]
        holds = conditions(string)
        ignored += (holds["equal counts"] and holds["never negative"]) == right[-1]
    floors = task.floors()
    assert floors["equal counts"] == pytest.approx(equal / len(right))
    assert floors["kinds ignored"] == pytest.approx(ignored / len(right))
    assert floors["majority"] == pytest.approx(max(sum(right), len(right) - sum(right)) / len(right))


@pytest.mark.parametrize("variable", ["equal counts", "never negative", "matching kinds"])
def test_a_string_is_unbalanced_because_of_its_variable_alone(variable: str) -> None:
    task = ParenthesisBalancing(max_pairs=6, n_kinds=3)
    pairs = task.counterfactuals(200, variable, generator())
    n_balanced = 0
    for base, source in zip(strings(task, pairs.base.tokens), strings(task, pairs.sources), strict=True):
        assert len(base) == len(source)
        of_base, of_source = conditions(base), conditions(source)
        n_balanced += of_base[variable]
        assert of_base.pop(variable) != of_source.pop(variable)
        assert all([*of_base.values(), *of_source.values()])
    assert 0.3 < n_balanced / 200 < 0.7


def test_explicit_strings() -> None:
    task = ParenthesisBalancing(max_pairs=3, n_kinds=3)
    assert task.decode(task.sequence("([{}])")) == "( [ { } ] ) ? yes"
    assert task.decode(task.sequence("([)]")) == "( [ ) ] ? no"
    names = [task.role_names[role] for role in task.roles(task.sequence("[)")[None])[0]]
    assert names == ["open", "close", "query", "answer"] + ["pad"] * 5
    with pytest.raises(ValueError, match=r"give 1 to 6 brackets of \(\) \[\] \{\}, got '<>'"):
        task.sequence("<>")
