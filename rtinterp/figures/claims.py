"""What a paper claims, beside what our tables show of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, get_args

import polars as pl

from rtinterp.figures.comparison import Compare, summaries
from rtinterp.figures.provenance import Source


@dataclasses.dataclass(frozen=True)
class Claim:
    """One claim of a paper, and the rows that bear on it.

    Attributes:
        published: what the paper claims, in a sentence.
        figure: the name of the figure whose table has the rows.
        measure: what our numbers are, as the beginning of a sentence.
        evidence: picks the rows from that table.
        number_format: of a median, with its unit, such as ``"{:.1f} %"``.
    """

    published: str
    figure: str
    measure: str
    evidence: Compare
    number_format: str


class Finding(NamedTuple):
    """A claim, and the medians of ours that bear on it, as ``summaries`` makes them."""

    claim: Claim
    rows: pl.DataFrame

    def sentence(self, number: str = "{}") -> str:
        """Say what ours shows: every median, and where they come from.

        Args:
            number: how a number is set off, such as ``"<b>{}</b>"``; all else is plain text.
        """
        pairs = self.rows.select("quantity", "ours_median").iter_rows()
        numbers = [f"{quantity} {number.format(self.claim.number_format.format(median))}" for quantity, median in pairs]
        return f"{self.claim.measure}: {', '.join(numbers)} ({self._standing})."

    @property
    def _standing(self) -> str:
        scales = " and ".join(self.rows["scale"].unique(maintain_order=True))
        seeds = sorted(set(self.rows["n_seeds"]))
        n_seeds = f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"{seeds[0]}"
        medians = f"medians of {n_seeds} seeds" if n_seeds != "1" else "1 seed"
        told = [source for source in get_args(Source) if self.rows["source"].str.contains(source).any()]
        return ", ".join([f"{scales} scale", medians, *filter(None, [" and ".join(told)])])


def findings(claims: Sequence[Claim], tables: Mapping[str, pl.DataFrame]) -> Iterator[Finding]:
    """Find what tables, by figure name, show of claims; those on other tables or on no row of them are left out."""
    for claim in claims:
        if claim.figure in tables:
            rows = summaries(claim.evidence(tables[claim.figure]))
            if len(rows):
                yield Finding(claim, rows)
