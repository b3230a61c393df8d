"""The steps of CONTRIBUTING.md, followed: its blocks are one program, which a fresh interpreter runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")

#: The regime trains what it says, the body starts as it says, and the task is learnt.
CHECKS = """
initial = run.initial_model.state_dict()
moved = {name for name, tensor in run.model.state_dict().items() if not torch.equal(tensor, initial[name])}
assert "embed.W_E" in moved and "blocks.1.attn.W_K" in moved and "blocks.0.attn.W_V" not in moved, moved
assert 0.15 < initial["blocks.0.attn.W_V"].std() < 0.25 and initial["blocks.0.mlp.W_in"].std() < 0.03
assert run.test_accuracy == 1, run
assert RunStore("runs").load(run.spec.run_id).spec == spec
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the program ran."""
    folder = tmp_path_factory.mktemp("contributing")
    program = folder / "program.py"
    program.write_text("\n\n".join([*re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL), CHECKS]), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", str(program)]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return folder


def test_the_figure_is_drawn_from_its_table(folder: Path) -> None:
    drawn = folder / "results" / "my_question"
    table = pl.read_csv(drawn / "data" / "figure1_entropy.csv")
    n_heads = 2 * 4
    assert table["seed"].to_list() == [0] * n_heads + [1] * n_heads
    assert table["entropy"].is_between(0, 2).all()
    assert (drawn / "figure1_entropy.html").is_file()
    assert "Figure 1: how far attention spreads" in (folder / "results" / "index.html").read_text(encoding="utf-8")


def test_every_place_that_is_named_is_there() -> None:
    places = set(re.findall(r"`((?:rtinterp|tests|analyses)/[\w/.]+)`", TEXT)) - {"rtinterp/papers/PAPER"}
    assert len(places) > 5
    assert [place for place in places if not (ROOT / place).exists()] == []
