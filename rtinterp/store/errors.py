"""What is raised about a store, in one line whatever the store holds."""

from __future__ import annotations

import pydantic

from rtinterp.strict import faults

#: Of a message or a name that comes from a file or a user.
MAX_CHARACTERS = 400


class StoreError(ValueError):
    """A run cannot be saved, or is not there, or is not what was saved; the message names the file."""


class UnregisteredError(StoreError):
    """A run is not known to be damaged, but its task or body is not registered in this process; says what to import."""


class UnregisteredRunWarning(UserWarning):
    """A run was left out because its task or body is not registered in this process; says what to import."""


def one_line(text: object) -> str:
    """A text of any origin, short and harmless to a terminal: no line ends, no control characters."""
    words = " ".join(str(text)[: 4 * MAX_CHARACTERS].split())
    if len(words) > MAX_CHARACTERS:
        words = words[:MAX_CHARACTERS] + "..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in words)


def explain(error: BaseException) -> str:
    """What is wrong with a file, from what a parser says about it."""
    if isinstance(error, pydantic.ValidationError):
        return one_line(faults(error))
    if isinstance(error, OSError):
        return one_line(error.strerror or error)
    return one_line(error)
