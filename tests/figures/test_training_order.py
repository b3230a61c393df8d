"""What makes the next figure complete soonest is trained first."""

from __future__ import annotations

from rtinterp.figures.training_order import by_completion
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.papers.random_transformers import FIGURES, PAPER
from rtinterp.tasks import ModularAddition
from rtinterp.training.cost import cost
from rtinterp.training.spec import RunSpec, TrainSpec


def run(n_steps: int, seed: int = 0) -> RunSpec:
    return RunSpec(ModularAddition(p=13), ModelSpec(16), TrainSpec(n_steps, 8, n_warmup_steps=0), "embeddings", seed)


A, B, C, D = map(run, (10, 20, 40, 80))


def test_the_figure_that_takes_least_comes_next() -> None:
    order = by_completion({"all": [A, B, C, D], "dear": [D], "cheap": [B, A]}, [])
    assert list(order.items()) == [("cheap", [B, A]), ("dear", [D]), ("all", [C])]


def test_runs_that_are_shared_count_for_the_first_alone() -> None:
    order = by_completion({"second": [C, B], "third": [D], "first": [C]}, [])
    assert list(order.items()) == [("first", [C]), ("second", [B]), ("third", [D])]


def test_what_is_done_takes_no_training_and_stays_in_its_stack() -> None:
    more = [run(80, seed) for seed in (0, 1, 2)]
    order = by_completion({"one": [A], "stack": more}, more[:2] + more[2:])
    assert list(order.items()) == [("stack", more), ("one", [A])]
    assert sorted(by_completion({"stack": more}, [more[1]])["stack"], key=lambda spec: spec.seed) == more


def test_everything_is_trained_once_and_the_first_figures_of_the_paper_take_a_tenth_of_it() -> None:
    wanted = [name for name, figure in FIGURES.items() if not PAPER.needs_corpus(figure)]
    needed = {name: PAPER.specs(FIGURES[name], "quick", 1) for name in wanted}
    order = by_completion(needed, [])
    listed = [spec for added in order.values() for spec in added]
    assert len(listed) == len(set(listed))
    assert set(listed) == {spec for specs in needed.values() for spec in specs}
    flops = [cost(added, 1.0).flops for added in order.values()]
    first_trained = next(share for share in flops if share)
    assert first_trained < 0.02 * sum(flops)
    assert sum(flops[: len(flops) // 2]) < 0.2 * sum(flops)
