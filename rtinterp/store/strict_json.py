"""JSON as a store writes it: one object, every key once, numbers that a computer has, texts that can be printed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any, TypeVar

Contents = TypeVar("Contents")

INT64_DIGITS = 19


def parse_json(data: bytes, *, printable: bool = True) -> dict[str, Any]:
    """Parse one object.

    Args:
        printable: whether to refuse texts that cannot be printed.

    Raises:
        ValueError: it is not UTF-8 or not JSON, a key stands twice, a number is not finite or does not fit 64 bits, or
            a text holds what cannot be printed.
    """
    try:
        fields = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique_printable if printable else _unique,
            parse_int=_int64,
            parse_float=_finite,
            parse_constant=_finite,
        )
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(fields, dict):
        raise ValueError(f"must be a JSON object, not {type(fields).__name__}")
    return fields


def make(kind: type[Contents], fields: dict[str, Any], names: Iterable[str]) -> Contents:
    """Construct a strict dataclass from exactly these fields.

    Raises:
        ValueError: a field is missing, unknown or of the wrong type.
    """
    names = set(names)
    for complaint, wrong in (("lacks", names - fields.keys()), ("has unknown keys", fields.keys() - names)):
        if wrong:
            raise ValueError(f"{complaint} {', '.join(sorted(wrong)[:5])}")
    return kind(**fields)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError(f"a key stands twice among {sorted(key for key, _ in pairs)[:20]}")
    return fields


def _unique_printable(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = _unique(pairs)
    for key, value in pairs:
        if not key.isprintable() or (isinstance(value, str) and not value.isprintable()):
            raise ValueError(f"{key!r} holds characters that cannot be printed")
    return fields


def _int64(digits: str) -> int:
    if len(digits) > INT64_DIGITS + 1 or not -(2**63) <= int(digits) < 2**63:
        raise ValueError(f"the number {digits[:INT64_DIGITS]}... does not fit 64 bits")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"the number {digits[:INT64_DIGITS]} is not finite")
    return value
