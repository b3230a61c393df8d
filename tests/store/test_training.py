"""train(): with a store or without, what comes back, what is refused, and what an interrupt says."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from store_references import same, tiny_spec
from traitlets.config import Config

from rtinterp.store import RunStore
from rtinterp.store.training import train
from rtinterp.training.engine import Engine
from rtinterp.training.run import Run


@pytest.fixture(autouse=True)
def heard_interrupt() -> Iterator[None]:
    """SIGINT is heard, though a shell that starts tests in the background has them ignore it."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


def steps_counted(monkeypatch: pytest.MonkeyPatch, interrupt_at: int | None = None) -> list[int]:
    """Every step that is taken; at one of them SIGINT comes."""
    step, taken = Engine.step, []

    def counted(engine: Engine) -> torch.Tensor:
        taken.append(engine.n_steps_done)
        if len(taken) == interrupt_at:
            os.kill(os.getpid(), signal.SIGINT)
        return step(engine)

    monkeypatch.setattr(Engine, "step", counted)
    return taken


def test_with_a_store_what_it_has_is_loaded_and_the_rest_trained_and_saved(
    store: RunStore, runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    new, taken = tiny_spec(seed=7), steps_counted(monkeypatch)
    asked = [new, runs["all"].spec, new, runs["embeddings"].spec]
    got = train((spec for spec in asked), store=str(store.path), device="cpu", progress=False)
    assert [run.spec for run in got] == asked
    assert taken == [0, 1, 2, 3], "of the new one alone"
    assert same(got[1], runs["all"])
    assert same(got[0], store.load(new))
    single = train(new, store=store.path, device="cpu", progress=False)
    assert same(single, got[0])
    assert len(taken) == 4


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        ("x", r"takes a RunSpec or several of them, not 'x' \(str\)"),
        (3, r"not 3 \(int\)"),
        (None, r"not None \(NoneType\)"),
        ([tiny_spec(), tiny_spec().task], r"not ModularAddition\(p=5\) \(ModularAddition\)"),
        (tiny_spec().run_id, "not 'modular_addition|not 'm'"),
    ],
    ids=["text", "number", "nothing", "task", "id"],
)
def test_what_is_no_spec_is_refused(specs: object, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        train(specs, device="cpu", progress=False)


def test_what_is_no_store_is_refused() -> None:
    with pytest.raises(TypeError, match="store=3: pass a RunStore or the path of one, not int"):
        train(tiny_spec(), store=3, device="cpu", progress=False)


def test_an_interrupt_says_what_was_kept_and_the_same_call_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs, path = [tiny_spec("all"), tiny_spec(), tiny_spec(seed=1)], tmp_path / "runs"
    taken = steps_counted(monkeypatch, interrupt_at=4 + 2)
    with pytest.raises(KeyboardInterrupt) as interrupt:
        train(specs, store=path, device="cpu", progress=False)
    said = f"1 of 3 runs are stored in {path} and 2 have a checkpoint there; the same"
    assert str(interrupt.value) == f"{said} call or the same command goes on from there"
    shown = traceback.format_exception(interrupt.value)
    assert len("".join(shown).splitlines()) < 12, "".join(shown)
    got = train(specs, store=path, device="cpu", progress=False)
    assert taken == [0, 1, 2, 3, 0, 1, 2, 3]
    monkeypatch.undo()
    for run, whole in zip(got, train(specs, device="cpu", progress=False), strict=True):
        assert run.history.equals(whole.history)
        assert all(torch.equal(tensor, whole.trained[name]) for name, tensor in run.trained.items())


def test_an_interrupt_without_a_store_says_that_nothing_was_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    steps_counted(monkeypatch, interrupt_at=2)
    with pytest.raises(KeyboardInterrupt, match=r'nothing was kept; train\(specs, store="runs"\) keeps') as interrupt:
        train(tiny_spec(), device="cpu", progress=False)
    assert len("".join(traceback.format_exception(interrupt.value)).splitlines()) < 12


@pytest.mark.parametrize(
    ("store", "said"),
    [("None", "nothing was kept"), ("'runs'", "0 of 1 runs are stored in runs and 1 has a checkpoint there")],
)
def test_an_interrupted_cell_shows_what_was_kept_and_nothing_else(
    store: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    steps_counted(monkeypatch, interrupt_at=2)
    shell = InteractiveShell(config=Config({"HistoryManager": {"enabled": False}}))
    shell.user_ns |= {"train": train, "spec": tiny_spec()}
    cell = shell.run_cell(f"train(spec, store={store}, device='cpu', progress=False)")
    assert isinstance(cell.error_in_exec, KeyboardInterrupt)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"KeyboardInterrupt: {said}")
