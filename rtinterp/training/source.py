"""Python source that makes a spec again."""

from __future__ import annotations

import dataclasses
from typing import Any


def source_of(value: Any) -> str:
    """Return an expression whose value is equal: a dataclass by its fields that are not at their defaults."""
    if not dataclasses.is_dataclass(value):
        return repr(value)
    given = [field for field in dataclasses.fields(value) if getattr(value, field.name) != _default(field)]
    fields = (f"{field.name}={source_of(getattr(value, field.name))}" for field in given)
    return f"{type(value).__name__}({', '.join(fields)})"


def _default(field: dataclasses.Field[Any]) -> object:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
