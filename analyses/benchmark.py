"""Time one training step of a random transformer against other ways to train it.

    python analyses/benchmark.py --help

Contenders take turns in processes of their own; a ratio is the median over pairs of neighbouring turns. FLOPs count
only what the scored predictions need, so a contender that computes more reaches fewer of them.
"""

from __future__ import annotations

import dataclasses
import statistics
from pathlib import Path

import polars as pl
import torch
import tyro
from benchmarking.contenders import CONTENDERS, needed_flops
from benchmarking.measure import Timing, matmul_peak_flops, race, sampling_share
from rich.console import Console

from rtinterp import ModelSpec, RunSpec, TrainSpec
from rtinterp.tasks import DecimalAddition, ModularAddition, NeedleInAHaystack, ParenthesisBalancing, Task
from rtinterp.training.engine import Engine
from rtinterp.training.environment import resolve_device

OURS = "ours"
#: The csv has more.
PRINTED = (
    "task",
    "d_model",
    "n_seeds",
    "contender",
    "milliseconds_per_step",
    "time_over_ours",
    "share_of_matmul_peak",
    "peak_memory_mib",
)


@dataclasses.dataclass(frozen=True)
class Case:
    """A task at its paper size, a width, a batch and a number of seeds."""

    task: Task
    d_model: int
    batch_size: int
    n_seeds: int = 1

    def specs(self) -> list[RunSpec]:
        training = TrainSpec(n_steps=10_000, batch_size=self.batch_size)
        return [RunSpec(self.task, ModelSpec(self.d_model), training, seed=seed) for seed in range(self.n_seeds)]


QUICK_CASES = (
    Case(NeedleInAHaystack(), 512, 250),
    Case(NeedleInAHaystack(), 128, 250),
    Case(DecimalAddition(), 128, 250),
    Case(ModularAddition(), 128, 500),
    Case(ModularAddition(), 16, 500, n_seeds=10),
    Case(ModularAddition(), 128, 500, n_seeds=10),
)
FULL_CASES = tuple(
    Case(task, d_model, batch_size, n_seeds)
    for task, batch_size in ((NeedleInAHaystack(), 250), (ModularAddition(), 500), (DecimalAddition(), 250))
    for d_model in (16, 128, 512, 1024)
    for n_seeds in (1, 10)
)


def benchmark(
    *, device: str | None = None, quick: bool = False, turns: int = 5, out: Path = Path("figures/data")
) -> None:
    """Measure, print and save benchmark.csv and benchmark_sampling.csv.

    Args:
        device: cpu or cuda; cuda where there is one if not given.
        quick: fewer cases, a few minutes.
        turns: timed turns of every contender.
        out: folder for the tables.
    """
    device = str(resolve_device(device))
    peak = matmul_peak_flops(device)
    rows = []
    for case in QUICK_CASES if quick else FULL_CASES:
        rows += _rows(case, device, turns, peak)
        pl.DataFrame(rows).write_csv(_table(out, "benchmark"), float_precision=4)
    sampling = pl.DataFrame(
        [
            {"task": repr(task), "d_model": 128, "batch_size": 1000, "sampling_share": sampling_share(spec)}
            for task in (NeedleInAHaystack(), DecimalAddition(), ParenthesisBalancing(), ModularAddition())
            for spec in Case(task, 128, 1000).specs()
        ]
    )
    sampling.write_csv(_table(out, "benchmark_sampling"), float_precision=4)
    shown = pl.DataFrame(rows).select(PRINTED)
    with pl.Config(
        tbl_rows=-1,
        tbl_width_chars=220,
        fmt_str_lengths=60,
        float_precision=2,
        tbl_formatting="ASCII_MARKDOWN",
        tbl_hide_column_data_types=True,
        tbl_hide_dataframe_shape=True,
    ):
        print(shown)
        print(sampling.with_columns(pl.col("sampling_share") * 100).rename({"sampling_share": "sampling, % of a step"}))


def _table(out: Path, name: str) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    return out / f"{name}.csv"


def _rows(case: Case, device: str, n_turns: int, peak: float) -> list[dict[str, object]]:
    """One row per contender. One seed at a time is the stack itself where there is only one seed."""
    specs = case.specs()
    names = [name for name in CONTENDERS if case.n_seeds > 1 or name != "ours, one seed at a time"]
    Console(stderr=True).print(f"{case}", highlight=False)
    timings = race(specs, names, device, n_turns)
    flops = case.n_seeds * needed_flops(specs[0], Engine(specs[:1], torch.device("cpu")))
    return [_row(case, name, timing, timings[OURS], flops, peak, device) for name, timing in timings.items()]


def _row(
    case: Case, name: str, timing: Timing, ours: Timing, flops: float, peak: float, device: str
) -> dict[str, object]:
    pairs = zip(timing.seconds_per_step, ours.seconds_per_step, strict=True)
    ratios = sorted(theirs / own for theirs, own in pairs)
    return {
        "task": repr(case.task),
        "d_model": case.d_model,
        "batch_size": case.batch_size,
        "n_seeds": case.n_seeds,
        "contender": name,
        "milliseconds_per_step": timing.median * 1e3,
        "sequences_per_second": case.n_seeds * case.batch_size / timing.median,
        "time_over_ours": statistics.median(ratios),
        "time_over_ours_min": ratios[0],
        "time_over_ours_max": ratios[-1],
        "needed_gflops_per_second": flops / timing.median / 1e9,
        "share_of_matmul_peak": flops / timing.median / peak,
        "peak_memory_mib": timing.peak_memory_mib,
        "n_turns": len(ratios),
        "device": device,
        "n_threads": torch.get_num_threads(),
    }


if __name__ == "__main__":
    tyro.cli(benchmark)
