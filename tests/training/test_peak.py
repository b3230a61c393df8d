"""What a device can do is measured at its best."""

from __future__ import annotations

import types

import pytest
import torch

from rtinterp.training import peak


def test_the_peak_is_that_of_the_fastest_product(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products of 9, 4, 2 and 5 seconds, and no time for a fifth."""
    clock = iter(
        [0.0, *(t for start, stop in [(0, 9), (9, 13), (13, 15), (15, 20)] for t in (start, start, stop)), 20.0]
    )
    monkeypatch.setattr(peak, "time", types.SimpleNamespace(perf_counter=lambda: next(clock)))
    monkeypatch.setattr(peak, "SECONDS_PER_SIZE", 19.0)
    assert peak._best_flops(torch.ones(8, 8)) == 2 * 8**3 / 2.0
