"""Reading files that a stranger may have made, and writing files that nobody ever sees half of."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from rtinterp.store.durable import write_durably
from rtinterp.store.errors import StoreError, explain, one_line

#: A named pipe or a device must not keep a reader waiting, and a link must not lead out of the store.
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def check_folder(folder: Path) -> None:
    """Refuse what is not itself a folder.

    Raises:
        StoreError: it is a symbolic link, or no folder, or not there.
    """
    try:
        mode = folder.lstat().st_mode
    except (OSError, ValueError) as error:
        raise StoreError(f"{one_line(folder)}: cannot be read: {explain(error)}") from error
    if stat.S_ISLNK(mode):
        raise StoreError(f"{one_line(folder)}: is a symbolic link; a run is a folder, put a copy in its place")
    if not stat.S_ISDIR(mode):
        raise StoreError(f"{one_line(folder)}: is not a folder")


def read_file(path: Path, limit: int, *, follow: bool = False, beginning: bool = False) -> bytes:
    """The bytes of a regular file, read once.

    Args:
        limit: the most bytes that such a file can have.
        follow: whether the path, which a user named, may be a symbolic link.
        beginning: read the first ``limit`` bytes of a larger file, instead of refusing it.

    Raises:
        StoreError: it is not there, not a regular file, a link, larger than the limit, or changes while it is read.
    """
    shown = one_line(path)
    try:
        if not follow and path.is_symlink():
            raise StoreError(f"{shown}: is a symbolic link; put a copy of the file in its place")
        flags = _OPEN_FLAGS if follow else _OPEN_FLAGS | getattr(os, "O_NOFOLLOW", 0)
        with os.fdopen(os.open(path, flags), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise StoreError(f"{shown}: cannot be read: is not a regular file")
            if beginning:
                return file.read(min(limit, status.st_size))
            if status.st_size > limit:
                raise StoreError(f"{shown}: has {status.st_size:,} bytes, more than the {limit:,} it can have")
            data = file.read(status.st_size + 1)
    except StoreError:
        raise
    except (OSError, ValueError, MemoryError) as error:
        raise StoreError(f"{shown}: cannot be read: {explain(error)}") from error
    if len(data) != status.st_size:
        raise StoreError(f"{shown}: changed while it was read")
    return data


def holds(path: Path, data: bytes | None) -> bool:
    """Whether a file is there, and holds exactly this."""
    try:
        return data is not None and read_file(path, len(data), follow=True) == data
    except StoreError:
        return False


def write_file(path: Path, data: bytes, *, force: bool = False) -> None:
    """Write a file whole, under its name only when it is complete.

    Raises:
        StoreError: the name is taken and ``force`` is not given, or the file cannot be written.
    """
    try:
        write_durably(path, data, replace=force)
    except FileExistsError as error:
        raise StoreError(f"{one_line(path)}: is already there; choose another name, or pass --force") from error
    except (OSError, ValueError) as error:
        raise StoreError(f"{one_line(path)}: cannot be written: {explain(error)}") from error
