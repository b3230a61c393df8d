"""How ``rtinterp ladder`` writes dials, settings and widths."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: From a power of two to another one.
_SPAN = re.compile(r"(\d+)\.\.(\d+)")
_NUMBER = re.compile(r"\d+")


def read_dial(text: str) -> tuple[str, tuple[int, ...]]:
    """Read a dial's name and values, in ascending order, from such as ``"k=1,2,4"``.

    Raises:
        ValueError: it does not look like that.
    """
    name, equals, values = text.partition("=")
    numbers = values.split(",")
    if not name or not equals or not all(map(_NUMBER.fullmatch, numbers)):
        raise ValueError(f"--dial {text}: write a name and whole numbers, as in k=1,2,4")
    return name, tuple(sorted(set(map(int, numbers))))


def read_settings(texts: Sequence[str]) -> dict[str, int | str]:
    """Read fields of a task from such as ``"group=Z2"``.

    Raises:
        ValueError: one does not look like that.
    """
    fields: dict[str, int | str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals or not value:
            raise ValueError(f"--set {text}: write a field and its value, as in group=Z2")
        fields[name] = int(value) if _NUMBER.fullmatch(value) else value
    return fields


def read_widths(text: str) -> tuple[int, ...]:
    """Read widths, in ascending order: the powers of two of ``"16..512"``, or those of a list, ``"16,48,96"``.

    Raises:
        ValueError: it does not look like that, or no power of two lies there.
    """
    span = _SPAN.fullmatch(text)
    if span is None:
        numbers = text.split(",")
        if not all(map(_NUMBER.fullmatch, numbers)) or "0" in numbers:
            raise ValueError(
                f"--widths {text}: write 16..512 for the powers of two between, or a list such as 16,48,96"
            )
        return tuple(sorted(set(map(int, numbers))))
    low, high = map(int, span.groups())
    widths = tuple(1 << power for power in range(high.bit_length()) if low <= 1 << power <= high)
    if not widths:
        raise ValueError(f"--widths {text}: there is no power of two from {low} to {high}; use such as 16..512")
    return widths
