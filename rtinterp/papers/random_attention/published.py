"""The paper's own numbers, to stand beside ours and never among them.

They are of the paper's sizes and budgets, of single runs, and quoted from others: none has a spread. Where the released
code has another MixiT than the text, it is not known which one a number is of.
"""

from __future__ import annotations

from rtinterp.figures.comparison import Published

#: What stands in the cells of no regime in particular.
MIXIT = "MixiT, code"


def _quoted(value: float | str, source: str) -> Published:
    return Published(value, source, "second-hand")


ABOUT_STANDARD = "about standard"
#: By what is measured, at which size, then by regime: percentages, bits per trainable parameter, or log-perplexities.
TABLE: dict[str, dict[str, Published]] = {
    "Needle in a haystack, up to 30 pairs, 255 values, %": {
        "standard": _quoted(100.0, "retrieval"),
        "frozen QK": _quoted(97.0, "retrieval"),
        "frozen MLP": _quoted(ABOUT_STANDARD, "retrieval"),
        MIXIT: _quoted(11.2, "retrieval"),
    },
    "K-hop induction, up to 16 hops, 5 layers, all positions, %": {
        "standard": _quoted(99.99, "k-hop induction"),
        "frozen QK": _quoted(96.7, "k-hop induction"),
        "frozen MLP": _quoted(ABOUT_STANDARD, "k-hop induction"),
        MIXIT: _quoted(48.6, "k-hop induction"),
    },
    "Memorization, 512 keys, width 128, bits per parameter": {
        "standard": _quoted(2.98, "memorization"),
        "frozen QK": _quoted(2.25, "memorization"),
        "frozen MLP": _quoted(1.13, "memorization"),
        MIXIT: _quoted(2.18, "memorization"),
    },
}
#: Log-perplexities of language models of width 512 and 12 layers.
LANGUAGE: dict[str, dict[str, Published]] = {
    "Wikitext-103": {
        "standard": _quoted(2.78, "language"),
        "frozen QK": _quoted(3.07, "language"),
        MIXIT: _quoted(3.73, "language"),
    },
    "FineWeb-edu": {
        "standard": _quoted(3.05, "language"),
        "frozen QK": _quoted(3.16, "language"),
        MIXIT: _quoted(4.08, "language"),
    },
}
#: Seconds per sample that are saved beside full training, in shares.
FASTER_PER_SAMPLE = {"frozen QK": _quoted(0.239, "speed"), MIXIT: _quoted(0.32, "speed")}
