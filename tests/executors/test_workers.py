"""Threads, GPUs and the number of workers follow from the options; nonsense is refused."""

from __future__ import annotations

import pytest
import torch

from rtinterp.executors.hand_over import environment_of, worker_number
from rtinterp.executors.slurm import SlurmOptions
from rtinterp.executors.task import StackTask
from rtinterp.executors.workers import Workers, plan_workers


def planned(executor: str, n: int | None, device: str = "cpu", address: str | None = None, **options) -> Workers:
    machine = {"n_gpus": 0, "n_cores": 16, "environment": {}, **options}
    return plan_workers(executor, torch.device(device), n, address, SlurmOptions(cpus=6), **machine)


@pytest.mark.parametrize("executor", ["loky", "dask", "ray"])
def test_workers_of_one_machine_share_its_cores(executor: str) -> None:
    assert [planned(executor, n).n_threads for n in (1, 3, 16, 99)] == [16, 5, 1, 1]
    assert planned(executor, None).n_workers == 16
    assert planned(executor, None).n_threads == 1


def test_who_sets_the_threads_otherwise() -> None:
    assert planned("slurm", 3).n_threads == 6
    assert planned("dask", 3, address="tcp://there:8786").n_threads is None
    assert planned("local", None).n_threads is None
    assert all(planned(e, 3, environment={"OMP_NUM_THREADS": "2"}).n_threads is None for e in ("loky", "slurm"))


def test_gpus_are_taken_in_turn() -> None:
    for executor in ("loky", "dask"):
        assert planned(executor, None, "cuda", n_gpus=4).n_workers == 4
        assert planned(executor, 6, "cuda", n_gpus=4).n_gpus == 4
        assert planned(executor, 6, "cpu", n_gpus=4).n_gpus == 0
        assert planned(executor, 2, "cuda:1", n_gpus=4).n_gpus == 0
    assert planned("dask", 6, "cuda", "tcp://there:8786", n_gpus=4).n_gpus == 0
    # Ray and Slurm assign GPUs themselves.
    assert [planned("ray", n, "cuda", n_gpus=2).gpus_per_worker for n in (1, 2, 3, 4)] == [1, 1, 0.66, 0.5]
    assert planned("ray", 4, "cuda", "auto", n_gpus=0).gpus_per_worker == 1
    assert {planned(e, 4, "cuda", n_gpus=2).n_gpus for e in ("ray", "slurm")} == {0}


def gpu(worker: int, n_gpus: int = 3, **environment: str) -> str | None:
    task = StackTask("name", (), "store", "cuda", "sign", n_gpus=n_gpus, worker=worker)
    return environment_of(task, environment).get("CUDA_VISIBLE_DEVICES")


def test_a_training_process_sees_the_gpu_of_its_worker() -> None:
    assert [gpu(worker) for worker in range(5)] == ["0", "1", "2", "0", "1"]
    assert [gpu(worker, CUDA_VISIBLE_DEVICES="5,7,GPU-8") for worker in range(4)] == ["5", "7", "GPU-8", "5"]
    assert gpu(1, n_gpus=0, CUDA_VISIBLE_DEVICES="5,7") == "5,7"
    assert gpu(1, n_gpus=0) is None


def test_threads_reach_the_environment() -> None:
    task = StackTask("name", (), "store", "cpu", "sign", n_threads=3)
    assert environment_of(task, {"OMP_NUM_THREADS": "1", "HOME": "/"}) == {"OMP_NUM_THREADS": "3", "HOME": "/"}


def test_workers_are_numbered_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    import multiprocessing

    process = multiprocessing.current_process()
    numbers = []
    for name in ("LokyProcess-1", "LokyProcess-12", "MainProcess"):
        monkeypatch.setattr(process, "_name", name)
        numbers.append(worker_number())
    assert numbers == [0, 11, 0]


@pytest.mark.parametrize(
    ("executor", "n", "address", "message"),
    [
        ("loky", 0, None, "--workers 0: at least 1"),
        ("local", 2, None, "add --executor loky"),
        ("loky", 2, "tcp://there:8786", "--scheduler tcp://there:8786: it belongs to --executor dask or ray"),
        ("slurm", None, None, "--workers N"),
        ("dask", None, "tcp://there:8786", "--workers N"),
    ],
)
def test_options_that_do_not_go_together(executor: str, n: int | None, address: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        planned(executor, n, address=address)
