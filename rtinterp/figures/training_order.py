"""In which order to train what figures need, so that the first are done early."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from rtinterp.training.cost import cost
from rtinterp.training.spec import RunSpec

T = TypeVar("T")


def by_completion(needed: Mapping[T, Sequence[RunSpec]], done: Iterable[RunSpec]) -> dict[T, list[RunSpec]]:
    """List what each figure adds to the runs of those before it: next comes always the one that takes least training.

    Of a figure's runs the longest come first, so that several workers end at about the same time.

    Args:
        needed: the runs of every figure.
        done: runs that take no training, and yet are listed.

    Raises:
        ValueError: a language model's corpus is not open.
    """
    flops = dict.fromkeys(done, 0.0)
    flops |= {spec: cost([spec], 1.0).flops for specs in needed.values() for spec in specs if spec not in flops}
    rest, order = {one: list(dict.fromkeys(specs)) for one, specs in needed.items()}, {}
    while rest:
        first = min(rest, key=lambda one: sum(flops[spec] for spec in rest[one]))
        added = rest.pop(first)
        order[first] = sorted(added, key=flops.__getitem__, reverse=True)
        rest = {one: [spec for spec in specs if spec not in set(added)] for one, specs in rest.items()}
    return order
