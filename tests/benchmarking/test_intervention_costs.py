"""What is timed is an intervention and a plain pass, in turn, and a ratio is that of neighbours."""

from __future__ import annotations

import types

import benchmark
import polars as pl
import pytest
from benchmarking import interventions
from benchmarking.interventions import InterventionCase, time_projections, time_subsets

from rtinterp.tasks import ModularAddition

CASE = InterventionCase(ModularAddition(p=5), 16, 4)


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A clock that only what is timed moves: a plain pass by 1, one with interventions by 3, all subsets by 128."""
    now, done = [0.0], []

    def taking(name: str, seconds: float):
        def call(model: object, *_: object) -> float:
            hooked = name == "plain" and any(point.fwd_hooks for point in model.hook_dict.values())  # pyright: ignore[reportAttributeAccessIssue]
            done.append("projected" if hooked else name)
            now[0] += 3 * seconds if hooked else seconds
            return 0.0

        return call

    monkeypatch.setattr(interventions, "accuracy", taking("plain", 1))
    monkeypatch.setattr(interventions, "subset_values", taking("subsets", 128))
    monkeypatch.setattr(interventions, "time", types.SimpleNamespace(perf_counter=lambda: now[0]))
    return done


def test_projections_are_told_in_forward_passes(ticking: list[str]) -> None:
    rows = time_projections(CASE, n_turns=2)
    assert len(rows) == 5
    assert {row["forward_passes"] for row in rows} == {3.0}
    assert ticking == ["projected", "plain"] * 3 * 5


def test_subsets_replace_as_many_forward_passes(ticking: list[str]) -> None:
    row = time_subsets(CASE, n_turns=1)
    assert (row["forward_passes"], row["n_passes_replaced"]) == (128.0, 1024)
    assert ticking == ["subsets", "plain"] * 2


def test_the_command_writes_how_many_times_as_fast(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(benchmark, "INTERVENTION_CASES", (CASE,))
    benchmark.benchmark(device="cpu", only=("interventions",), turns=1, out=tmp_path)
    table = pl.read_csv(tmp_path / "benchmark_interventions.csv")
    assert len(table) == 6
    expected = table["n_passes_replaced"] / table["forward_passes"]
    assert table["times_as_fast"].to_list() == pytest.approx(expected.to_list(), rel=1e-2)
