"""What a paper claims, and whether our tables show it: at the paper's own sizes, and at smaller ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, get_args

import polars as pl

from rtinterp.figures import style
from rtinterp.figures.comparison import Compare, Item, summaries
from rtinterp.figures.provenance import Source
from rtinterp.figures.verdicts import Parts, Verdict, in_words, together

NAME = "claims"
Size = Literal["the paper's size", "smaller sizes"]
SIZES: tuple[Size, ...] = get_args(Size)
NO_ROWS = "no rows bear on it"

SCHEMA = {
    "claim": pl.String,
    "figure": pl.String,
    "size": pl.String,
    "verdict": pl.String,
    "verdict_in_words": pl.String,
    "evidence": pl.String,
    "rule": pl.String,
    "scale": pl.String,
    "n_seeds": pl.String,
    "d_model": pl.String,
}


@dataclasses.dataclass(frozen=True)
class Claim:
    """One claim of a paper, the rows that bear on it, and the rule by which they decide.

    Attributes:
        published: what the paper claims, in a sentence.
        figure: the name of the figure whose table has the rows.
        measure: what our numbers are, as the beginning of a sentence.
        evidence: picks the rows from that table.
        number_format: of a median, with its unit, such as ``"{:.1f} %"``.
        rule: when it holds, in words: the end of "It holds if".
        judge: decides by that rule, thing by thing, from the items that ``evidence`` picked.
        at_paper_size: tells of each row of the table whether its run is of the paper's own size.
    """

    published: str
    figure: str
    measure: str
    evidence: Compare
    number_format: str
    rule: str
    judge: Callable[[Sequence[Item]], Parts]
    at_paper_size: Callable[[pl.DataFrame], pl.Series]


class Finding(NamedTuple):
    """A claim, what runs of some size decide of it, and their medians, as ``summaries`` makes them."""

    claim: Claim
    size: Size
    parts: Parts
    rows: pl.DataFrame

    @property
    def verdict(self) -> Verdict:
        return together(self.parts)

    @property
    def verdict_in_words(self) -> str:
        """The verdict, and of what it is another; without rows that bear on it, it cannot be told."""
        return in_words(self.parts) if len(self.rows) else f"{self.verdict}: {NO_ROWS}"

    def sentence(self, number: str = "{}") -> str:
        """Say what ours shows: every median, and where they come from; nothing without runs.

        Args:
            number: how a number is set off, such as ``"<b>{}</b>"``; all else is plain text.
        """
        if self.rows.is_empty():
            return ""
        pairs = self.rows.select("quantity", "ours_median").iter_rows()
        numbers = [f"{quantity} {number.format(self.claim.number_format.format(median))}" for quantity, median in pairs]
        return f"{self.claim.measure}: {', '.join(numbers)} ({self._standing})."

    @property
    def _standing(self) -> str:
        scales = " and ".join(self.rows["scale"].unique(maintain_order=True))
        n_seeds = _ends(self.rows["n_seeds"])
        medians = f"medians of {n_seeds} seeds" if n_seeds != "1" else "1 seed"
        told = [source for source in get_args(Source) if self.rows["source"].str.contains(source).any()]
        return ", ".join(
            [f"{scales} scale", f"width {_widths(self.rows)}", medians, *filter(None, [" and ".join(told)])]
        )


def findings(claims: Sequence[Claim], tables: Mapping[str, pl.DataFrame]) -> Iterator[Finding]:
    """Decide of claims by tables, by figure name: at the paper's size, then at smaller ones, if there are such runs.

    Claims on other tables, or on empty ones, are left out.
    """
    for claim in claims:
        table = tables.get(claim.figure)
        if table is None or table.is_empty():
            continue
        is_own = claim.at_paper_size(table)
        parts = table.filter(is_own), table.filter(~is_own)
        found = [_finding(claim, size, of_size) for size, of_size in zip(SIZES, parts, strict=True)]
        yield from (one for one in found if len(one.rows) or one.size == SIZES[0])


def claims_table(found: Iterable[Finding]) -> pl.DataFrame:
    """Make one row per claim and size."""
    rows = [
        {
            "claim": one.claim.published,
            "figure": one.claim.figure,
            "size": one.size,
            "verdict": one.verdict,
            "verdict_in_words": one.verdict_in_words,
            "evidence": one.sentence(),
            "rule": one.claim.rule,
            "scale": " and ".join(one.rows["scale"].unique(maintain_order=True)),
            "n_seeds": _ends(one.rows["n_seeds"]),
            "d_model": _widths(one.rows),
        }
        for one in found
    ]
    return pl.DataFrame(rows, schema=SCHEMA)


def as_markdown(table: pl.DataFrame) -> str:
    """Write the rows of ``claims_table`` as a Markdown table with a row for each claim."""
    lines = [f"| claim | {' | '.join(f'at {size}' for size in SIZES)} | it holds if |", "| --- " * 4 + "|"]
    for of_claim in table.partition_by("claim", maintain_order=True):
        by_size = {row["size"]: _told(row) for row in of_claim.iter_rows(named=True)}
        cells = [of_claim["claim"][0], *(by_size.get(size, NO_ROWS) for size in SIZES), of_claim["rule"][0]]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _told(row: Mapping[str, str | None]) -> str:
    where = f"{row['scale']} scale, width {row['d_model']}, seeds: {row['n_seeds']}"
    return f"{row['verdict_in_words']}" + (f"; {where}" if row["scale"] else "")


def _finding(claim: Claim, size: Size, table: pl.DataFrame) -> Finding:
    """What is shown and what decides are the same items: the first of each kind, which are of the largest scale."""
    kinds: dict[tuple[str, str], Item] = {}
    for item in claim.evidence(table):
        if len(item.runs):
            body, trainable = item.runs.select("body", "trainable").row(0)
            kinds.setdefault((item.quantity, style.model_name(body, trainable)), item)
    items = list(kinds.values())
    return Finding(claim, size, claim.judge(items), summaries(items))


def _widths(rows: pl.DataFrame) -> str:
    return ", ".join(map(str, rows["d_model"].unique().sort(descending=True)))


def _ends(numbers: pl.Series) -> str:
    """``"3"``, or ``"3 to 5"``; nothing of no numbers."""
    return style.ends(str(numbers.min()), str(numbers.max())) if len(numbers) else ""
