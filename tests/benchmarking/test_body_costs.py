"""What is timed is a step of each body, and a ratio is that to softmax in the same round and regime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import benchmark
import polars as pl
import pytest
from benchmarking import bodies, turns
from benchmarking.bodies import BODIES, REGIMES, BodyCase, time_bodies

from rtinterp.models.mamba.spec import MambaSpec
from rtinterp.tasks import ModularAddition
from rtinterp.training.spec import RunSpec

ANALYSES = Path(benchmark.__file__).parent
CASE = BodyCase(ModularAddition(p=5), 16, 8)


def test_ratios_are_to_softmax_in_the_same_regime(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clocks that only steps move: by 5 s, 10 s where all trains, and three times as much for Mamba."""
    now = [0.0]

    def stepper(spec: RunSpec) -> Callable[[], None]:
        def step() -> None:
            now[0] += (10 if spec.trainable == "all" else 5) * (3 if isinstance(spec.model, MambaSpec) else 1)

        return step

    monkeypatch.setattr(turns, "_stepper", stepper)
    monkeypatch.setattr(turns, "_user_seconds", lambda: now[0])
    rows = {(row["body"], row["trainable"]): row for row in time_bodies(CASE, n_turns=2)}
    assert list(rows) == [(body, trainable) for trainable in REGIMES for body in BODIES]
    ratios = {body: {row["user_over_softmax"] for (name, _), row in rows.items() if name == body} for body in BODIES}
    assert ratios == {body: {3.0 if body == "mamba" else 1.0} for body in BODIES}
    assert rows["mamba", "all"]["user_milliseconds"] == pytest.approx(30_000)


def test_the_command_writes_ratios_of_real_steps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(benchmark, "BODY_CASE", CASE)
    monkeypatch.setattr(bodies, "BODIES", {name: BODIES[name] for name in ("softmax", "gated_linear")})
    monkeypatch.setattr(turns, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(turns, "LEAST_STEPS", 20)
    benchmark.benchmark(device="cpu", only=("bodies",), turns=1, out=tmp_path)
    table = pl.read_csv(tmp_path / "benchmark_bodies.csv")
    assert table.filter(body="softmax")["wall_over_softmax"].to_list() == [1.0, 1.0]
    assert (table["wall_milliseconds"] > 0).all()


def test_the_page_says_what_was_measured() -> None:
    table = pl.read_csv(ANALYSES / "data" / "benchmark_bodies.csv")
    page = " ".join((ANALYSES / "README.md").read_text().split())

    def said(body: str, trainable: str, ends: bool = False) -> str:
        row = table.row(by_predicate=(pl.col("body") == body) & (pl.col("trainable") == trainable), named=True)
        middle, low, high = (f"{row[f'user_over_softmax{end}']:.2f}" for end in ("", "_min", "_max"))
        return f"{middle} ({low} to {high})" if ends else middle

    def linear(trainable: str) -> str:
        kinds = sorted(said(body, trainable) for body in ("linear", "linear_normalised", "retention"))
        return f"{kinds[0]} to {kinds[-1]}"

    alone, everything = REGIMES
    gated, mamba = (said(body, alone, ends=True) for body in ("gated_linear", "mamba"))
    assert f"{linear(alone)} of its step, gated linear attention {gated}, Mamba {mamba}" in page
    assert f"an LSTM {said('lstm', alone)}, S4D {said('s4d', alone)}" in page
    gated, mamba = (said(body, everything, ends=True) for body in ("gated_linear", "mamba"))
    recurrent = f"{said('lstm', everything)} and {said('s4d', everything)}"
    assert f"where all trains, {linear(everything)}, {gated}, {mamba}, {recurrent}." in page
    assert table.filter(body="mamba")["user_over_softmax_max"].max() < 3
