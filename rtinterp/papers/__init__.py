"""One folder for each paper or question, with its experiments, scales, published numbers and figures.

A new one is a folder with a ``PAPER`` and an entry in ``PAPERS``; nothing else has to know of it.
"""

from rtinterp.figures.paper import Paper
from rtinterp.papers import affine_recurrences, ladder, mechanism, random_attention, random_transformers

#: Every paper by name, in the order in which they are drawn and trained.
PAPERS: dict[str, Paper] = {
    paper.PAPER.name: paper.PAPER
    for paper in (random_transformers, mechanism, random_attention, affine_recurrences, ladder)
}

__all__ = ["PAPERS", "Paper"]
