"""The parts of a run spec as JSON: a name and fields, from which an equal part can be made again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any


def part_fields(part: Any) -> dict[str, Any]:
    """The name of a task, a body or a parametrisation, and its fields, nothing derived."""
    return {"name": part.name, **stored_fields(type(part), dataclasses.asdict(part))}


def stored_fields(cls: type[Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """All fields but those that say what their absence means: those of older specs stay as they were."""
    absent = _when_absent(cls, fields)
    return {name: value for name, value in fields.items() if name not in absent or value != absent[name]}


def complete(cls: type[Any], fields: Mapping[str, Any]) -> Any:
    """Construct from fields that must all be there: a stored spec does not change its meaning with our defaults.

    What may be absent, ``when_absent`` of the class tells the meaning of. A list of JSON is a tuple in a spec, which
    could not be hashed with a list in it.
    """
    fields = {**_when_absent(cls, fields), **fields}
    missing = [field.name for field in dataclasses.fields(cls) if field.name not in fields]
    if missing:
        raise ValueError(f"the {cls.__name__} of a run spec lacks {', '.join(missing)}")
    return cls(**{name: _with_tuples(value) for name, value in fields.items()})


def check_comes_back(part: Any) -> None:
    """Refuse a part that its JSON would not make again, equal to itself.

    Raises:
        ValueError: as said, under its class and, where one is at fault, the field.
    """
    cls = type(part)
    try:
        hash(part)
    except TypeError as error:
        raise ValueError(f"{cls.__qualname__}: {error}; use a tuple for a list, and immutable values") from error
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        try:
            carried = _with_tuples(json.loads(json.dumps(value, allow_nan=False)))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{cls.__qualname__}.{field.name} cannot be written as JSON: {error}") from error
        if carried != value:
            raise ValueError(
                f"{cls.__qualname__}.{field.name} is {value!r} and would come back from JSON as {carried!r}"
            )
    try:
        again = complete(cls, stored_fields(cls, dataclasses.asdict(part)))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{cls.__qualname__} cannot be made again from its fields: {error}") from error
    if again != part:
        raise ValueError(f"{cls.__qualname__} made again from its fields is {again!r}, not {part!r}")


def _when_absent(cls: type[Any], fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """The meaning of absent fields, in a class that has fields which are younger than stored specs."""
    return cls.when_absent(fields) if hasattr(cls, "when_absent") else {}


def _with_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_tuples(item) for key, item in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value
