"""Tables 3 and 6 and figure 8: bits and parameters counted in other ways."""

from __future__ import annotations

import dataclasses
import math

import polars as pl
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from rtinterp.models.build import build_model
from rtinterp.models.recurrent.spec import RecurrentSpec
from rtinterp.models.regimes import TRAINABLE, freeze
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.papers.random_transformers import FIGURES, figure8_memorization, published, table3_memorization
from rtinterp.papers.random_transformers.table6_parameters import n_trainable
from rtinterp.tasks import Memorization
from rtinterp.training.run import Run


def with_recall(run: Run, n_recalled: list[int]) -> Run:
    """The run as if it had recalled so many pairs at its evaluations."""
    shares = [n / run.spec.task.n_keys**2 for n in n_recalled]
    n = len(shares)
    history = {"step": [10 * i for i in range(1, n + 1)], "train_loss": [1.0] * n, "test_loss": [2.0] * n}
    # As the engine has it, which divides in float32.
    accuracies = torch.tensor(shares, dtype=torch.float32).tolist()
    history = pl.DataFrame({**history, "test_accuracy": accuracies})
    return dataclasses.replace(run, history=history, stopped_at_step=history["step"][-1])


def test_table_3_counts_bits_and_parameters(runs_of) -> None:
    recalled = {("embeddings", 0): 5, ("embeddings", 1): 7, ("all", 0): 20, ("all", 1): 31}
    runs = [
        with_recall(run, [1, recalled[run.spec.trainable, run.spec.seed]]) for run in runs_of("table3_memorization")
    ]
    table = table3_memorization.compute(runs)
    for run, row in zip(runs, table.iter_rows(named=True), strict=True):
        model = freeze(build_model(run.spec.task, run.spec.model, 0), run.spec.trainable)
        n_parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
        n_recalled = recalled[run.spec.trainable, run.spec.seed]
        assert row["n_recalled"] == n_recalled
        assert row["recall"] == n_recalled / 36
        assert row["n_trainable"] == n_parameters
        assert row["bits_recalled"] == pytest.approx(n_recalled * math.log(6, 2))
        known = (n_recalled - 36 / 6) / (1 - 1 / 6)
        assert row["bits_net_of_luck"] == pytest.approx(max(known, 0) * math.log(6, 2))
        assert row["bits_per_parameter"] == pytest.approx(n_recalled * math.log(6, 2) / n_parameters)
    rows = list(zip(*table3_memorization.plot(table).data[0].cells.values, strict=True))
    assert len(rows) == 4
    random, normal, *in_text = rows
    assert "rate 0.005, decay 0.0001" in random[0]
    assert all("rate 0.001, decay 0.001" in row[0] for row in in_text)
    assert len(random) == 6, "the paper's numbers, which are of 512 keys, have no columns"
    as_of_512_keys = table.with_columns(paper_recall=0.045, paper_bits_per_parameter=0.41)
    with_paper = list(zip(*table3_memorization.plot(as_of_512_keys).data[0].cells.values, strict=True))
    assert [(row[2], row[6]) for row in with_paper] == [("4.5", "0.41")] * 4
    assert [(*row[:2], *row[3:6], row[7]) for row in with_paper] == rows, "they stand beside the same columns"
    # Both random models recall about what guessing does, 6 pairs; of 20 and 31, a model knows 16.8 and 30.
    net = (16.8 + 30) / 2 * math.log(6, 2)
    assert normal[5].startswith(f"{net:,.0f}<")
    assert f"{net / n_trainable(Memorization(n_keys=6), runs[-1].spec.model, 'all'):.2f} per parameter" in normal[5]
    older = table3_memorization.plot(table.drop("bits_net_of_luck")).data[0].cells.values
    assert set(older[5]) == {""}, "tables of earlier drawings do not tell"
    assert random[1].startswith("16.7")
    assert "13.9 to 19.4" in random[1]
    assert normal[1].startswith("70.8")


def test_the_paper_size_has_the_paper_number_of_parameters() -> None:
    task, model = Memorization(), ModelSpec(128)
    assert n_trainable(task, model, "all") == 659_584
    assert n_trainable(task, model, "embeddings") == 262_784
    for trainable in ("all", "embeddings"):
        recall, bits = published.recall(task, trainable)
        assert recall * 512**2 * 9 / n_trainable(task, model, trainable) == pytest.approx(bits, rel=0.02)


@pytest.mark.parametrize("model", [ModelSpec(16, positions="sinusoidal"), RecurrentSpec(16)], ids=str)
@pytest.mark.parametrize("trainable", TRAINABLE)
def test_trainable_parameters_are_those_of_a_frozen_model(model: ModelSpec | RecurrentSpec, trainable: str) -> None:
    task = Memorization(n_keys=6)
    frozen = freeze(build_model(task, model, 0), trainable)
    assert n_trainable(task, model, trainable) == sum(p.numel() for p in frozen.parameters() if p.requires_grad)


def test_figure_8_draws_the_history_of_every_seed(runs_of) -> None:
    runs = [
        with_recall(run, [run.spec.seed, 3 + run.spec.seed, 9 if run.spec.trainable == "all" else 4])
        for run in runs_of("figure8_memorization")
    ]
    table = figure8_memorization.compute(runs)
    figure = figure8_memorization.plot(pl.read_csv(table.write_csv().encode()))
    assert [list(trace.x) for trace in figure.data] == [[10, 20, 30]] * len(runs)
    drawn = [(trace.name, list(trace.y)) for trace in figure.data]
    names = {"embeddings": "random transformer", "all": "fully trained"}
    for (name, heights), run in zip(drawn, runs, strict=True):
        assert name == f"{names[run.spec.trainable]}, learning rate {run.spec.training.learning_rate:g}"
        assert heights == pytest.approx(run.history["test_accuracy"].to_list())
    assert [trace.showlegend for trace in figure.data] == [True, False] * 4
    assert [trace.line.dash for trace in figure.data] == ["solid"] * 4 + ["dash"] * 4
    assert figure.layout.shapes[0].y0 == pytest.approx(1 / 6)


#: Vocabulary and positions of the official code.
SIZES = {
    "ModularAddition": (199, 5),
    "NeedleInAHaystack": (256, 100),
    "DecimalAddition": (31, 40),
    "ParenthesisBalancing": (4, 80),
    "Memorization": (1024, 5),
    "CircuitImitation": (512, 40),
    "LanguageModelling": (10_000, 1024),
}


def test_table_6_counts_what_hugging_face_counts() -> None:
    table = FIGURES["table6_parameters"].compute([])
    assert set(table["task"]) == set(SIZES)
    for row in table.iter_rows(named=True):
        d_vocab, n_ctx = SIZES[row["task"]]
        config = GPT2Config(
            vocab_size=d_vocab, n_positions=n_ctx, n_embd=row["d_model"], n_layer=row["n_layers"], n_head=4,
            tie_word_embeddings=False, bos_token_id=None, eos_token_id=None,
        )  # fmt: skip
        with torch.device("meta"):
            parameters = {name: p.numel() for name, p in GPT2LMHeadModel(config).named_parameters()}
        assert row["token_embedding"] == parameters.pop("transformer.wte.weight")
        assert row["positional_embedding"] == parameters.pop("transformer.wpe.weight")
        assert row["unembedding"] == parameters.pop("lm_head.weight")
        assert row["intermediate"] == sum(parameters.values())
        assert row["trained_random"] + row["intermediate"] == row["trained_normal"]


def test_table_6_has_no_count_that_only_the_paper_prints() -> None:
    table = FIGURES["table6_parameters"].compute([])
    counts = table.select(pl.exclude("task", "body", "d_vocab", "n_ctx", "n_layers", "d_model"))
    odd = published.ODD_PARAMETER_COUNT.value
    assert odd not in {count for column in counts for count in column}
    assert odd == (2 * 31 + 35) * 1024, "decimal addition at width 1024 with 35 positions"
    figure = FIGURES["table6_parameters"]
    assert f"{odd:,}" in figure.caption
    shown = [cell for column in figure.plot(table).data[0].cells.values for cell in column]
    assert "104,448" in shown
    assert f"{odd:,}" not in shown
