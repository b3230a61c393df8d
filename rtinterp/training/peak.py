"""How many floating-point operations a device can do."""

from __future__ import annotations

import math
import time

import torch

from rtinterp.training.train_spec import Precision

#: A GPU is not busy with the smaller products, nor a CPU done with the larger ones.
PEAK_SIZES = {"cpu": (1024, 2048, 4096), "cuda": (2048, 4096, 8192)}
SECONDS_PER_SIZE = 1.0


def matmul_peak(device: torch.device, precision: Precision = "float32") -> float:
    """Best floating-point operations per second of square products: what the device reaches with nothing else to do.

    The best of several sizes and of every product within a second of each, since other work on the machine only slows.
    """
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    sizes = PEAK_SIZES[device.type]
    return max(_best_flops(torch.ones(size, size, device=device, dtype=dtype)) for size in sizes)


def _best_flops(a: torch.Tensor) -> float:
    out = torch.empty_like(a)
    best, end = math.inf, time.perf_counter() + SECONDS_PER_SIZE
    while time.perf_counter() < end or best == math.inf:
        start = time.perf_counter()
        torch.mm(a, a, out=out)
        out[0, 0].item()  # waits for the device
        best = min(best, time.perf_counter() - start)
    return 2 * len(a) ** 3 / best
