"""Files that are there whole or not at all, also after a power failure."""

from __future__ import annotations

import contextlib
import hashlib
import os
import uuid
from pathlib import Path

from rtinterp.store.owner import this_process

ASIDE_PREFIX = ".writing-"


def aside_name(prefix: str = ASIDE_PREFIX) -> str:
    """A name that nobody else uses and that tells which process it is of."""
    return f"{prefix}{this_process().tag}-{uuid.uuid4().hex}"


def write_durably(path: Path, contents: bytes, *, replace: bool = True) -> None:
    """Write a file as ``write_whole`` does, and flush it, so that a power failure leaves these or the former contents.

    Raises:
        OSError: as ``write_whole``.
    """
    write_whole(path, contents, flush=True, replace=replace)
    flush_folder(path.parent)


def write_whole(path: Path, contents: bytes, *, flush: bool = False, replace: bool = True) -> None:
    """Write to the side and rename, so that nobody sees a part of a file.

    Args:
        replace: whether a file of that name may be there.

    Raises:
        OSError: it cannot be written, or its name is taken; nothing has changed then.
    """
    aside = path.with_name(aside_name())
    try:
        with aside.open("xb") as file:
            file.write(contents)
            if flush:
                file.flush()
                os.fsync(file.fileno())
        os.replace(aside, path) if replace else _link(aside, path)
    finally:
        with contextlib.suppress(OSError):
            aside.unlink()


def _link(aside: Path, path: Path) -> None:
    """Give a file its name, unless the name is taken."""
    try:
        os.link(aside, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(path):
            raise FileExistsError(path) from None
        os.replace(aside, path)


def flush_files(folder: Path) -> None:
    """Make the files of a folder durable, and their names."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    flush_folder(folder)


def flush_folder(folder: Path) -> None:
    """Make names in a folder durable, where the system can open folders."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sha256(contents: bytes) -> str:
    return hashlib.sha256(contents).hexdigest()
