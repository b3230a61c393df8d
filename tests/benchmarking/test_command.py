"""The command writes paired ratios and refuses nonsense."""

from __future__ import annotations

import math
from pathlib import Path

import benchmark
import numpy as np
import polars as pl
import pytest
from benchmarking import explained_variance, measure
from benchmarking.bodies import BodyCase
from benchmarking.cases import Case, ToAccuracy
from benchmarking.contenders import CONTENDERS
from benchmarking.measure import Timing
from benchmarking.regimes import RegimeCase
from benchmarking_references import small_run

from rtinterp import TrainSpec
from rtinterp.papers.random_attention.regimes import Size
from rtinterp.tasks import (
    Memorization,
    ModularAddition,
)
from rtinterp.training import peak
from rtinterp.training.flops import step_flops

#: Where there is one seed.
TOGETHER = ["ours", "ours, bfloat16", "HookedTransformer loop", "official style"]
TIMINGS = {
    "ours": Timing([1.0, 2.0, 4.0], 100.0),
    "HookedTransformer loop": Timing([5.0, 4.0, 12.0], 300.0),
    "ours, bfloat16": Timing([0.5, 2.0, 1.0], 90.0),
}


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cases of a second."""
    task = ModularAddition(p=5)
    monkeypatch.setitem(benchmark.CASES, True, (Case(task, 16, 50, n_seeds=2), Case(task, 16, 20)))
    monkeypatch.setattr(benchmark, "SAMPLING_CASES", (Case(task, 16, 1000),))
    monkeypatch.setattr(benchmark, "BODY_CASE", BodyCase(task, 16, 8))
    monkeypatch.setattr(benchmark, "REGIME_CASES", (RegimeCase(task, Size(16), 8),))
    to_accuracy = ToAccuracy(task, 16, TrainSpec(n_steps=10, batch_size=20, n_warmup_steps=0), 0.0, 5)
    monkeypatch.setattr(benchmark, "TO_ACCURACY", to_accuracy)
    monkeypatch.setattr(peak, "PEAK_SIZES", {"cpu": (64,)})
    monkeypatch.setattr(peak, "SECONDS_PER_SIZE", 0.01)


@pytest.mark.usefixtures("tiny")
def test_ratios_are_taken_pair_by_pair(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    raced = []
    monkeypatch.setattr(benchmark, "race", lambda specs, names, *_: (raced.append(names), TIMINGS)[1])
    monkeypatch.setattr(
        benchmark, "matmul_peak", lambda device, precision: {"float32": 2e9, "bfloat16": 8e9}[precision]
    )
    benchmark.benchmark(device="cpu", quick=True, only=("steps",), out=tmp_path)
    table = pl.read_csv(tmp_path / "benchmark_steps.csv").filter(n_seeds=2)
    assert raced == [list(CONTENDERS), TOGETHER]
    assert table["contender"].to_list() == list(TIMINGS)
    assert table["time_over_ours"].to_list() == [1.0, 3.0, 0.5]  # of the medians: 2.5 and 0.5
    assert table["time_over_ours_min"].to_list() == [1.0, 2.0, 0.25]
    assert table["time_over_ours_max"].to_list() == [1.0, 5.0, 1.0]
    assert table["milliseconds_per_step"].to_list() == [2000.0, 5000.0, 1000.0]
    assert table["sequences_per_second"].to_list() == [50.0, 20.0, 100.0]
    rates = np.array([2 * step_flops(benchmark.CASES[True][0].specs()[0]) / s / 1e9 for s in (2, 5, 1)])
    np.testing.assert_allclose(table["needed_gflops_per_second"], rates, atol=1e-4)
    np.testing.assert_allclose(table["share_of_matmul_peak"], rates / [2, 2, 8], atol=1e-4)


@pytest.mark.usefixtures("tiny")
def test_ratios_of_times_to_accuracy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    inf = math.inf
    seconds = {"ours": [1.0, 2.0, inf], "HookedTransformer loop": [5.0, 4.0, 6.0], "official style": [9.0, inf, inf]}
    monkeypatch.setattr(benchmark, "race_to_accuracy", lambda *_: seconds)
    benchmark.benchmark(device="cpu", only=("accuracy",), out=tmp_path)
    table = pl.read_csv(tmp_path / "benchmark_accuracy.csv")
    np.testing.assert_array_equal(table["time_over_ours"], [np.nan, 2.0, np.nan])
    assert table["seconds_to_99_percent"].to_list() == [2.0, 5.0, inf]
    assert table["seconds_max"].to_list() == [inf, 6.0, inf]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"only": ("steps", "nonsense")}, "nonsense: not among steps, accuracy, sampling, variance"),
        ({"turns": 0}, "--turns 0: every contender needs at least 1"),
        ({"device": "tpu"}, "use 'cpu' or 'cuda'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_wrong_options_end_in_one_line(options: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=message):
        benchmark.benchmark(**options, out=tmp_path / "not made")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
def test_all_parts_write_their_tables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    race_to_variance = explained_variance.race_to_variance
    monkeypatch.setattr(benchmark, "race_to_variance", lambda n, d, solvers: race_to_variance(2000, 32, solvers))
    monkeypatch.setitem(benchmark.CASES, True, benchmark.CASES[True][:1])
    benchmark.benchmark(device="cpu", quick=True, turns=1, out=tmp_path)
    tables = {path.stem.removeprefix("benchmark_"): pl.read_csv(path) for path in tmp_path.iterdir()}
    assert tables.keys() == {"steps", "accuracy", "sampling", "variance", "interventions", "regimes"}
    for table in tables.values():
        numbers = table.select(pl.selectors.numeric()).to_numpy()
        assert np.isfinite(numbers).all()
    assert tables["steps"]["contender"].to_list() == list(CONTENDERS)
    assert tables["accuracy"]["contender"].to_list() == TOGETHER
    assert (tables["steps"]["time_over_ours"] > 0).all()
    shares = tables["variance"]["share_of_top_10"]
    assert shares.max() - shares.min() < 1e-5


@pytest.mark.slow
def test_peak_memory_is_that_of_the_contender_alone() -> None:
    hog = np.ones(2**27)
    hog_mib = hog.nbytes / 2**20
    del hog
    spec = small_run(ModularAddition(p=5))
    timings = measure.race([spec], ["ours"], "cpu", 1)
    assert 50 < timings["ours"].peak_memory_mib < hog_mib <= measure.peak_memory_mib("cpu")


@pytest.mark.slow
def test_a_contender_that_cannot_start_ends_the_race() -> None:
    with pytest.raises(RuntimeError, match="contender 'official style' ended early"):
        measure.race([small_run(Memorization(n_keys=7))], ["official style"], "cpu", 1)
