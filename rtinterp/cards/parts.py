"""The parts that cards are made of. No colours but the reader's own, and no scripts."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

#: Grey on every background.
RULE = "rgba(128, 128, 128, 0.45)"
SHADE = "rgba(128, 128, 128, 0.16)"
_CELL = "text-align: left; padding: 1px 12px 1px 0; background: none; border: 0; white-space: nowrap"
_TOKEN = f"padding: 0 3px; margin: 1px; border: 1px solid transparent; border-radius: 3px; background: {SHADE}"
_SCORED = f"{_TOKEN}; border-color: currentColor; font-weight: bold"


class Token(NamedTuple):
    """A position of a sequence.

    Attributes:
        label: what stands there.
        scored: whether the prediction there counts.
        expected: what it should be; empty if it cannot be told in a word.
    """

    label: str
    scored: bool
    expected: str = ""


def card(title: str, *parts: str) -> str:
    """Put markup under a title."""
    body = "".join(part for part in parts if part)
    style = f"border-left: 3px solid {RULE}; padding: 2px 0 2px 10px; margin: 2px 0; font-size: 13px; overflow-x: auto"
    return f'<div style="{style}"><b>{html.escape(title)}</b>{body}</div>'


def text(line: str) -> str:
    """Return a line of running text, or nothing if it is empty."""
    return f'<div style="margin: 3px 0">{html.escape(line)}</div>' if line else ""


def code(source: str) -> str:
    """Return source code to copy, broken where it is too long."""
    style = f"white-space: pre-wrap; word-break: normal; padding: 3px 6px; margin: 4px 0; background: {SHADE}"
    return f'<pre style="{style}">{html.escape(source)}</pre>'


def facts(values: Mapping[str, object]) -> str:
    """Return a line for each name and its value."""
    return table((), values.items())


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return rows under the names of their columns, of which there may be none."""
    head = "".join(f'<th style="{_CELL}; font-weight: bold">{html.escape(name)}</th>' for name in columns)
    body = "".join(
        '<tr style="background: none">'
        + "".join(f'<td style="{_CELL}">{html.escape(str(value))}</td>' for value in row)
        + "</tr>"
        for row in rows
    )
    head = f"<tr>{head}</tr>" if head else ""
    return f'<table style="border-collapse: collapse; margin: 4px 0; font-size: 13px">{head}{body}</table>'


def sequences(rows: Iterable[Iterable[Token]]) -> str:
    """Return a line of tokens for each sequence; those at which a prediction counts have a frame."""
    lines = "".join(
        f'<div style="font-family: monospace; line-height: 1.7">{"".join(map(_token, row))}</div>' for row in rows
    )
    return f'<div style="margin: 4px 0">{lines}</div>'


def percent(share: float) -> str:
    return f"{share:.1%}"


def _token(token: Token) -> str:

    style = _SCORED if token.scored else _TOKEN
    answer = f'<span style="opacity: 0.75"> → {html.escape(token.expected)}</span>' if token.expected else ""
    return f'<span style="{style}">{html.escape(token.label)}</span>{answer} '
