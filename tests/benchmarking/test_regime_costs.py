"""What is timed is a step of each regime, in turn, and a ratio is that of the same round and block."""

from __future__ import annotations

import types
from pathlib import Path

import benchmark
import polars as pl
import pytest
from benchmarking import turns
from benchmarking.regimes import CONTENDERS, RegimeCase, time_regimes

from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.papers.random_attention.regimes import REGIMES, Size
from rtinterp.tasks import ModularAddition
from rtinterp.training.spec import RunSpec

CASE = RegimeCase(ModularAddition(p=5), Size(16), 8)


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> list[RunSpec]:
    """Clocks that only steps move: by 8 s if all trains, else by 4 s; a gated block takes 16 s longer; a third of it is
    user time. What makes a step is remembered."""
    now, stepped = [0.0], []

    def stepper(spec: RunSpec):
        def step() -> None:
            assert isinstance(spec.model, ModelSpec)
            stepped.append(spec)
            now[0] += (8 if spec.trainable == "all" else 4) + (16 if spec.model.mlp == "gated" else 0)

        return step

    monkeypatch.setattr(turns, "_stepper", stepper)
    monkeypatch.setattr(turns, "time", types.SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(turns, "_user_seconds", lambda: now[0] / 3)
    return stepped


def test_ratios_are_of_the_same_block(ticking: list[RunSpec]) -> None:
    rows = {(row["block"], row["regime"]): row for row in time_regimes(CASE, n_turns=3)}
    assert [key[1] for key in rows] == [name for names in CONTENDERS.values() for name in names]
    for kind in ("wall", "user"):
        assert rows["GPT-2's", "frozen QK"][f"{kind}_over_full"] == pytest.approx(0.5)
        assert rows["GPT-2's", "static attention"][f"{kind}_over_full_max"] == pytest.approx(1.0)
        assert rows["gated", "frozen QK"][f"{kind}_over_full_min"] == pytest.approx(20 / 24)
    assert rows["gated", "standard"]["user_milliseconds"] == pytest.approx(8000)
    per_round = ticking[-2 * len(rows) :]
    assert per_round[::2] == per_round[1::2] == [
        CASE.spec(block, REGIMES[name]) for block, names in CONTENDERS.items() for name in names
    ]  # fmt: skip


def test_the_command_writes_ratios_of_real_steps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(benchmark, "REGIME_CASES", (CASE,))
    monkeypatch.setattr(turns, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(turns, "LEAST_STEPS", 20)
    benchmark.benchmark(device="cpu", only=("regimes",), turns=1, out=tmp_path)
    table = pl.read_csv(tmp_path / "benchmark_regimes.csv")
    full = table.filter(pl.col("regime") == "standard")
    assert full["wall_over_full"].to_list() == [1.0, 1.0]
    assert (table["wall_milliseconds"] > 0).all()
