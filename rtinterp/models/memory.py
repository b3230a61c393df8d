"""Whether tensors can fit a device at all, told before any of them is made."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path

import torch

from rtinterp.models.parameters import Parameter

FLOAT32_BYTES = 4
GIB = 2**30
#: What a container may use in bytes, under Linux's cgroups 2 and 1; "max", or more than there is, without a limit.
LIMIT_FILES = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def device_bytes(device: torch.device) -> int:
    """All the memory of a GPU, or of this machine or of the container on it, whoever uses it now."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    limits = [path.read_text().strip() for path in LIMIT_FILES if path.is_file()]
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(machine, *(int(limit) for limit in limits if limit.isdecimal()), machine)


def parameter_bytes(parameters: Iterable[Parameter]) -> int:
    """What the values of float32 tensors take."""
    return FLOAT32_BYTES * sum(math.prod(parameter.shape) for parameter in parameters)


def check_parameters_fit(parameters: Iterable[Parameter]) -> None:
    """Refuse tensors that this machine could never hold.

    Raises:
        MemoryError: as said, with the memory that they need and what there is.
    """
    needed, there = parameter_bytes(parameters), device_bytes(torch.device("cpu"))
    if needed > there:
        raise MemoryError(
            f"the parameters of this model take {needed / GIB:,.1f} GiB of memory, and this machine has "
            f"{there / GIB:,.1f} GiB; use a smaller width (d_model)"
        )
