"""Tasks of which one chooses the rows that a model is tested on."""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, Literal

from typing_extensions import Self

from rtinterp.strict import fields_to_give
from rtinterp.tasks.base import Task

#: The official code's list; distinct rows of the held-out twentieth; draws from that twentieth, with repetition; or
#: distinct rows of another twentieth, by which a training can be chosen.
TestRows = Literal["official", "distinct", "drawn", "validation"]


class ChoosesTestRows(Task):
    """A task with a field ``test_rows``, which may be ``"validation"``; None becomes what is tested by default.

    Stored runs that are older than the field lack it; ``when_absent`` says what they were tested on.
    """

    test_rows: Any

    def __post_init__(self) -> None:
        if self.test_rows is None:
            object.__setattr__(self, "test_rows", self._default_test_rows)

    @property
    @abc.abstractmethod
    def _default_test_rows(self) -> TestRows:
        """What is tested where nothing is chosen."""

    def for_validation(self) -> Self:
        """The same task, tested on its validation rows.

        Its training stream holds out both these and the rows that are tested otherwise, so that a training can be
        chosen by its accuracy before anything looks at the test rows.
        """
        return dataclasses.replace(self, test_rows="validation")  # pyright: ignore[reportArgumentType]

    def __repr__(self) -> str:
        """Without the fields that ``when_absent`` tells of, where they are what they become by themselves."""
        fields: dict[str, Any] = dataclasses.asdict(self)  # pyright: ignore[reportArgumentType]
        silent = self.when_absent(fields).keys() - {field.name for field in fields_to_give(self)}
        shown = (f"{name}={value!r}" for name, value in fields.items() if name not in silent)
        return f"{type(self).__qualname__}({', '.join(shown)})"
