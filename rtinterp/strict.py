"""The one kind of dataclass that specs and records are: frozen, exact types, finite numbers, no unknown fields."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import reprlib
from collections.abc import Callable
from typing import Any, TypeVar, overload

from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass
from typing_extensions import dataclass_transform

STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)
#: Of what is wrong with one thing, how much is told.
MAX_FAULTS = 3

Made = TypeVar("Made", bound=type)


@overload
def strict(cls: Made) -> Made: ...
@overload
def strict(*, eq: bool = True, repr: bool = True) -> Callable[[Made], Made]: ...
@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field, Field))
def strict(cls: Any = None, *, eq: bool = True, repr: bool = True) -> Any:
    """Make a class a frozen dataclass that checks its fields; a ValueError names the field, its value and the fault."""
    if cls is None:
        return functools.partial(strict, eq=eq, repr=repr)
    made: Any = dataclass(frozen=True, config=STRICT, eq=eq, repr=repr)(cls)
    check = made.__init__

    @functools.wraps(check)
    def __init__(self: Any, *args: Any, **fields: Any) -> None:
        try:
            check(self, *args, **fields)
        except ValidationError as error:
            raise ValueError(faults(error, made)) from None

    made.__init__ = __init__
    return made


def fields_to_give(value: Any) -> list[dataclasses.Field[Any]]:
    """The fields of a dataclass that have to be given to make an equal value: those that are not at their defaults.

    A default of None may stand for something that is found out when the value is made.
    """
    return [field for field in dataclasses.fields(value) if not _comes_by_itself(value, field)]


def _comes_by_itself(value: Any, field: dataclasses.Field[Any]) -> bool:
    default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    if getattr(value, field.name) == default:
        return True
    return default is None and field.compare and dataclasses.replace(value, **{field.name: None}) == value


def faults(error: ValidationError, cls: type[Any] | None = None) -> str:
    """Say in a line what pydantic found.

    Args:
        cls: the dataclass whose fields were checked, if known.
    """
    found = error.errors(include_url=False)
    return "; ".join(dict.fromkeys(_fault(each, cls) for each in found[:MAX_FAULTS]))


def _fault(fault: Any, cls: type[Any] | None) -> str:
    names = [field.name for field in dataclasses.fields(cls) if field.init] if cls is not None else []
    first, *rest = fault["loc"] or ("",)
    if fault["type"] == "unexpected_positional_argument":
        return f"takes {len(names)} values at most: {', '.join(names)}"
    # A field that is given by its place has the place as its name. Else, words are of a union: which of its types.
    name = str(names[first] if isinstance(first, int) and names else first)
    place = name + "".join(f"[{index}]" for index in rest if isinstance(index, int))
    if fault["type"] == "value_error":
        told = str(fault["ctx"]["error"])
        return told if told.startswith(place) else f"{place}: {told}"
    if fault["type"] == "missing":
        return f"{place} is missing"
    if fault["type"] == "unexpected_keyword_argument":
        near = difflib.get_close_matches(name, names, n=1)
        return f"there is no {name}; " + (f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}")
    return f"{place}={reprlib.repr(fault['input'])}: {fault['msg'].removeprefix('Input ')}"
