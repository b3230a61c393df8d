"""What memory there is, where a container has less than its machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from rtinterp.models import memory

MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
CPU = torch.device("cpu")


@pytest.mark.parametrize(("limit", "there"), [("1048576", 2**20), ("max", MACHINE), (str(2 * MACHINE), MACHINE)])
def test_a_container_has_what_it_may_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, there: int
) -> None:
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    monkeypatch.setattr(memory, "LIMIT_FILES", (tmp_path / "memory.max", tmp_path / "not there"))
    assert memory.device_bytes(CPU) == there
