"""Time the training of a random transformer against other ways to train it.

    python analyses/benchmark.py --help

Contenders take turns in processes of their own; a ratio is the median over pairs of neighbouring turns. FLOPs count
only what the scored predictions need, so a contender that computes more reaches fewer of them.
"""

from __future__ import annotations

import functools
import math
import statistics
from pathlib import Path

import polars as pl
import torch
import tyro
from benchmarking.bodies import BODY_CASE, time_bodies
from benchmarking.cases import CASES, GPU_CASES, SAMPLING_CASES, TO_ACCURACY, Case
from benchmarking.contenders import CONTENDERS
from benchmarking.explained_variance import race_to_variance
from benchmarking.interventions import INTERVENTION_CASES, time_projections, time_subsets
from benchmarking.measure import Timing, race, race_to_accuracy, sampling_share
from benchmarking.precision import TASKS, compare_precisions, differences
from benchmarking.regimes import REGIME_CASES, time_regimes
from rich.console import Console

from rtinterp.training.environment import describe_device, resolve_device
from rtinterp.training.flops import step_flops
from rtinterp.training.peak import matmul_peak

OURS = "ours"
#: The csv has more.
PRINTED = (
    "task", "d_model", "n_seeds", "contender", "milliseconds_per_step", "time_over_ours", "share_of_matmul_peak",
    "peak_memory_mib",
)  # fmt: skip
CONSOLE = Console(stderr=True)


def benchmark(
    *,
    device: str | None = None,
    quick: bool = False,
    only: tuple[str, ...] = (),
    turns: int = 5,
    out: Path = Path("analyses/data"),
    runs: Path = Path("runs"),
) -> None:
    """Measure, print and save benchmark_*.csv.

    Args:
        device: cpu or cuda; cuda where there is one if not given.
        quick: fewer cases, a few minutes.
        only: parts to run: steps, accuracy (time to 99 %), sampling, variance, interventions (in forward passes),
            regimes (what training less of a model saves), bodies (what another body costs), precision (what bfloat16
            changes in what is learned); all if not given.
        turns: timed turns of every contender.
        out: folder for the tables.
        runs: run store of the part on precision, which trains what is not there.
    """
    parts = {
        "steps": _steps,
        "accuracy": _to_accuracy,
        "sampling": _sampling,
        "variance": _variance,
        "interventions": _interventions,
        "regimes": _regimes,
        "bodies": _bodies,
        "precision": functools.partial(_precision, runs=runs),
    }
    unknown = set(only).difference(parts)
    if unknown:
        raise SystemExit(f"--only {' '.join(sorted(unknown))}: not among {', '.join(parts)}")
    if turns < 1:
        raise SystemExit(f"--turns {turns}: every contender needs at least 1")
    try:
        resolved = str(resolve_device(device))
    except ValueError as error:
        raise SystemExit(f"--device: {error}") from None
    out.mkdir(parents=True, exist_ok=True)
    for name, measure in parts.items():
        if not only or name in only:
            measure(resolved, quick, turns, out / f"benchmark_{name}.csv")


def _steps(device: str, quick: bool, n_turns: int, path: Path) -> None:
    peaks = {precision: matmul_peak(torch.device(device), precision) for precision in ("float32", "bfloat16")}
    rows: list[dict[str, object]] = []
    for case in (*(GPU_CASES if device.startswith("cuda") else ()), *CASES[quick]):
        CONSOLE.print(f"{case}", highlight=False)
        names = [name for name in CONTENDERS if case.n_seeds > 1 or not name.endswith("one seed at a time")]
        timings = race(case.specs(), names, device, n_turns)
        flops = case.n_seeds * step_flops(case.specs()[0])
        for name, timing in timings.items():
            peak = peaks[CONTENDERS[name].precision]
            rows.append({**_step_row(case, name, timing, timings[OURS]), **_flops_columns(flops, timing, peak)})
        # Saved case by case: an interrupted benchmark keeps what it has.
        _step_table(rows, device).write_csv(path, float_precision=4)
    _print(_step_table(rows, device).select(PRINTED))


def _step_table(rows: list[dict[str, object]], device: str) -> pl.DataFrame:
    return pl.DataFrame(rows).with_columns(device=pl.lit(describe_device(device)))


def _step_row(case: Case, name: str, timing: Timing, ours: Timing) -> dict[str, object]:
    ratios = _ratios(timing.seconds_per_step, ours.seconds_per_step)
    return {
        "task": repr(case.task),
        "d_model": case.d_model,
        "batch_size": case.batch_size,
        "n_seeds": case.n_seeds,
        "contender": name,
        "milliseconds_per_step": timing.median * 1e3,
        "milliseconds_min": min(timing.seconds_per_step) * 1e3,
        "milliseconds_max": max(timing.seconds_per_step) * 1e3,
        "sequences_per_second": case.n_seeds * case.batch_size / timing.median,
        "time_over_ours": _median(ratios),
        "time_over_ours_min": min(ratios),
        "time_over_ours_max": max(ratios),
        "peak_memory_mib": timing.peak_memory_mib,
        "n_turns": len(ratios),
        "n_threads": torch.get_num_threads(),
    }


def _flops_columns(flops: float, timing: Timing, peak: float) -> dict[str, float]:
    return {
        "needed_gflops_per_second": flops / timing.median / 1e9,
        "matmul_peak_gflops_per_second": peak / 1e9,
        "share_of_matmul_peak": flops / timing.median / peak,
    }


def _to_accuracy(device: str, quick: bool, n_turns: int, path: Path) -> None:
    """Seconds of training until 99 % test accuracy; one seed a turn, the same for all contenders."""
    del quick
    spec = TO_ACCURACY.spec()
    names = [name for name in CONTENDERS if not name.endswith("one seed at a time")]
    seconds = race_to_accuracy(spec, names, device, n_turns, TO_ACCURACY.accuracy, TO_ACCURACY.steps_per_test)
    rows = [
        {
            "task": repr(spec.task),
            "d_model": spec.model.d_model,
            "batch_size": spec.training.batch_size,
            "contender": name,
            "seconds_to_99_percent": statistics.median(of_name),
            "seconds_min": min(of_name),
            "seconds_max": max(of_name),
            "time_over_ours": _median(_ratios(of_name, seconds[OURS])),
            "n_seeds": len(of_name),
            "device": describe_device(device),
            "n_threads": torch.get_num_threads(),
        }
        for name, of_name in seconds.items()
    ]
    table = pl.DataFrame(rows)
    table.write_csv(path, float_precision=4)
    _print(table)


def _sampling(device: str, quick: bool, n_turns: int, path: Path) -> None:
    """Share of a training step that is spent drawing its sequences, on the CPU."""
    del device, quick, n_turns
    rows = [
        {"task": repr(case.task), "d_model": case.d_model, "batch_size": case.batch_size, "sampling_share": share}
        for case in SAMPLING_CASES
        for share in (sampling_share(case.specs()[0]),)
    ]
    table = pl.DataFrame(rows)
    table.write_csv(path, float_precision=4)
    _print(table.with_columns(pl.col("sampling_share") * 100).rename({"sampling_share": "sampling, % of a step"}))


def _variance(device: str, quick: bool, n_turns: int, path: Path) -> None:
    """On the CPU, where scikit-learn is; a single turn, since one takes minutes."""
    del device, n_turns
    table = pl.DataFrame(race_to_variance(100_000 if quick else 1_000_000, 1024, ("full", "covariance_eigh")))
    table.write_csv(path, float_precision=6)
    _print(table)


def _interventions(device: str, quick: bool, n_turns: int, path: Path) -> None:
    """On the CPU: the cost of an intervention, in forward passes of the same model on the same sequences."""
    del device
    rows: list[dict[str, object]] = []
    for case in INTERVENTION_CASES[:1] if quick else INTERVENTION_CASES:
        rows += [*time_projections(case, n_turns), time_subsets(case, max(1, n_turns // 2))]
    saved = (pl.col("n_passes_replaced") / pl.col("forward_passes")).alias("times_as_fast")
    table = pl.DataFrame(rows).with_columns(saved, device=pl.lit(describe_device("cpu")))
    table.write_csv(path, float_precision=4)
    _print(table.select("task", "d_model", "what", "forward_passes", "n_passes_replaced", "times_as_fast"))


def _regimes(device: str, quick: bool, n_turns: int, path: Path) -> None:
    """On the CPU: a step by what trains, over one of full training. User seconds are the surer where others compute."""
    del device
    rows = [row for case in (REGIME_CASES[:1] if quick else REGIME_CASES) for row in time_regimes(case, n_turns)]
    table = pl.DataFrame(rows).with_columns(device=pl.lit(describe_device("cpu")))
    table.write_csv(path, float_precision=4)
    ratios = [f"user_over_full{end}" for end in ("", "_min", "_max")]
    _print(table.select("task", "block", "regime", "user_milliseconds", *ratios, "wall_over_full"))


def _bodies(device: str, quick: bool, n_turns: int, path: Path) -> None:
    """On the CPU: a step of each body, over one of a softmax transformer."""
    del device, quick
    table = pl.DataFrame(time_bodies(BODY_CASE, n_turns)).with_columns(device=pl.lit(describe_device("cpu")))
    table.write_csv(path, float_precision=4)
    ratios = [f"user_over_softmax{end}" for end in ("", "_min", "_max")]
    _print(table.select("task", "body", "trainable", "user_milliseconds", *ratios, "wall_over_softmax"))


def _precision(device: str, quick: bool, n_turns: int, path: Path, runs: Path) -> None:
    """Three seeds of three tasks; one seed of one task if quick."""
    del n_turns
    table = compare_precisions(TASKS[:1] if quick else TASKS, 1 if quick else 3, runs, device)
    table.write_csv(path, float_precision=6)
    _print(differences(table))


def _ratios(theirs: list[float], ours: list[float]) -> list[float]:
    return [other / own for other, own in zip(theirs, ours, strict=True)]


def _median(ratios: list[float]) -> float:
    """Not a number where one of them is not: neither contender reached the accuracy."""
    return math.nan if any(map(math.isnan, ratios)) else statistics.median(ratios)


def _print(table: pl.DataFrame) -> None:
    with pl.Config(
        tbl_rows=-1, tbl_cols=-1, tbl_width_chars=220, fmt_str_lengths=60, float_precision=2,
        tbl_formatting="ASCII_MARKDOWN", tbl_hide_column_data_types=True, tbl_hide_dataframe_shape=True,
    ):  # fmt: skip
        print(table)


if __name__ == "__main__":
    tyro.cli(benchmark)
