"""Python source that makes a spec again."""

from __future__ import annotations

import dataclasses
from typing import Any

from rtinterp.strict import fields_to_give


def source_of(value: Any) -> str:
    """Return an expression whose value is equal: a dataclass by the fields that have to be given."""
    if not dataclasses.is_dataclass(value):
        return repr(value)
    fields = (f"{field.name}={source_of(getattr(value, field.name))}" for field in fields_to_give(value))
    return f"{type(value).__name__}({', '.join(fields)})"
