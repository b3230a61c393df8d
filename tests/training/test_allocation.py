"""Freed memory stays with a process that trains on a CPU."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from rtinterp.training import allocation
from rtinterp.training.allocation import keep_freed_memory

#: Page faults of taking 80 MB and giving them back, ten times; without our setting mostly 20,000, since glibc learns.
FAULTS = """
import resource
import torch
from rtinterp.training.allocation import keep_freed_memory
assert keep_freed_memory()
torch.set_num_threads(1)
take = lambda: [torch.zeros(5_000_000) for _ in range(4)]
for _ in range(5):
    take()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    take()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="needs glibc")
def test_memory_that_is_taken_again_costs_no_page_faults() -> None:
    answer = subprocess.run([sys.executable, "-c", FAULTS], check=True, capture_output=True)
    assert int(answer.stdout) < 100


def test_other_systems_are_left_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocation.ctypes, "CDLL", lambda _: object())
    assert not keep_freed_memory()
    monkeypatch.setattr(allocation.sys, "platform", "darwin")
    assert not keep_freed_memory()
