"""Every spec that can be made comes back from its JSON, equal and under the same id."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtinterp.models.recurrent.spec import RecurrentSpec
from rtinterp.models.regimes import TRAINABLE
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.store import StoreError
from rtinterp.store.contents import parse_spec
from rtinterp.tasks import (
    TASKS,
    AffineRecurrence,
    CircuitImitation,
    DecimalAddition,
    GraphSearch,
    GroupWordProblem,
    KHopInduction,
    LanguageModelling,
    Memorization,
    ModularAddition,
    Multiplication,
    MultiQueryRecall,
    NeedleInAHaystack,
    ParenthesisBalancing,
    PolynomialSequence,
    Sorting,
    Task,
)
from rtinterp.training.spec import RunSpec, TrainSpec, spec_from_json, spec_to_json

MANY = st.integers(1, 2**62)
POSITIVE = st.floats(0, exclude_min=True, allow_infinity=False)
FRACTION = st.floats(0, 1, exclude_max=True)
#: Where None may become the official list, that is among them.
TEST_ROWS = st.sampled_from([None, "distinct", "drawn", "validation"])


@st.composite
def circuit_imitations(draw: st.DrawFn) -> CircuitImitation:
    heads, seed, tokens = draw(st.integers(1, 64)), draw(st.integers(0, 2**62)), draw(st.integers(1, 10_000))
    where = draw(st.sampled_from(["last", "all"]))
    width = heads * draw(st.integers(1, 64))
    return CircuitImitation(width, draw(st.integers(1, 100)), heads, seed, tokens, draw(st.integers(2, 10**6)), where)


TASK_STRATEGIES: dict[type[Task], st.SearchStrategy[Task]] = {
    ModularAddition: st.builds(
        ModularAddition, p=st.integers(2, 1000), test_rows=st.sampled_from(["official", "validation"])
    ),
    NeedleInAHaystack: st.builds(
        NeedleInAHaystack,
        max_pairs=st.integers(4, 200) | st.just(30),
        n_values=st.integers(8, 10_000) | st.just(127),
        test_rows=TEST_ROWS,
    ),
    DecimalAddition: st.builds(
        DecimalAddition,
        n_digits=st.integers(2, 18) | st.just(10),
        score_first_digit=st.booleans(),
        test_rows=TEST_ROWS,
    ),
    ParenthesisBalancing: st.builds(
        ParenthesisBalancing,
        max_pairs=st.integers(8, 200) | st.just(30),
        test_rows=TEST_ROWS,
        n_kinds=st.just(1) | st.integers(2, 30),
    ),
    Memorization: st.builds(Memorization, n_keys=st.integers(2, 2048)),
    CircuitImitation: circuit_imitations(),
    KHopInduction: st.builds(
        KHopInduction,
        max_hops=st.integers(1, 200),
        alphabet=st.integers(3, 26),
        length=st.integers(203, 2000),
        test_rows=st.sampled_from([None, "distinct", "validation"]),
    ),
    GroupWordProblem: st.builds(
        GroupWordProblem,
        length=st.integers(7, 2000),
        group=st.sampled_from(["Z2", "Z60", "A4xZ5", "A5"]),
        test_rows=st.sampled_from([None, "distinct", "validation"]),
    ),
    MultiQueryRecall: st.builds(
        MultiQueryRecall,
        length=st.integers(80, 4096),
        n_pairs=st.integers(2, 20),
        d_vocab=st.integers(42, 10**6),
        test_rows=st.sampled_from([None, "distinct", "validation"]),
    ),
    Sorting: st.builds(
        Sorting,
        length=st.integers(7, 1000),
        vocabulary=st.integers(2, 1000),
        test_rows=st.sampled_from([None, "distinct", "validation"]),
    ),
    Multiplication: st.builds(
        Multiplication,
        n_digits_a=st.integers(2, 20),
        n_digits_b=st.integers(1, 20),
        test_rows=st.sampled_from([None, "distinct", "validation"]),
    ),
    GraphSearch: st.builds(
        GraphSearch,
        n_vertices=st.integers(30, 200),
        n_edges=st.integers(20, 100),
        max_lookahead=st.integers(1, 10),
        test_rows=st.sampled_from([None, "distinct", "validation"]),
    ),
    AffineRecurrence: st.builds(
        AffineRecurrence,
        n_terms=st.integers(4, 1024),
        dimension=st.integers(1, 64),
        limit=st.floats(1, allow_infinity=False),
    ),
    PolynomialSequence: st.builds(
        PolynomialSequence, degree=st.integers(0, 8), n_terms=st.integers(12, 1024), dimension=st.integers(1, 64)
    ),
    LanguageModelling: st.builds(
        LanguageModelling,
        corpus_sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
        d_vocab=st.integers(257, 10**6),
        context_length=st.integers(2, 10**5),
    ),
}


@st.composite
def transformers(draw: st.DrawFn) -> ModelSpec:
    heads = draw(st.integers(1, 32))
    d_head = draw(st.integers(1, 32))
    linear = ("linear", "linear_normalised", "retention", "gated_linear")
    attention = draw(st.sampled_from(["softmax", "prefix_sum", *linear]))
    rotates = attention == "softmax" and d_head % 2 == 0
    return ModelSpec(
        d_model=heads * d_head,
        n_layers=draw(st.integers(1, 48)),
        n_heads=heads,
        init=draw(st.sampled_from(["gpt2", "paper_text", "imitation_target", "normal"])),
        attention=attention,
        positions=draw(st.sampled_from(["learned", "sinusoidal", *(["rotary"] if rotates else [])])),
        qk_init_std=draw(st.sampled_from(["as_init", "inverse_sqrt_width"])),
        norm=draw(st.sampled_from(["layer_norm", "rms_norm"])),
        mlp=draw(st.sampled_from(["plain", "gated"])),
        activation=draw(st.sampled_from(["gelu_new", "silu", "scaled_leaky_relu"])),
        skip_share=draw(st.none() | st.floats(0, 1, exclude_min=True, exclude_max=True)),
        width_multipliers=draw(st.booleans()),
    )


#: Apart from the others, as random mixing for long sequences takes more memory than a store opens.
MIXING = st.builds(
    ModelSpec,
    d_model=st.integers(1, 1024),
    n_layers=st.integers(1, 48),
    n_heads=st.just(1),
    attention=st.sampled_from(["random_mixing", "random_mixing_with_sink"]),
    mixing_length=st.none() | st.integers(3, 1000),
)

RECURRENT = st.builds(
    RecurrentSpec, d_model=st.integers(1, 1024), n_layers=st.integers(1, 48), cell=st.sampled_from(["lstm", "rnn"])
)
#: Of a training of any length.
KEPT_STEPS = st.sampled_from(["none", "log", (0,), (0, 1)])
TRAININGS = st.builds(
    TrainSpec,
    n_steps=MANY,
    kept_steps=KEPT_STEPS,
    batch_size=MANY,
    learning_rate=POSITIVE,
    weight_decay=st.floats(0, allow_infinity=False) | st.just(-0.0),
    n_warmup_steps=st.integers(0, 2**62),
    max_grad_norm=POSITIVE,
    adam_beta1=FRACTION,
    adam_beta2=FRACTION,
    adam_eps=POSITIVE,
    steps_per_evaluation=MANY,
    precision=st.sampled_from(["float32", "tf32", "bfloat16"]),
)


def specs(task: type[Task]) -> st.SearchStrategy[RunSpec]:
    return st.builds(
        RunSpec,
        task=TASK_STRATEGIES[task],
        model=transformers() | RECURRENT | (MIXING if task is ModularAddition else st.nothing()),
        training=TRAININGS,
        trainable=st.sampled_from(TRAINABLE),
        seed=st.integers(0, 2**63 - 1),
    )


def test_every_task_is_drawn() -> None:
    assert set(TASK_STRATEGIES) == {task for task in TASKS.values() if task.__module__.startswith("rtinterp.")}


@pytest.mark.parametrize("task", TASK_STRATEGIES, ids=lambda task: task.name)
def test_a_spec_comes_back_from_its_json(task: type[Task]) -> None:
    @settings(max_examples=40, derandomize=True, deadline=None, database=None)
    @given(spec=specs(task))
    def comes_back(spec: RunSpec) -> None:
        text = spec_to_json(spec)
        again = parse_spec(text.encode())
        assert (again, again.run_id, spec_to_json(again)) == (spec, spec.run_id, text)
        assert type(again.task) is type(spec.task)
        assert type(again.model) is type(spec.model)
        # Any order and layout of the same JSON is the same spec.
        assert spec_from_json(json.dumps(dict(reversed(json.loads(text).items())))) == spec

    comes_back()


@settings(max_examples=100, derandomize=True, deadline=None, database=None)
@given(one=specs(ModularAddition), other=specs(ModularAddition))
def test_ids_are_equal_for_equal_specs_only(one: RunSpec, other: RunSpec) -> None:
    assert (one.run_id == other.run_id) == (one == other)


@pytest.mark.parametrize("number", ["9223372036854775808", "-9223372036854775809", "9" * 5000])
def test_a_number_beyond_64_bits_is_refused(number: str) -> None:
    spec = RunSpec(ModularAddition(5), ModelSpec(8), TrainSpec(1, 1))
    with pytest.raises(StoreError, match="does not fit 64 bits"):
        parse_spec(spec_to_json(spec).replace('"seed": 0', f'"seed": {number}').encode())
