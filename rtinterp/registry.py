"""Kinds of things by name, to which user code and installed packages add their own."""

from __future__ import annotations

import dataclasses
import difflib
import re
import warnings
from collections.abc import Collection, Iterator, Mapping
from importlib.metadata import entry_points
from typing import Generic, TypeVar

Kind = TypeVar("Kind")
Registered = TypeVar("Registered", bound=type)

#: Names stand in run ids, which are names of folders.
NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


class UnknownNameError(ValueError):
    """Nothing of that kind is registered under a name.

    Attributes:
        kind: what was looked for, such as ``"task"``.
        name: the name.
    """

    def __init__(self, kind: str, name: object, known: Collection[str]) -> None:
        near = difflib.get_close_matches(name, known, n=1) if isinstance(name, str) else []
        meant = f"did you mean {near[0]!r}? " if near else ""
        super().__init__(f"unknown {kind} {name!r}; {meant}known: {', '.join(sorted(known))}")
        self.kind, self.name = kind, name


class Registry(Mapping[str, type[Kind]], Generic[Kind]):
    """Classes of one kind by their ``name``: what a stored run may name, and what the command line offers.

    Classes that installed packages declare as entry points are registered when a name is first looked for.

    Args:
        kind: for messages, such as ``"task"``.
        base: what every class is a subclass of.
        entry_point_group: such as ``"rtinterp.tasks"``; the value of an entry point is the class, ``module:Class``.
    """

    def __init__(self, kind: str, base: type[Kind], entry_point_group: str) -> None:
        self.kind, self._base, self._group = kind, base, entry_point_group
        self._classes: dict[str, type[Kind]] = {}
        self._installed_are_loaded = False

    def register(self, cls: Registered) -> Registered:
        """Add a class and return it, so that this can be a decorator; the same class again changes nothing.

        A class of the same module and name takes the place of the earlier one, as when a notebook cell runs twice.

        Raises:
            TypeError: it is not a frozen dataclass of this kind.
            ValueError: it has no name of its own, the name cannot stand in a run id, or another class has it.
        """
        described = f"{self.kind} {cls.__qualname__}" if isinstance(cls, type) else repr(cls)
        candidate: type = cls
        if not (isinstance(candidate, type) and issubclass(candidate, self._base)):
            raise TypeError(f"{described} is not a subclass of {self._base.__name__}")
        name = _own_name(cls, described)
        taken = self._classes.get(name)
        if taken is not None and _place(taken) != _place(cls):
            raise ValueError(f"the name {name!r} is taken by {'.'.join(_place(taken))}; give {described} another one")
        self._classes[name] = candidate
        return cls

    def check(self, thing: Kind) -> None:
        """Refuse what could not be made again from its name and its fields.

        Raises:
            ValueError: its class is not registered, under its name, and how to do that.
        """
        cls = type(thing)
        if self._classes.get(vars(cls).get("name", "")) is cls or cls in self.values():
            return
        if any(_place(cls) == _place(known) for known in self._classes.values()):
            raise ValueError(f"{cls.__qualname__} was defined again since this {self.kind} was made; make it again")
        raise ValueError(
            f"{cls.__qualname__} is not registered, so no run of it could be opened again: "
            f"call rtinterp.register_{self.kind}({cls.__qualname__}) after its definition"
        )

    def __getitem__(self, name: str) -> type[Kind]:
        if isinstance(name, str) and name in self._classes:
            return self._classes[name]
        self._load_installed()
        if not isinstance(name, str) or name not in self._classes:
            raise KeyError(name)
        return self._classes[name]

    def named(self, name: object) -> type[Kind]:
        """The class of that name.

        Raises:
            UnknownNameError: there is none.
        """
        if not isinstance(name, str) or name not in self:
            raise UnknownNameError(self.kind, name, self)
        return self[name]

    def __iter__(self) -> Iterator[str]:
        self._load_installed()
        return iter(self._classes)

    def __len__(self) -> int:
        self._load_installed()
        return len(self._classes)

    def _load_installed(self) -> None:
        """Register what entry points name, once; a broken one is left out with a warning, and harms no other."""
        if not self._installed_are_loaded:
            self._installed_are_loaded = True
            for entry_point in entry_points(group=self._group):
                try:
                    self.register(entry_point.load())
                except Exception as error:  # whatever a package raises when it is imported
                    warnings.warn(f"left out the installed {self.kind} {entry_point.value}: {error}", stacklevel=2)


def _own_name(cls: type, described: str) -> str:
    parameters = vars(cls).get("__dataclass_params__")
    if parameters is None or not parameters.frozen or not dataclasses.is_dataclass(cls):
        raise TypeError(f"{described} is not a frozen dataclass; decorate it with @dataclass(frozen=True)")
    name = vars(cls).get("name")
    if not isinstance(name, str):
        raise ValueError(f'{described} has no name of its own; give it one: name: ClassVar[str] = "..."')
    if any(field.name == "name" for field in dataclasses.fields(cls)):
        raise ValueError(f"{described} has its name as a field; annotate it as name: ClassVar[str]")
    if not NAME.fullmatch(name):
        raise ValueError(f"{described} is called {name!r}; use lower-case letters, digits and underscores")
    return name


def _place(cls: type) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__
