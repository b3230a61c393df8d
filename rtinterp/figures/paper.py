"""What a paper, or a question of one's own, consists of here: its figures, the runs they need, and its numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias

from rtinterp.figures.claims import Claim
from rtinterp.figures.comparison import Compare
from rtinterp.figures.figure import Figure
from rtinterp.tasks import Corpus
from rtinterp.training.spec import RunSpec

#: An experiment makes a list of runs, the most valuable first, of a scale of its paper, a number of seeds and, where
#: there is one, an open corpus.
Experiment: TypeAlias = Callable[[Any, int, "Corpus | None"], list[RunSpec]]


class NoCorpusError(ValueError):
    """An experiment on language was asked for without a text."""

    def __init__(self) -> None:
        super().__init__(
            "language modelling needs a text: pass --corpus PATH, a .txt, .jsonl or .parquet file or a folder with a "
            "train and a valid file, or --corpus roneneldan/TinyStories where there is a network"
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Paper:
    """One paper or question.

    Attributes:
        name: the name of its folder in ``rtinterp/papers`` and among the drawings.
        figures: its figures and tables by name, in the order in which they are drawn.
        experiments: what it trains, by name, in the order in which it is worth training.
        scales: its sizes and budgets by name, the smallest first; experiments take one of them.
        on_language: the names of the experiments that need a corpus.
        compared: how the tables of some figures are compared with what the paper reports, by figure name.
        claims: what it claims, and which rows of the tables bear on it, the most important first.
        cost: what the paper's own experiments took.
        listed: all figures, of which ``only`` leaves some; those drawn before stay on the page. Filled in if not given.
    """

    name: str
    title: str
    figures: Mapping[str, Figure]
    experiments: Mapping[str, Experiment]
    scales: Mapping[str, Any]
    on_language: Collection[str] = ()
    compared: Mapping[str, Compare] = dataclasses.field(default_factory=dict)
    claims: Sequence[Claim] = ()
    cost: str = ""
    listed: Mapping[str, Figure] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.listed:
            object.__setattr__(self, "listed", self.figures)

    def needs_corpus(self, figure: Figure) -> bool:
        """Return whether the figure is about language."""
        return figure.experiment in self.on_language

    def specs(self, figure: Figure, scale: str, n_seeds: int, corpus: Corpus | None = None) -> list[RunSpec]:
        """List the runs that the figure needs.

        Raises:
            NoCorpusError: the figure is about language, and there is no corpus.
            ValueError: the corpus is too small for the scale.
        """
        if figure.experiment is None:
            return []
        return self.experiments[figure.experiment](self.scales[scale], n_seeds, corpus)

    def only(self, names: Sequence[str]) -> Paper:
        """Return the same paper with some of its figures, in the same order."""
        return dataclasses.replace(self, figures={name: self.figures[name] for name in self.figures if name in names})
