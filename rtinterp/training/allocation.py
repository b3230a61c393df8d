"""Memory between the steps of a training on a CPU."""

from __future__ import annotations

import contextlib
import ctypes
import sys

#: Parameters of mallopt, from glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
#: The largest that glibc takes; a chunk's buffers are smaller.
MMAP_FROM_BYTES = 32 * 2**20
KEPT_BYTES = 2**30


def keep_freed_memory() -> bool:
    """Keep up to a GiB of freed memory for the next step instead of returning it to the operating system.

    Every step frees what the next one needs again, and returned memory costs a page fault per 4 KiB: tens of thousands
    a step. It is a setting of the whole process, and of glibc alone; True if it was made.
    """
    if not sys.platform.startswith("linux"):
        return False
    with contextlib.suppress(AttributeError, OSError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        return bool(mallopt(M_MMAP_THRESHOLD, MMAP_FROM_BYTES)) and bool(mallopt(M_TRIM_THRESHOLD, KEPT_BYTES))
    return False
