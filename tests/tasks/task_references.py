"""What is true of a row of tokens, in plain Python with literal token ids and without the package's helpers."""

from __future__ import annotations

import functools
import itertools
import math
import random
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from corpus_references import made_up_corpus
from torch import Tensor

from rtinterp.tasks import (
    CircuitImitation,
    DecimalAddition,
    GraphSearch,
    GroupWordProblem,
    KHopInduction,
    LanguageModelling,
    Memorization,
    ModularAddition,
    Multiplication,
    MultiQueryRecall,
    NeedleInAHaystack,
    ParenthesisBalancing,
    Sorting,
    Task,
)

#: From the tokens of a row: the whole row as it should be, and the positions that should be scored.
Reference = Callable[[Task, list[int]], tuple[list[int], list[int]]]


def modular_addition(task: ModularAddition, row: list[int]) -> tuple[list[int], list[int]]:
    a, b = row[:2]
    return [a, b, (a + b) % task.p], [1]


def needle(task: NeedleInAHaystack, row: list[int]) -> tuple[list[int], list[int]]:
    first_marker = task.n_values + 1
    first_query = first_marker + task.max_pairs
    at = next(i for i, token in enumerate(row) if token >= first_query)
    pairs = dict(zip(row[0:at:2], row[1:at:2], strict=True))
    assert 1 <= len(pairs) == at // 2 <= task.max_pairs, "markers repeat"
    assert set(pairs) <= set(range(first_marker, first_query))
    assert set(pairs.values()) <= set(range(1, first_marker))
    expected = [*row[: at + 1], pairs[row[at] - task.max_pairs]]
    return expected + [0] * (2 * task.max_pairs + 3 - len(expected)), [at]


def decimal_addition(task: DecimalAddition, row: list[int]) -> tuple[list[int], list[int]]:
    n = task.n_digits
    a, b = (int("".join(map(str, reversed(digits)))) for digits in (row[:n], row[n + 1 : 2 * n + 1]))
    assert len(str(a)) == len(str(b)) == n, "leading zero"
    digits = [[int(digit) for digit in reversed(str(number))] for number in (a, b, a + b)]
    expected = [*digits[0], 10, *digits[1], 11, *(20 + digit for digit in digits[2]), 30]
    expected += [12] * (3 * n + 4 - len(expected))
    scored = [i for i in range(3 * n + 3) if expected[i] >= 20]
    return expected, [2 * n + 1, *scored] if task.score_first_digit else scored


def parentheses(task: ParenthesisBalancing, row: list[int]) -> tuple[list[int], list[int]]:
    at = row.index(3)
    symbols = "".join({1: "(", 2: ")"}[token] for token in row[:at])
    assert 1 <= at <= 2 * task.max_pairs
    while "()" in symbols:
        symbols = symbols.replace("()", "")
    expected = [*row[:at], 3, 1 if symbols else 2]
    return expected + [0] * (2 * task.max_pairs + 3 - len(expected)), [at]


def brackets(task: ParenthesisBalancing, row: list[int]) -> tuple[list[int], list[int]]:
    """Of several kinds: those behind the query's token come in turns, an opening and its closing."""
    at, is_right = row.index(3), True
    assert 1 <= at <= 2 * task.max_pairs
    opened: list[int] = []
    for token in row[:at]:
        assert token in (1, 2) or 4 <= token < 2 * task.n_kinds + 2
        if token == 1 or (token > 3 and token % 2 == 0):
            opened.append(token)
        else:
            is_right &= bool(opened) and opened.pop() == token - 1
    expected = [*row[:at], 3, 2 if is_right and not opened else 1]
    return expected + [0] * (2 * task.max_pairs + 3 - len(expected)), [at]


@functools.cache
def _memorized(n_keys: int) -> list[int]:
    rng = random.Random(12345)
    return [rng.randint(0, n_keys - 1) for _ in range(n_keys**2)]


def memorization(task: Memorization, row: list[int]) -> tuple[list[int], list[int]]:
    n, (x, y) = task.n_keys, row[:2]
    assert 0 <= x < n <= y < 2 * n
    return [x, y, _memorized(n)[x + n * (y - n)]], [1]


def circuit_imitation(task: CircuitImitation, row: list[int]) -> tuple[list[int], list[int]]:
    n = task.n_tokens
    assert all(0 <= token < task.d_vocab for token in row)
    return [*row[:n], 0], list(range(n)) if task.scored_positions == "all" else [n - 1]


@functools.cache
def windows(task: LanguageModelling) -> dict[str, list[tuple[int, ...]]]:
    """Both splits, cut into windows: every document encoded for itself, token 0 after each."""
    of_split = {}
    for split in ("train", "validation"):
        documents = [[*task.tokenizer.encode(document).ids, 0] for document in getattr(task.corpus, split)]
        stream = [token for document in documents for token in document]
        ends = range(task.context_length, len(stream) + 1, task.context_length)
        of_split[split] = [tuple(stream[end - task.context_length : end]) for end in ends]
    return of_split


def language_modelling(task: LanguageModelling, row: list[int]) -> tuple[list[int], list[int]]:
    assert tuple(row) in {*windows(task)["train"], *windows(task)["validation"]}
    return row, list(range(len(row) - 1))


def k_hop_induction(task: KHopInduction, row: list[int]) -> tuple[list[int], list[int]]:
    n_hops, *characters = row
    first = task.max_hops + 1
    assert 0 <= n_hops < first
    assert set(characters) <= set(range(first, first + task.alphabet))
    assert all(left != right for left, right in itertools.pairwise(characters)), "equal neighbours"
    return row, list(range(task.length))


def group_word_problem(task: GroupWordProblem, row: list[int]) -> tuple[list[int], list[int]]:
    assert all(0 <= element < (2 if task.group == "Z2" else 60) for element in row)
    return row, list(range(task.length))


def multi_query_recall(task: MultiQueryRecall, row: list[int]) -> tuple[list[int], list[int]]:
    end, first_value = 2 * task.n_pairs, task.d_vocab // 2
    keys, values = row[0:end:2], row[1:end:2]
    assert len(set(keys)) == len(set(values)) == task.n_pairs, "keys or values repeat"
    assert all(1 <= key < first_value for key in keys)
    assert all(value >= first_value for value in values)
    scored = [at for at in range(end, task.length) if row[at] in keys]
    assert {row[at] for at in scored} == set(keys)
    assert all((at - end) % 2 == 0 for at in scored)
    assert len(scored) == task.n_pairs, "asked for twice"
    return row, scored


def sorting(task: Sorting, row: list[int]) -> tuple[list[int], list[int]]:
    n, numbers = task.length, row[: task.length]
    assert all(0 <= number < task.vocabulary for number in numbers)
    return [*numbers, task.vocabulary, *sorted(numbers)], list(range(n, 2 * n))


def multiplication(task: Multiplication, row: list[int]) -> tuple[list[int], list[int]]:
    n, end = task.n_digits_a, task.n_digits_a + task.n_digits_b + 1
    a, b = (int("".join(map(str, reversed(digits)))) for digits in (row[:n], row[n + 1 : end]))
    assert (len(str(a)), len(str(b))) == (n, task.n_digits_b), "leading zero"
    digits = [[int(digit) for digit in reversed(str(number))] for number in (a, b, a * b)]
    expected = [*digits[0], 10, *digits[1], 11, *(13 + digit for digit in digits[2]), 23]
    scored = list(range(end, len(expected) - 1))
    return expected + [12] * (2 * end + 1 - len(expected)), scored


def graph_search(task: GraphSearch, row: list[int]) -> tuple[list[int], list[int]]:
    n, end = task.n_vertices, 3 * task.n_edges
    edges = list(zip(row[1:end:3], row[2:end:3], strict=True))
    assert row[0:end:3] == [n] * task.n_edges
    assert len(set(edges)) == task.n_edges, "an edge repeats"
    assert all(0 <= vertex < n for edge in edges for vertex in edge)
    start, goal = row[end + 1 : end + 3]
    heads = {vertex: {head for tail, head in edges if tail == vertex} for vertex in range(n)}

    @functools.cache
    def leads_to_goal(vertex: int) -> bool:
        return vertex == goal or any(leads_to_goal(head) for head in heads[vertex])

    (answer,) = (head for head in heads[start] if leads_to_goal(head))
    return [*row[:end], n + 1, start, goal, n + 2, answer], [end + 3]


PAPER_CASES = [
    pytest.param(ModularAddition(), modular_addition, id="modular_addition"),
    pytest.param(NeedleInAHaystack(), needle, id="needle"),
    pytest.param(DecimalAddition(), decimal_addition, id="decimal_addition"),
    pytest.param(ParenthesisBalancing(), parentheses, id="parentheses"),
    pytest.param(Memorization(), memorization, id="memorization"),
]

OTHER_CASES = [
    pytest.param(ModularAddition(p=2), modular_addition, id="modular_addition-2"),
    pytest.param(ModularAddition(p=13), modular_addition, id="modular_addition-13"),
    pytest.param(NeedleInAHaystack(max_pairs=1, n_values=100), needle, id="needle-1-100"),
    pytest.param(NeedleInAHaystack(max_pairs=4, n_values=5), needle, id="needle-4-5"),
    pytest.param(NeedleInAHaystack(max_pairs=60, n_values=40), needle, id="needle-60-40"),
    pytest.param(DecimalAddition(score_first_digit=True), decimal_addition, id="decimal_addition-first"),
    pytest.param(DecimalAddition(n_digits=2), decimal_addition, id="decimal_addition-2"),
    pytest.param(DecimalAddition(n_digits=18), decimal_addition, id="decimal_addition-18"),
    pytest.param(DecimalAddition(n_digits=3, score_first_digit=True), decimal_addition, id="decimal_addition-3-first"),
    pytest.param(ParenthesisBalancing(max_pairs=3), parentheses, id="parentheses-3"),
    pytest.param(ParenthesisBalancing(max_pairs=8), parentheses, id="parentheses-8"),
    pytest.param(ParenthesisBalancing(max_pairs=6, n_kinds=3), brackets, id="parentheses-6-kinds-3"),
    pytest.param(ParenthesisBalancing(n_kinds=30), brackets, id="parentheses-30-kinds-30"),
    pytest.param(Memorization(n_keys=2), memorization, id="memorization-2"),
    pytest.param(Memorization(n_keys=31), memorization, id="memorization-31"),
    pytest.param(CircuitImitation(1, target_n_heads=1), circuit_imitation, id="circuit_imitation"),
    pytest.param(
        CircuitImitation(4, target_n_heads=1, n_tokens=7, d_vocab=30, scored_positions="all"),
        circuit_imitation,
        id="circuit_imitation-all",
    ),
    pytest.param(KHopInduction(), k_hop_induction, id="k_hop_induction"),
    pytest.param(KHopInduction(max_hops=3, alphabet=3, length=24), k_hop_induction, id="k_hop_induction-3-3-24"),
    pytest.param(GroupWordProblem(), group_word_problem, id="group_word_problem"),
    pytest.param(GroupWordProblem(24, "Z2"), group_word_problem, id="group_word_problem-24-Z2"),
    pytest.param(MultiQueryRecall(), multi_query_recall, id="multi_query_recall"),
    pytest.param(MultiQueryRecall(16, 4, 10), multi_query_recall, id="multi_query_recall-16-4-10"),
    pytest.param(Sorting(), sorting, id="sorting"),
    pytest.param(Sorting(3, 30), sorting, id="sorting-3-30"),
    pytest.param(Multiplication(), multiplication, id="multiplication"),
    pytest.param(Multiplication(1, 3), multiplication, id="multiplication-1-3"),
    pytest.param(Multiplication(20, 20), multiplication, id="multiplication-20-20"),
    pytest.param(GraphSearch(), graph_search, id="graph_search"),
    pytest.param(GraphSearch(8, 8, 3), graph_search, id="graph_search-8-8-3"),
    pytest.param(
        LanguageModelling.from_corpus(made_up_corpus(), d_vocab=300, context_length=16),
        language_modelling,
        id="language_modelling",
    ),
]

CASES = PAPER_CASES + OTHER_CASES


def row_set(tokens: Tensor) -> set[bytes]:
    """The distinct rows."""
    return {row.tobytes() for row in tokens.numpy().astype(np.int16)}


def excess(counts: Counter | dict, probabilities: dict) -> float:
    """Chi-square of counts against probabilities, in standard deviations above its mean: a few at most."""
    n = sum(counts.values())
    assert set(counts) <= set(probabilities), "an outcome of probability zero"
    terms = [(counts.get(key, 0) - n * p) ** 2 / (n * p) for key, p in probabilities.items()]
    df = len(terms) - 1
    return (sum(terms) - df) / math.sqrt(2 * df)


def excess_of_two(left: Counter, right: Counter, min_count: int = 20) -> float:
    """The same for two samples, rare outcomes pooled."""
    both = left + right
    keep = {key for key, count in both.items() if count >= min_count}
    cells = [(left[key], right[key]) for key in keep]
    cells.append((sum(left.values()) - sum(c[0] for c in cells), sum(right.values()) - sum(c[1] for c in cells)))
    n_left, n_right = sum(left.values()), sum(right.values())
    scale = math.sqrt(n_right / n_left)
    terms = [(a * scale - b / scale) ** 2 / (a + b) for a, b in cells if a + b]
    df = len(terms) - 1
    return (sum(terms) - df) / math.sqrt(2 * df)
