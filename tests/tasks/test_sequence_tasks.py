"""Sequences of vectors: the terms follow their law, and the next term is what is expected."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from rtinterp.tasks import AffineRecurrence, PolynomialSequence, SequenceTask
from rtinterp.tasks.recurrences import Recurrences

TASKS = [
    AffineRecurrence(),
    AffineRecurrence(n_terms=6, dimension=4, limit=1.5),
    PolynomialSequence(),
    PolynomialSequence(degree=3, n_terms=9, dimension=2),
]
#: Large enough that nothing is drawn again.
NO_LIMIT = 1e9
N_DRAWS = 400_000


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("task", TASKS, ids=repr)
def test_every_next_term_is_expected(task: SequenceTask) -> None:
    terms, batch = task.terms(50, generator()), task.sample(50, generator())
    assert torch.equal(batch.tokens, terms[:, :-1])
    assert batch.targets is not None
    assert torch.equal(batch.targets, terms[:, 1:])
    assert bool(batch.scored.all())
    assert batch.tokens.shape == (50, task.sequence_length, task.dimension)


@pytest.mark.parametrize("task", TASKS, ids=repr)
def test_a_generator_state_means_one_batch_and_no_other(task: SequenceTask) -> None:
    state = torch.get_rng_state()
    first, again, other = (task.sample(64, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.tokens, again.tokens)
    for tokens in (other.tokens, task.test_set().tokens):
        assert not (first.tokens[:, None] == tokens).all(dim=(2, 3)).any()
    assert torch.equal(torch.get_rng_state(), state)


def test_terms_follow_their_recurrence() -> None:
    """Against powers of the matrix: x_t = A^t x_0 + (A^(t-1) + ... + 1) b."""
    task = AffineRecurrence(n_terms=8, dimension=3)
    drawn = task.recurrences(20, generator())
    terms = task.terms(20, generator())
    for row in range(20):
        matrix, offset, first = (part[row].numpy() for part in (drawn.matrix, drawn.offset, drawn.first))
        for t in range(8):
            powers = [np.linalg.matrix_power(matrix, power) for power in range(t)]
            expected = np.linalg.matrix_power(matrix, t) @ first + sum(powers, np.zeros((3, 3))) @ offset
            assert terms[row, t].numpy() == pytest.approx(expected, abs=1e-6)


def test_recurrences_have_the_law_that_is_told() -> None:
    one = AffineRecurrence(limit=NO_LIMIT).recurrences(N_DRAWS, generator())
    for part in (one.matrix, one.offset, one.first):
        assert part.abs().max() <= 1
        assert part.mean().item() == pytest.approx(0, abs=0.005)
        assert part.square().mean().item() == pytest.approx(1 / 3, abs=0.003)
    four = AffineRecurrence(dimension=4, limit=NO_LIMIT).recurrences(N_DRAWS // 16, generator())
    assert four.matrix.square().mean().item() == pytest.approx(1 / 12, abs=0.001)


@pytest.mark.parametrize("t", [1, 2, 3, 5])
def test_copying_is_as_far_off_as_an_integral_says(t: int) -> None:
    """x_{t+1} - x_t = a^t ((a - 1) x_0 + b), whose mean square over the uniform a, b and x_0 is a rational number.

    So is that of the mean of the last two terms, which is off by (a + 1/2) a^(t-1) ((a - 1) x_0 + b).
    """
    terms = AffineRecurrence(n_terms=12, limit=NO_LIMIT).terms(N_DRAWS, generator())[..., 0]
    copying = (terms[:, t + 1] - terms[:, t]).square().mean().item()
    assert copying == pytest.approx((1 / (2 * t + 3) + 2 / (2 * t + 1)) / 3, rel=0.02)
    both = (terms[:, t + 1] - (terms[:, t] + terms[:, t - 1]) / 2).square().mean().item()
    expected = (1 / (2 * t + 3) + 1 / 4 / (2 * t + 1) + 1 / 2 / (2 * t - 1)) / 3
    assert both == pytest.approx(expected, rel=0.02)


def test_terms_keep_to_the_limit() -> None:
    free, kept = (AffineRecurrence(limit=limit).terms(4000, generator()).abs().amax((1, 2)) for limit in (NO_LIMIT, 2))
    assert (free > 2).float().mean() > 0.1
    assert kept.max() <= 2
    assert kept.max() > 1.9, "nothing else is refused"


@pytest.mark.parametrize("degree", [0, 1, 2, 4])
def test_a_polynomial_has_no_differences_beyond_its_degree(degree: int) -> None:
    terms = PolynomialSequence(degree=degree, dimension=2).terms(200, generator()).double().numpy()
    differences = np.diff(terms, n=degree + 1, axis=1)
    assert np.abs(differences).max() < 1e-5
    if degree:
        assert np.abs(np.diff(terms, n=degree, axis=1)).max() > 1e-4
    assert np.abs(terms).max() <= degree + 1


@pytest.mark.parametrize("variable", ["matrix", "offset"])
def test_counterfactuals_follow_the_base_under_the_sources_variable(variable: str) -> None:
    """In one dimension the coefficients can be read off any three terms."""
    task = AffineRecurrence()
    pairs = task.counterfactuals(500, variable, generator())
    base, source, expected = (x.double()[..., 0] for x in (pairs.base.tokens, pairs.sources, pairs.base.targets))
    assert torch.equal(base[:, 0], source[:, 0])
    assert source.abs().max() <= task.limit
    slopes, offsets = {}, {}
    for name, terms in (("base", base), ("source", source)):
        slopes[name] = (terms[:, 2] - terms[:, 1]) / (terms[:, 1] - terms[:, 0])
        offsets[name] = terms[:, 1] - slopes[name] * terms[:, 0]
    slope = slopes["source" if variable == "matrix" else "base"]
    offset = offsets["source" if variable == "offset" else "base"]
    well_told = (base[:, 1] - base[:, 0]).abs().minimum((source[:, 1] - source[:, 0]).abs()) > 0.1
    assert well_told.sum() > 200
    entailed = slope[:, None] * base + offset[:, None]
    assert torch.allclose(expected[well_told], entailed[well_told], atol=1e-4)
    factual = pairs.factual.targets
    assert factual is not None
    assert torch.equal(factual[:, :-1], pairs.base.tokens[:, 1:])
    assert torch.equal(task.roles(pairs.sources)[7], torch.arange(19))


def test_recurrences_of_ones_own_make_batches() -> None:
    """Doubling has no place in the task's law."""
    task = AffineRecurrence()
    doubling = Recurrences(*(torch.tensor(x, dtype=torch.float64) for x in ([[[2.0]]], [[0.0]], [[1.0]])))
    batch = task.batch(doubling.terms(5))
    assert batch.tokens.flatten().tolist() == [1, 2, 4, 8]
    assert batch.targets is not None
    assert batch.targets.flatten().tolist() == [2, 4, 8, 16]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n_terms": 3}, "n_terms=3: "),
        ({"dimension": 0}, "dimension=0: "),
        ({"limit": 0.0}, "limit=0.0: "),
        ({"limit": -1.0}, "limit=-1.0: "),
        ({"limit": float("nan")}, "limit=nan: "),
    ],
)
def test_what_makes_no_recurrence_is_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AffineRecurrence(**fields)


def test_what_makes_no_batch_is_refused() -> None:
    task = AffineRecurrence()
    terms = task.terms(3, generator())
    terms[1, 4] = float("nan")
    with pytest.raises(ValueError, match=r"of sequence 1 at position 4 are not numbers \(NaN\)"):
        task.batch(terms)
    for shape in ((3, 1, 1), (3, 5, 2), (3, 5)):
        with pytest.raises(ValueError, match=r"pass \[batch, 2 or more, 1\]"):
            task.batch(torch.zeros(shape))


def test_a_training_learns_more_than_to_copy() -> None:
    from rtinterp import ModelSpec, RunSpec, TrainSpec, train

    training = TrainSpec(n_steps=150, batch_size=128, learning_rate=3e-3, n_warmup_steps=10, adam_beta2=0.98)
    run = train(RunSpec(AffineRecurrence(n_terms=8), ModelSpec(32), training, "all", seed=0), progress=False)
    test_set = run.spec.task.test_set()
    assert test_set.targets is not None
    errors = (run.model(test_set.tokens) - test_set.targets).square().mean((0, 2))
    copying = (test_set.tokens - test_set.targets).square().mean((0, 2))
    assert bool((errors[3:] < copying[3:] / 2).all())
    assert dataclasses.replace(run.spec.task) == run.spec.task
