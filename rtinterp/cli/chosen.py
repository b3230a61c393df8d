"""What the names of papers and of their parts on a command line mean."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from rtinterp.cli import unknown
from rtinterp.papers import PAPERS, Paper


def chosen(kind: str, names: Sequence[str], parts_of: Callable[[Paper], Collection[str]]) -> dict[Paper, list[str]]:
    """The parts of papers that are named, all of them without a name, in the papers' order.

    Args:
        kind: what the parts are, for messages.
        names: a paper means all of its parts, a part means that of every paper that has one of the name, and
            ``paper/part`` means that part alone.

    Raises:
        ValueError: there is no such paper and no such part.
    """
    meanings: dict[str, list[tuple[Paper, str]]] = {}
    for paper in PAPERS.values():
        for part in parts_of(paper):
            for name in (part, paper.name, f"{paper.name}/{part}"):
                meanings.setdefault(name, []).append((paper, part))
    for name in names:
        if name not in meanings:
            raise ValueError(unknown(kind, name, [known for known in meanings if "/" not in known]))
    # A paper may have no part of the kind.
    wanted = {meaning for name in names or PAPERS for meaning in meanings.get(name, ())}
    parts = {paper: [part for part in parts_of(paper) if (paper, part) in wanted] for paper in PAPERS.values()}
    return {paper: found for paper, found in parts.items() if found}


def is_named(paper: Paper, part: str, names: Collection[str]) -> bool:
    """Tell whether a part of a paper is named itself, and not only its paper."""
    return part in names or f"{paper.name}/{part}" in names


def check_scale(scale: str, papers: Collection[Paper]) -> None:
    """Refuse a scale that one of the papers does not have.

    Raises:
        ValueError: with the scales that it has.
    """
    for paper in papers:
        if scale not in paper.scales:
            raise ValueError(unknown("scale", scale, list(paper.scales)))
