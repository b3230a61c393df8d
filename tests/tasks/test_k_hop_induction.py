"""k-hop induction: answers by brute force, the published shares, the split by strings, the causal model."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest
import torch
from task_references import row_set

from rtinterp import tasks
from rtinterp.tasks import KHopInduction
from rtinterp.tasks.k_hop_strings import one_hop

PUBLISHED = KHopInduction()
SMALL = KHopInduction(max_hops=3, alphabet=3, length=12)
SIZES = [PUBLISHED, SMALL, KHopInduction(max_hops=21, alphabet=5, length=40)]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def chain(characters: list[int], start: int, n_hops: int) -> list[int] | None:
    """The places that hops lead over, the start included, as the definition has them; None where they lead nowhere."""
    places = [start]
    for _ in range(n_hops):
        before = [j for j in range(places[-1]) if characters[j] == characters[places[-1]]]
        if not before:
            return None
        places.append(1 + max(before))
    return places


def answers(task: KHopInduction, row: list[int]) -> list[int]:
    n_hops, *characters = row
    chains = [chain(characters, start, n_hops) for start in range(len(characters))]
    undefined, blank = task.d_vocab - 2, task.d_vocab - 1
    return [blank, *(undefined if places is None else characters[places[-1]] for places in chains)]


@pytest.mark.parametrize("source", ["sample", "test_set"])
@pytest.mark.parametrize("task", SIZES, ids=repr)
def test_targets_are_those_of_a_brute_force(task: KHopInduction, source: str) -> None:
    batch = task.sample(120, generator()) if source == "sample" else task.test_set()[:120]
    assert batch.targets is not None
    for row, targets in zip(batch.tokens.tolist(), batch.targets.tolist(), strict=True):
        assert targets == answers(task, row)
    assert batch.tokens[:, 0].unique().tolist() == list(range(task.max_hops + 1))


def test_ids_are_the_published_ones() -> None:
    first, last = PUBLISHED.character_token(0), PUBLISHED.character_token(3)
    assert (first, last, PUBLISHED.undefined_token, PUBLISHED.blank_token, PUBLISHED.d_vocab) == (17, 20, 21, 22, 23)
    assert PUBLISHED.decode(torch.tensor([2, 17, 20, 17, 18])) == "2 a d a b"
    with pytest.raises(ValueError, match="characters run from 0 to 3, got 4"):
        PUBLISHED.character_token(4)


@pytest.mark.parametrize(("n_hops", "share"), [(0, 0.0), (1, 0.041), (4, 0.133), (8, 0.255), (16, 0.500)])
def test_shares_of_undefined_answers_are_the_published_ones(n_hops: int, share: float) -> None:
    batch = PUBLISHED.sample(4000, generator())
    of_hops = batch.expected(99)[batch.tokens[:, 0] == n_hops][:, 1:]
    # Of strings with all four characters, 3 k + 1 places of 98 have no answer, so hardly any differ.
    assert (of_hops == PUBLISHED.undefined_token).double().mean().item() == pytest.approx(share, abs=6e-4)


def test_strings_are_uniform_among_those_without_equal_neighbours() -> None:
    task = KHopInduction(max_hops=2, alphabet=3, length=8)
    counts = Counter(map(tuple, task._draw(40_000, generator()).tolist()))
    n = 3 * 3 * 2**6
    assert len(counts) == n
    expected = 40_000 / n
    excess = (sum((count - expected) ** 2 / expected for count in counts.values()) - n + 1) / (2 * n - 2) ** 0.5
    assert abs(excess) < 4


def test_a_string_is_held_out_with_every_number_of_hops() -> None:
    test, validation = (task.test_set().tokens for task in (SMALL, SMALL.for_validation()))
    drawn = SMALL.sample(30_000, generator()).tokens
    strings = [row_set(rows[:, 1:]) for rows in (test, validation, drawn)]
    assert not strings[0] & strings[1]
    assert not strings[0] & strings[2]
    assert strings[1] & strings[2]
    for_validation = SMALL.for_validation().sample(30_000, generator()).tokens
    assert not row_set(for_validation[:, 1:]) & (strings[0] | strings[1])
    n_strings = 3 * 2**10
    assert len(strings[0]) == pytest.approx(n_strings / 20, abs=4 * (n_strings / 20) ** 0.5)
    assert len(row_set(test)) == len(test) == 4 * len(strings[0])
    assert len(row_set(PUBLISHED.test_set().tokens)) == 4000
    assert eval(repr(SMALL.for_validation()), vars(tasks)) == SMALL.for_validation()


@pytest.mark.parametrize("task", [SMALL, SMALL.for_validation()], ids=repr)
def test_floors_on_the_very_test_rows(task: KHopInduction) -> None:
    seen: dict[tuple[int, int, int], Counter[int]] = defaultdict(Counter)
    trained = task.sample(20_000, torch.Generator().manual_seed(12345))
    for row, targets in zip(trained.tokens.tolist(), trained.expected(12).tolist(), strict=True):
        for place, (token, answer) in enumerate(zip(row, targets, strict=True)):
            seen[row[0], place, token][answer] += 1
    nowhere, guessed, rows = 0, 0, task.test_set().tokens.tolist()
    for row in rows:
        for place, (token, answer) in enumerate(zip(row, answers(task, row), strict=True)):
            nowhere += answer == (task.undefined_token if place else task.blank_token)
            counts = seen[row[0], place, token]
            guessed += answer == min(counts, key=lambda one: (-counts[one], one))
    n = 12 * len(rows)
    expected = {"chance": 1 / 3, "always undefined": nowhere / n, "hops, position and character": guessed / n}
    assert task.floors() == pytest.approx(expected)


@pytest.mark.parametrize("n_hops", range(3))
def test_floors_where_hops_lead_somewhere(n_hops: int) -> None:
    task = KHopInduction(max_hops=2, alphabet=3, length=12)
    seen: dict[tuple[int, int], Counter[int]] = defaultdict(Counter)
    trained = task.sample(20_000, torch.Generator().manual_seed(12345)).tokens.tolist()
    for row in trained:
        for place, (token, answer) in enumerate(zip(row, answers(task, row), strict=True)):
            seen[place, token][answer] += row[0] == n_hops and answer < task.undefined_token
    right = []
    for row in task.test_set().tokens.tolist():
        for place, (token, answer) in enumerate(zip(row, answers(task, row), strict=True)):
            if row[0] == n_hops and answer < task.undefined_token:
                counts = seen[place, token]
                right.append(answer == min(counts, key=lambda one: (-counts[one], one)))
    assert task.defined_floors()[n_hops] == pytest.approx(sum(right) / len(right))


def test_of_no_hop_the_character_itself_is_the_best_guess() -> None:
    assert PUBLISHED.defined_floors()[0] == 1
    short = KHopInduction(max_hops=5, alphabet=4, length=8)
    assert set(short.defined_floors()) == set(range(6)), "five hops lead somewhere from the last position alone"


def test_floors_of_the_published_size() -> None:
    expected = {"chance": 0.25, "always undefined": 0.257, "hops, position and character": 0.495}
    assert PUBLISHED.floors() == pytest.approx(expected, abs=0.005)


def test_hops_lead_where_an_induction_head_looks() -> None:
    a, b, c = 0, 1, 2
    assert one_hop(torch.tensor([[a, b, c, a, b]]), alphabet=3).tolist() == [[0, 0, 0, 1, 2]]


def test_roles_tell_new_characters_from_seen_ones() -> None:
    task = KHopInduction(max_hops=2, alphabet=3, length=8)
    row = torch.tensor([[1, 3, 4, 3, 5, 4, 3, 5]])
    names = [task.role_names[role] for role in task.roles(row)[0]]
    assert (
        names == ["hops", "new character", "new character", "seen character", "new character"] + ["seen character"] * 3
    )


def test_sources_have_other_hops_or_another_character_where_they_lead() -> None:
    task = KHopInduction(max_hops=5, alphabet=4, length=40)
    for variable in task.variables:
        pairs = task.counterfactuals(150, variable, generator())
        positions = pairs.base.scored.nonzero()[:, 1].tolist()
        counterfactual, factual = pairs.base.scored_targets.tolist(), pairs.factual.scored_targets.tolist()
        base, sources = pairs.base.tokens.tolist(), pairs.sources.tolist()
        for row, source, at, other, own in zip(base, sources, positions, counterfactual, factual, strict=True):
            assert answers(task, row)[at] == own
            assert answers(task, source)[at] == other
            assert {own, other} <= set(range(6, 10))
            changed = [place for place in range(40) if row[place] != source[place]]
            places = [chain(line[1:], at - 1, line[0]) for line in (row, source)]
            if variable == "hops":
                assert changed == [0]
            else:
                assert places[0] == places[1]
                assert changed == [places[0][-1] + 1]
        assert len(set(positions)) > 20
