"""The rules by which our rows decide whether the paper's claims hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl

from rtinterp.figures import certainty
from rtinterp.figures.comparison import Item
from rtinterp.figures.verdicts import Parts, Verdict, all_below, every_seed_above, interval_above, opposite
from rtinterp.papers.random_transformers.figure2_attention import ROLES, STATES
from rtinterp.papers.random_transformers.grid import RANDOM_AND_NORMAL

#: Above which accuracy a task counts as solved, if it is above the best heuristic too.
SOLVED = 0.95
#: Above which mean attention weight a head counts as one that does a job.
HEAD_WEIGHT = 0.4
#: Above which share of the variance a circle, or ten directions, hold most of it.
MOST = 0.5
#: As how many times "several times" counts.
SEVERAL = 3
#: Gradient symmetricity and distance irrelevance half way between a clock's, .33 and .85, and a pizza's, .99 and .17
#: ("The Clock and the Pizza", arXiv 2306.17844).
HALF_WAY = {"gradient_symmetricity": 0.66, "distance_irrelevance": 0.51}

Judge = Callable[[Sequence[Item]], Parts]


def each(judge: Callable[[Item], Verdict], needed: Sequence[str] = ()) -> Judge:
    """Decide of each item apart; of what is needed and has no item, nothing can be told."""
    nothing: dict[str, Verdict] = dict.fromkeys(needed, "cannot be told")
    return lambda items: {**nothing, **{item.quantity: judge(item) for item in items}}


def is_solved(item: Item) -> Verdict:
    """Decide whether accuracy lies above the bar of a solved task, and above what the best heuristic reaches."""
    bar = max(SOLVED, *item.runs["heuristic_accuracy"].to_list())
    return interval_above(item.runs, certainty.interval_of(item.runs, item.column), bar)


def is_unsolved(item: Item) -> Verdict:
    """Decide whether accuracy lies below either."""
    return opposite(is_solved(item))


def if_learnt(bar: float) -> Callable[[Item], Verdict]:
    """Decide by every seed, but only of models that are above guessing: others show what training has not done."""

    def judge(item: Item) -> Verdict:
        interval = certainty.interval_of(item.runs)
        if interval is None or certainty.mark(item.runs, interval) == certainty.NOT_ABOVE_GUESSING:
            return "cannot be told"
        return every_seed_above(item.runs, item.column, bar)

    return judge


def is_most(item: Item) -> Verdict:
    """Decide whether it is more than half in every seed."""
    return every_seed_above(item.runs, item.column, MOST)


def heads(items: Sequence[Item]) -> Parts:
    """Decide whether a head of each role looks where it should after training, and did so less before."""
    scores, nothing = {item.quantity: item.runs for item in items}, pl.DataFrame()
    parts: dict[str, Verdict] = {}
    for meaning in ROLES.values():
        trained, initial = (scores.get(f"{meaning} {STATES[state]}", nothing) for state in ("trained", "initial"))
        parts[meaning] = every_seed_above(trained, "score", HEAD_WEIGHT)
        parts[f"{meaning}, more than before training"] = all_below(initial, trained, "score")
    return parts


def is_clock(item: Item) -> Verdict:
    """Decide whether a measure is nearer to a clock's, of which one is low and the other high."""
    above = every_seed_above(item.runs, item.column, HALF_WAY[item.column])
    return opposite(above) if item.column == "gradient_symmetricity" else above


def random_below_normal(name: str, factor: float = 1.0) -> Judge:
    """Decide whether all random models, ``factor`` times, are below all fully trained ones."""
    return lambda items: {name: all_below(*_of_kinds(items), _column(items), factor)}


def normal_below_random(name: str) -> Judge:
    """Decide whether all fully trained models are below all random ones."""

    def judge(items: Sequence[Item]) -> Parts:
        random, normal = _of_kinds(items)
        return {name: all_below(normal, random, _column(items))}

    return judge


def _column(items: Sequence[Item]) -> str:
    """What is measured; without items, nothing is."""
    return items[0].column if items else ""


def _of_kinds(items: Sequence[Item], which: pl.Expr | bool = True) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The random models, and the fully trained ones; tables without columns where there are none."""
    random, normal = (
        [item.runs.filter(which) for item in items if item.runs["trainable"][0] == kind] for kind in RANDOM_AND_NORMAL
    )
    return (pl.concat(random) if random else pl.DataFrame(), pl.concat(normal) if normal else pl.DataFrame())


def imitation(items: Sequence[Item]) -> Parts:
    """Decide whether random students of wide targets are worse than those of narrow ones, and than trained ones."""
    widths = [width for item in items for width in item.runs["target_d_model"].to_list()] or [0]
    target = pl.col("target_d_model")
    narrow, _ = _of_kinds(items, target == min(widths))
    wide, trained = _of_kinds(items, target == max(widths))
    return {
        "than narrow targets": all_below(narrow, wide, "test_kl"),
        "than fully trained students": all_below(trained, wide, "test_kl"),
    }
