"""What is checked of a stored run in whatever form: its format version, and the body that its seed makes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from rtinterp.models.fingerprint import initial_fingerprint
from rtinterp.store import sizes
from rtinterp.store.errors import StoreError, one_line
from rtinterp.training.environment import ENVIRONMENT_FIELDS
from rtinterp.training.spec import RunSpec

FORMAT_VERSION = 3
KNOWN_VERSIONS = tuple(ENVIRONMENT_FIELDS)
#: Whose runs may stand under an id of the former rule, and have neither kept steps nor been stopped.
FORMER_VERSIONS = (1, 2)


@contextlib.contextmanager
def blame(path: Path) -> Iterator[None]:
    """Put the file in front of what is wrong with it."""
    try:
        yield
    except StoreError as error:
        told = str(error).removeprefix(f"{one_line(path)}: ")
        raise type(error)(f"{one_line(path)}: {told}") from error.__cause__


def check_version(version: object) -> int:
    """The version of a format, if it is known.

    Raises:
        StoreError: as said, with what to do.
    """
    if type(version) is not int or version not in KNOWN_VERSIONS:
        known = ", ".join(map(str, KNOWN_VERSIONS))
        raise StoreError(
            f"has format version {one_line(repr(version))}; this rtinterp knows {known}. Update rtinterp to open a "
            "newer run"
        )
    return version


def check_fingerprint(spec: RunSpec, stored: str) -> None:
    """Draw the frozen tensors from the seed again, in little memory, and compare.

    Raises:
        StoreError: they are not those that the run was made with.
    """
    trained = sizes.trained_shapes(spec)
    if initial_fingerprint((p for p in spec.parameters() if p.name not in trained), spec.seed) != stored:
        raise StoreError(
            f"the body rebuilt from seed {spec.seed} does not have the stored fingerprint; the run was made with "
            "another initialisation"
        )
