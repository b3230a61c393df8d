"""Rules by which runs decide whether a claim holds: it does, it does not, or they cannot tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

import polars as pl

from rtinterp.analysis import Interval

Verdict = Literal["holds", "does not hold", "cannot be told"]
#: What is decided of each thing that a claim is about, such as a task.
Parts: TypeAlias = Mapping[str, Verdict]

#: With fewer seeds nothing is decided, whatever their rows say.
MIN_SEEDS = 3


def together(parts: Parts) -> Verdict:
    """Decide of a claim about several things: it holds of all of them, fails of some, or cannot be told."""
    verdicts = set(parts.values())
    if "does not hold" in verdicts:
        return "does not hold"
    return "holds" if verdicts == {"holds"} else "cannot be told"


def opposite(verdict: Verdict) -> Verdict:
    """Decide of the claim's negation; what cannot be told, cannot be told of that either."""
    negations: dict[Verdict, Verdict] = {"holds": "does not hold", "does not hold": "holds"}
    return negations.get(verdict, verdict)


def interval_above(runs: pl.DataFrame, interval: Interval | None, bar: float) -> Verdict:
    """Decide whether the median accuracy of seeds lies above a bar; an interval that spans it, or none, cannot tell."""
    if interval is None or not has_seeds(runs):
        return "cannot be told"
    return _above(interval.low, interval.high, bar)


def every_seed_above(runs: pl.DataFrame, column: str, bar: float) -> Verdict:
    """Decide whether a value lies above a bar: in every seed, in none, or in some, which cannot tell."""
    values = runs[column].drop_nulls().to_list() if column in runs.columns else []
    if len(values) < len(runs) or not has_seeds(runs):
        return "cannot be told"
    return _above(min(values), max(values), bar)


def all_below(lower: pl.DataFrame, higher: pl.DataFrame, column: str, factor: float = 1.0) -> Verdict:
    """Decide whether every run of one kind, ``factor`` times, is below every run of another; overlap cannot tell."""
    if not (has_seeds(lower) and has_seeds(higher)):
        return "cannot be told"
    (lows, highs) = (sorted(runs[column].to_list()) for runs in (lower, higher))
    if factor * lows[-1] < highs[0]:
        return "holds"
    return "does not hold" if factor * lows[0] >= highs[-1] else "cannot be told"


def has_seeds(runs: pl.DataFrame) -> bool:
    """Return whether there are enough seeds to decide by."""
    return "seed" in runs.columns and runs["seed"].n_unique() >= MIN_SEEDS


def in_words(parts: Parts) -> str:
    """Tell the verdict, and where it differs from thing to thing, which: ``"cannot be told (holds: a; ...)"``."""
    named = [f"{verdict}: {', '.join(names)}" for verdict, names in _by_verdict(parts).items()]
    return together(parts) + (f" ({'; '.join(named)})" if len(named) > 1 else "")


def _by_verdict(parts: Parts) -> dict[Verdict, list[str]]:
    return {verdict: [name for name in parts if parts[name] == verdict] for verdict in _in_order(parts.values())}


def _in_order(verdicts: Iterable[Verdict]) -> list[Verdict]:
    order: tuple[Verdict, ...] = ("does not hold", "holds", "cannot be told")
    found = set(verdicts)
    return [verdict for verdict in order if verdict in found]


def _above(low: float, high: float, bar: float) -> Verdict:
    if low > bar:
        return "holds"
    return "does not hold" if high <= bar else "cannot be told"
