"""Packing loses no scored prediction, changes none of what it reads, and cuts off the rest."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from training_references import CPU, TASKS, n_correct, plant, small_run, unstacked

from rtinterp.tasks import Batch
from rtinterp.training.engine import Engine
from rtinterp.training.evaluation import evaluate, n_counted
from rtinterp.training.losses import LOSSES
from rtinterp.training.packing import Chunk, ChunkLimits, pack

D_VOCAB = 50


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def planted_batch(mask: list[list[int]], seed: int = 0) -> Batch:
    scored = torch.tensor(mask, dtype=torch.bool)
    return Batch(torch.randint(50, scored.shape, generator=generator(seed)), scored)


def ragged(seed: int, n: int = 40, n_pos: int = 12) -> Batch:
    """Any number of scored positions per sequence, none included."""
    density = torch.rand(n, 1, generator=generator(seed)) ** 2
    scored = torch.rand(n, n_pos, generator=generator(seed + 100)) < density
    scored[:, -1] = False
    return Batch(torch.randint(50, scored.shape, generator=generator(seed + 200)), scored)


CASES = {
    **{task.name: [task.sample(60, generator(seed)) for seed in (1, 2)] for task in TASKS},
    "ragged": [ragged(seed) for seed in range(3)],
    "batch of one": [ragged(7, n=1), ragged(8, n=1)],
    "one prediction": [planted_batch([[0, 0, 1, 0]])],
    "first position": [planted_batch([[1, 0, 0], [1, 0, 0]])],
    "equal lengths": [planted_batch([[0, 1, 0, 1, 0]] * 9, seed) for seed in (0, 1)],
    "a sequence without": [planted_batch([[0, 0, 0, 0], [1, 0, 1, 0]])],
    "unequal models": [planted_batch([[1, 0, 0, 0]] * 5), planted_batch([[1, 1, 1, 0]] * 5)],
}


def predictions(batches: list[Batch]) -> Counter:
    """Every scored prediction: model, everything it may read, target."""
    return Counter(
        (model, tuple(batch.tokens[row, : position + 1].tolist()), batch.tokens[row, position + 1].item())
        for model, batch in enumerate(batches)
        for row, position in batch.scored.nonzero().tolist()
    )


def inputs(chunk: Chunk) -> torch.Tensor:
    """The tokens at every place of a chunk, as its rows have them: [model batch pos]; anything at padding."""
    prefixes = chunk.prefixes
    return prefixes.tokens.gather(1, prefixes.row_at.flatten(1)).view_as(prefixes.row_at)


def packed_predictions(chunks: list[Chunk]) -> Counter:
    found: Counter = Counter()
    for chunk in chunks:
        tokens = inputs(chunk)
        for model, row, i in chunk.counted.nonzero().tolist():
            position = chunk.scored_positions[model, row, i]
            prefix = tuple(tokens[model, row, : position + 1].tolist())
            assert len(prefix) == position + 1, "a scored position is cut off"
            found[model, prefix, chunk.targets[model, row, i].item()] += 1
    return found


LIMITS = {
    "default": ChunkLimits(2**16, 2**16),
    "few rows": ChunkLimits(50, 2**16),
    "few places": ChunkLimits(2**16, 90),
    "one sequence": ChunkLimits(0, 0),
}
every_limit = pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)


@every_limit
@pytest.mark.parametrize("batches", CASES.values(), ids=CASES)
def test_every_scored_prediction_is_there_once_with_its_prefix_and_target(
    batches: list[Batch], limits: ChunkLimits
) -> None:
    chunks = pack(batches, D_VOCAB, limits).chunks
    assert packed_predictions(chunks) == predictions(batches)
    assert n_counted(chunks).tolist() == [batch.scored.sum() for batch in batches]


@every_limit
@pytest.mark.parametrize("batches", CASES.values(), ids=CASES)
def test_chunks_hold_every_sequence_and_nothing_after_the_last_scored_position(
    batches: list[Batch], limits: ChunkLimits
) -> None:
    chunks = pack(batches, D_VOCAB, limits).chunks
    assert sum(chunk.prefixes.row_at.shape[1] for chunk in chunks) == len(batches[0])
    for chunk in chunks:
        assert chunk.prefixes.row_at.shape[2] == chunk.scored_positions.max() + 1
        assert (chunk.scored_positions.diff(dim=-1) >= 0).all()
        assert chunk.scored_positions.shape == chunk.targets.shape == chunk.counted.shape
    widths = [chunk.prefixes.row_at.shape[2] for chunk in chunks]
    assert widths == sorted(widths, reverse=True)


@every_limit
@pytest.mark.parametrize("batches", CASES.values(), ids=CASES)
def test_chunks_keep_to_the_limits_and_are_no_smaller_than_they_must_be(
    batches: list[Batch], limits: ChunkLimits
) -> None:
    chunks = pack(batches, D_VOCAB, limits).chunks
    for chunk in chunks:
        places = chunk.prefixes.row_at
        within = chunk.prefixes.tokens.numel() <= limits.n_rows and places.numel() <= limits.n_places
        assert within or places.shape[1] == 1
    if limits is LIMITS["default"]:
        assert len(chunks) == 1


@every_limit
@pytest.mark.parametrize("batches", CASES.values(), ids=CASES)
def test_entries_are_the_distinct_tokens_at_positions_of_all_chunks(batches: list[Batch], limits: ChunkLimits) -> None:
    packed = pack(batches, D_VOCAB, limits)
    for model in range(len(batches)):
        read = set()
        for chunk in packed.chunks:
            prefixes = chunk.prefixes
            n_rows = int(prefixes.row_at[model].amax()) + 1
            ends = torch.stack([prefixes.tokens, prefixes.positions], -1)[model, :n_rows]
            entries = torch.stack([packed.entries.tokens, packed.entries.positions], -1)[model]
            assert torch.equal(entries[prefixes.entries[model, :n_rows]], ends)
            read |= set(map(tuple, ends.tolist()))
        assert read <= set(map(tuple, entries.tolist()))
        if len(batches) == 1:
            assert len(entries) == len(read)


def with_targets(batch: Batch, seed: int) -> Batch:
    """The same sequences, with the last position scored too, and targets that nothing else tells."""
    scored = batch.scored.clone()
    scored[::2, -1] = True
    return Batch(batch.tokens, scored, torch.randint(1000, scored.shape, generator=generator(seed)))


@every_limit
@pytest.mark.parametrize("batches", CASES.values(), ids=CASES)
def test_targets_stay_with_their_positions(batches: list[Batch], limits: ChunkLimits) -> None:
    given = [with_targets(batch, seed) for seed, batch in enumerate(batches)]
    expected = Counter(
        (model, tuple(batch.tokens[row, : position + 1].tolist()), batch.targets[row, position].item())
        for model, batch in enumerate(given)
        for row, position in batch.scored.nonzero().tolist()
    )
    assert packed_predictions(pack(given, D_VOCAB, limits).chunks) == expected
    as_numbers = [Batch(b.tokens, b.scored, torch.stack([b.targets, -b.targets], -1).float()) for b in given]
    for chunk, of_numbers in zip(pack(given, 50, limits).chunks, pack(as_numbers, 50, limits).chunks, strict=True):
        assert torch.equal(of_numbers.targets, torch.stack([chunk.targets, -chunk.targets], -1).float())


@every_limit
@pytest.mark.parametrize("batches", CASES.values(), ids=CASES)
def test_every_vector_is_an_entry_of_its_own(batches: list[Batch], limits: ChunkLimits) -> None:
    """Even where two are equal; read back through rows and entries, they make the sequences."""
    given = [with_targets(batch, seed) for seed, batch in enumerate(batches)]
    as_values = [Batch(torch.stack([b.tokens, -b.tokens], -1).float(), b.scored, b.targets) for b in given]
    packed = pack(as_values, 2, limits)
    found: Counter = Counter()
    for chunk in packed.chunks:
        entry_at = chunk.prefixes.entry_at
        for model, row, i in chunk.counted.nonzero().tolist():
            position = int(chunk.scored_positions[model, row, i])
            entries = entry_at[model, row, : position + 1]
            assert packed.entries.positions[model, entries].tolist() == list(range(position + 1))
            vectors = packed.entries.tokens[model, entries]
            assert torch.equal(vectors[:, 0], -vectors[:, 1])
            found[model, tuple(vectors[:, 0].long().tolist()), chunk.targets[model, row, i].item()] += 1
    assert found == packed_predictions(pack(given, D_VOCAB, limits).chunks)
    for model, batch in enumerate(given):
        lengths = [int(row.nonzero().max()) + 1 if row.any() else 0 for row in batch.scored]
        rows = [int(chunk.prefixes.row_at[model].max()) + 1 for chunk in packed.chunks]
        assert sum(rows) >= sum(lengths), "nothing is shared"


def test_a_score_without_a_target_is_an_error() -> None:
    with pytest.raises(ValueError, match="no token follows"):
        planted_batch([[0, 0, 1]])


def test_nothing_scored_is_an_error() -> None:
    with pytest.raises(ValueError, match="must score at least one"):
        pack([planted_batch([[0, 0, 0]])], D_VOCAB, LIMITS["default"])


@every_limit
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_test_accuracy_is_a_plain_count(task, limits: ChunkLimits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtinterp.training.engine.chunk_limits", lambda *_: limits)
    engine = Engine([small_run(task, "all", seed) for seed in (0, 2)], CPU)
    plant(engine)
    for _ in range(3):
        engine.step()
    expected = [n_correct(unstacked(engine, model), task.test_set()) for model in range(2)]
    assert expected[0] != expected[1]
    assert engine.test().metrics["accuracy"].tolist() == pytest.approx([right / n for right, n in expected], abs=1e-6)


def test_accuracy_weighs_every_prediction_alike() -> None:
    batches = [ragged(seed) for seed in range(2)]
    engine = Engine([small_run(TASKS[3], "all", seed) for seed in (0, 1)], CPU)
    plant(engine)
    batches = [Batch(batch.tokens % 4, batch.scored) for batch in batches]
    expected = [n_correct(unstacked(engine, model), batch) for model, batch in enumerate(batches)]
    model = engine.spec.model.stack_model(engine.parameters)
    packed = pack(batches, D_VOCAB, LIMITS["default"])
    got = evaluate(model, packed, LOSSES["cross_entropy"], ["accuracy"]).metrics["accuracy"].tolist()
    assert got == pytest.approx([right / n for right, n in expected], abs=1e-6)
    assert all(0 < fraction < 1 for fraction in got)
