"""What stands in the place of what is taken out: planted counts, and those of other figures where references agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
import torch

from rtinterp.analysis import Intervention, Subspace, subset_values
from rtinterp.papers.mechanism import FIGURES, PAPER, figure_circuits, table_references
from rtinterp.papers.mechanism.rank_measurements import some_test_sequences
from rtinterp.papers.mechanism.table_references import COUNTS, OVERALL, REFERENCES, compute, plot
from rtinterp.store import RunStore

if TYPE_CHECKING:
    from rtinterp.training.run import Run

#: A planted model is right where its first numbers are as they were and its last is as large as it always is.
D_MODEL, N_USED, ALWAYS = 8, 3, 5.0


class Planted:
    site = "planted"

    def __init__(self) -> None:
        self.h = torch.randn(64, 1, D_MODEL, generator=torch.Generator().manual_seed(0))
        self.h[..., -1] = ALWAYS

    def value(self, change: Intervention) -> float:
        changed: torch.Tensor = change.edit(self.h, torch.zeros(64, 1))
        same = (changed - self.h)[..., :N_USED].abs().amax(-1) < 1e-4
        return (same & (changed[..., -1] > ALWAYS / 2)).double().mean().item()


@pytest.mark.parametrize(
    ("last", "k95"), [(ALWAYS, N_USED), (0.0, D_MODEL)], ids=["what is always there", "what never is"]
)
def test_planted_directions_are_counted_with_and_without_what_is_always_there(last: float, k95: int) -> None:
    reference = torch.zeros(D_MODEL)
    reference[-1] = last
    axes = Subspace(torch.eye(D_MODEL), torch.zeros(D_MODEL))
    found = table_references._counts(Planted(), axes, reference, intact=1.0, floor=0.0)  # pyright: ignore[reportArgumentType]
    assert found == {"k95": k95, "gone": 1}


def test_what_is_replaced_by_itself_is_not_missed() -> None:
    planted, axes = Planted(), Subspace(torch.eye(D_MODEL), torch.zeros(D_MODEL))
    found = table_references._counts(planted, axes, planted.h, intact=1.0, floor=0.0)  # pyright: ignore[reportArgumentType]
    assert found == {"k95": 0, "gone": None}


@pytest.fixture(scope="module")
def runs(tiny_store: RunStore) -> list[Run]:
    specs = PAPER.specs(FIGURES["table_references"], "tiny", 1)
    return [tiny_store.load(spec.run_id) for spec in specs if spec.task.name == "decimal_addition"]


def test_circuits_by_means_are_those_of_the_figure_of_circuits(
    runs: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = runs
    values: list[torch.Tensor] = []

    def kept(*args: Any) -> torch.Tensor:
        values.append(subset_values(*args))
        return values[-1]

    for module in (figure_circuits, table_references):
        monkeypatch.setattr(module, "subset_values", kept)
    figure_circuits.compute(runs)
    task: Any = run.spec.task
    found = dict(table_references._circuits(run.model, task, run, some_test_sequences(task), floor=-1.0))
    assert set(found) == set(REFERENCES) - {OVERALL}
    of_figure, by_reference = values[0], dict(zip(found, values[1:], strict=True))
    torch.testing.assert_close(by_reference["mean by role"], of_figure, atol=0.011, rtol=0)
    assert (by_reference["mean by role"] - of_figure).abs().mean() < 1e-3
    assert all(of[-1] == of_figure[-1] for of in by_reference.values())


def test_a_table_has_every_site_and_reference_and_says_what_was_not_learnt(runs: list[Run]) -> None:
    table = compute(runs)
    assert table.select("site", "reference").unique().height == len(table) == 3 * len(REFERENCES)
    assert table.filter(reference=OVERALL)["n_minimal"].null_count() == 3
    unlearnt = table.with_columns(intact=0.0, **dict.fromkeys(COUNTS, pl.lit(None, pl.Int64)))
    for shown, told in ((unlearnt, "not learnt"), (table.with_columns(intact=1.0, k95=pl.lit(7)), "7")):
        (drawn,) = plot(shown).to_dict()["data"]
        assert all(told in cell for cell in drawn["cells"]["values"][2])
