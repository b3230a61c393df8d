"""RunSpec and TrainSpec: checked when made, named by all of their fields, written out and read back."""

from __future__ import annotations

import dataclasses
import json

import pytest
from training_references import REGIMES, TASKS, small_run

from rtinterp.models.parametrisations import LowRank, RandomSubspace, ReadSubspace
from rtinterp.models.recurrent.spec import RecurrentSpec
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.tasks import DecimalAddition, ModularAddition, NeedleInAHaystack, ParenthesisBalancing, Task
from rtinterp.training.spec import RunSpec, TrainSpec, spec_from_json, spec_to_json

SPEC = RunSpec(ModularAddition(p=23), ModelSpec(d_model=16), TrainSpec(n_steps=10, batch_size=8))

#: Every stored run is named by it.
GOLDEN_RUN_ID = "modular_addition-d16-embeddings-seed0-23c498009621"

#: The same of tasks as they were before their test rows could be chosen.
GOLDEN_RUN_IDS = [
    (ModularAddition(), "modular_addition-d16-embeddings-seed0-c3580bbac3fa"),
    (NeedleInAHaystack(), "needle_in_a_haystack-d16-embeddings-seed0-34cd4dcbe151"),
    (NeedleInAHaystack(4, 16, test_rows="drawn"), "needle_in_a_haystack-d16-embeddings-seed0-a4eaa1c14f95"),
    (NeedleInAHaystack(30, 16, test_rows="drawn"), "needle_in_a_haystack-d16-embeddings-seed0-68ef544b4578"),
    (DecimalAddition(), "decimal_addition-d16-embeddings-seed0-c5a6e10e15a5"),
    (DecimalAddition(score_first_digit=True), "decimal_addition-d16-embeddings-seed0-bfe39be4c1c5"),
    (DecimalAddition(2, test_rows="drawn"), "decimal_addition-d16-embeddings-seed0-b8d30871c769"),
    (ParenthesisBalancing(), "parenthesis_balancing-d16-embeddings-seed0-7fb21a1435f3"),
    (ParenthesisBalancing(10, test_rows="drawn"), "parenthesis_balancing-d16-embeddings-seed0-3eec8cda85e8"),
]


def with_training(**fields: object) -> RunSpec:
    return dataclasses.replace(SPEC, training=dataclasses.replace(SPEC.training, **fields))


CHANGES = {
    "task": dataclasses.replace(SPEC, task=DecimalAddition(n_digits=2)),
    "task.p": dataclasses.replace(SPEC, task=ModularAddition(p=29)),
    "task.test_rows": dataclasses.replace(SPEC, task=ModularAddition(p=23, test_rows="validation")),
    "model.d_model": dataclasses.replace(SPEC, model=ModelSpec(d_model=32)),
    "model.n_layers": dataclasses.replace(SPEC, model=ModelSpec(d_model=16, n_layers=3)),
    "model.n_heads": dataclasses.replace(SPEC, model=ModelSpec(d_model=16, n_heads=2)),
    "model.init": dataclasses.replace(SPEC, model=ModelSpec(d_model=16, init="paper_text")),
    "model.attention": dataclasses.replace(SPEC, model=ModelSpec(d_model=16, attention="prefix_sum")),
    "model.positions": dataclasses.replace(SPEC, model=ModelSpec(d_model=16, positions="sinusoidal")),
    "model.qk_init_std": dataclasses.replace(SPEC, model=ModelSpec(d_model=16, qk_init_std="inverse_sqrt_width")),
    "model.norm": dataclasses.replace(SPEC, model=ModelSpec(d_model=16, norm="rms_norm")),
    "model.mlp": dataclasses.replace(SPEC, model=ModelSpec(d_model=16, mlp="gated")),
    "model.activation": dataclasses.replace(SPEC, model=ModelSpec(d_model=16, activation="silu")),
    "model.skip_share": dataclasses.replace(SPEC, model=ModelSpec(d_model=16, skip_share=0.5)),
    "model.width_multipliers": dataclasses.replace(SPEC, model=ModelSpec(d_model=16, width_multipliers=True)),
    "model.mixing_length": dataclasses.replace(
        SPEC, model=ModelSpec(d_model=16, attention="random_mixing", mixing_length=3)
    ),
    "model": dataclasses.replace(SPEC, model=RecurrentSpec(d_model=16)),
    "model.cell": dataclasses.replace(SPEC, model=RecurrentSpec(d_model=16, cell="rnn")),
    "training.n_steps": with_training(n_steps=11),
    "training.batch_size": with_training(batch_size=9),
    "training.learning_rate": with_training(learning_rate=1.0000000001e-3),
    "training.weight_decay": with_training(weight_decay=0.0),
    "training.n_warmup_steps": with_training(n_warmup_steps=1),
    "training.max_grad_norm": with_training(max_grad_norm=2.0),
    "training.adam_beta1": with_training(adam_beta1=0.8),
    "training.adam_beta2": with_training(adam_beta2=0.99),
    "training.adam_eps": with_training(adam_eps=1e-7),
    "training.steps_per_evaluation": with_training(steps_per_evaluation=7),
    "training.kept_steps": with_training(kept_steps=(0, 7)),
    "training.release_at": dataclasses.replace(
        SPEC, trainable="all", training=TrainSpec(10, 8, release_at=5, rate_before_release=1e-3)
    ),
    "training.rate_before_release": dataclasses.replace(
        SPEC, trainable="all", training=TrainSpec(10, 8, release_at=5, rate_before_release=2e-3)
    ),
    "training.precision": with_training(precision="bfloat16"),
    "trainable": dataclasses.replace(SPEC, trainable="all"),
    "seed": SPEC.with_seed(1),
    "parametrisation": dataclasses.replace(SPEC, parametrisation=LowRank(2)),
    "parametrisation.rank": dataclasses.replace(SPEC, parametrisation=LowRank(3)),
    "parametrisation.tensors": dataclasses.replace(SPEC, parametrisation=LowRank(2, ("unembed.W_U",))),
    "parametrisation.name": dataclasses.replace(SPEC, parametrisation=RandomSubspace(2)),
    "parametrisation.end": dataclasses.replace(SPEC, parametrisation=ReadSubspace(2, "least")),
}
WATCHING = ("training.steps_per_evaluation", "training.kept_steps")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n_steps": 0}, "n_steps=.*greater than or equal to 1"),
        ({"n_steps": 10.0}, "n_steps=.*valid integer"),
        ({"batch_size": True}, "batch_size=.*valid integer"),
        ({"learning_rate": 0.0}, "learning_rate=.*greater than 0"),
        ({"learning_rate": "1e-3"}, "learning_rate=.*valid number"),
        ({"learning_rate": float("nan")}, "learning_rate=.*(finite|greater)"),
        ({"learning_rate": float("inf")}, "learning_rate=.*finite"),
        ({"weight_decay": -1.0}, "weight_decay=.*greater than or equal to 0"),
        ({"n_warmup_steps": -1}, "n_warmup_steps=.*greater than or equal to 0"),
        ({"max_grad_norm": 0.0}, "max_grad_norm=.*greater than 0"),
        ({"adam_beta1": 1.0}, "adam_beta1=.*less than 1"),
        ({"adam_beta2": -0.1}, "adam_beta2=.*greater than or equal to 0"),
        ({"adam_eps": 0.0}, "adam_eps=.*greater than 0"),
        ({"steps_per_evaluation": 0}, "steps_per_evaluation=.*greater than or equal to 1"),
        ({"lr": 1e-3}, "there is no lr"),
    ],
    ids=str,
)
def test_nonsense_training_is_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainSpec(**{"n_steps": 10, "batch_size": 8, **fields})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"task": "modular_addition"}, "task=.*instance of Task"),
        ({"task": ModularAddition}, "task=.*instance of Task"),
        ({"model": {"d_model": 16}}, "model={'d_model': 16}: should be an instance of Body"),
        ({"model": RecurrentSpec}, "model=<class .*instance of Body"),
        ({"model": None}, "model=None: should be an instance of Body"),
        ({"training": None}, "training=.*instance of TrainSpec"),
        ({"trainable": "everything"}, "trainable=.*'embeddings', 'all'"),
        ({"parametrisation": "low_rank"}, "parametrisation=.*instance of Parametrisation"),
        ({"seed": -1}, "seed=.*greater than or equal to 0"),
        ({"seed": 1.0}, "seed=.*valid integer"),
        ({"name": "x"}, "there is no name"),
    ],
    ids=str,
)
def test_nonsense_runs_are_refused(fields: dict, message: str) -> None:
    parts = {"task": SPEC.task, "model": SPEC.model, "training": SPEC.training}
    with pytest.raises(ValueError, match=message):
        RunSpec(**{**parts, **fields})


def test_the_table_changes_every_field() -> None:
    fields = {field.name for field in dataclasses.fields(RunSpec)} - {"training"}
    for part in ("task", "model", "training"):
        fields |= {f"{part}.{field.name}" for field in dataclasses.fields(getattr(SPEC, part))}
    fields |= {f"model.{field.name}" for field in dataclasses.fields(RecurrentSpec)}
    fields |= {f"parametrisation.{field.name}" for field in dataclasses.fields(LowRank)}
    fields |= {"parametrisation.name", "parametrisation.end"}
    assert set(CHANGES) == fields


def test_run_ids_differ_for_every_field_but_those_that_say_how_a_run_is_watched() -> None:
    watched = [CHANGES[name] for name in WATCHING]
    assert {spec.run_id for spec in watched} == {SPEC.run_id}
    assert set(watched) == {SPEC}
    specs = [SPEC, *(spec for name, spec in CHANGES.items() if name not in WATCHING)]
    assert len({spec.run_id for spec in specs}) == len(set(specs)) == len(specs)


def test_golden_run_id() -> None:
    assert SPEC.run_id == GOLDEN_RUN_ID


@pytest.mark.parametrize(("task", "run_id"), GOLDEN_RUN_IDS, ids=repr)
def test_run_ids_from_before_test_rows_could_be_chosen(task: Task, run_id: str) -> None:
    spec = dataclasses.replace(SPEC, task=task)
    assert spec.run_id == run_id
    assert "test_rows" not in spec_to_json(spec)
    assert spec_from_json(spec_to_json(spec)).task == task


@pytest.mark.parametrize(
    "task",
    [
        NeedleInAHaystack(4, 16),
        NeedleInAHaystack(test_rows="distinct"),
        NeedleInAHaystack(test_rows="drawn"),
        DecimalAddition(2).for_validation(),
        ModularAddition(23).for_validation(),
    ],
    ids=repr,
)
def test_other_test_rows_are_written_and_make_another_run(task: Task) -> None:
    spec = dataclasses.replace(SPEC, task=task)
    fields = json.loads(spec_to_json(spec))
    assert fields["task"].pop("test_rows") == task.test_rows
    before = spec_from_json(json.dumps(fields))
    assert before.task.test_rows != task.test_rows
    assert before.run_id != spec.run_id


@pytest.mark.parametrize("trainable", REGIMES)
def test_equal_specs_share_an_id_that_makes_a_folder_name(trainable: str) -> None:
    spec = dataclasses.replace(SPEC, trainable=trainable, seed=7)
    assert spec.run_id == spec.with_seed(3).with_seed(7).run_id
    assert spec.run_id.startswith("modular_addition-d16-")
    assert "-seed7-" in spec.run_id
    assert all(character.isalnum() or character in "_-" for character in spec.run_id)


def test_minus_zero_is_the_same_spec_and_the_same_id() -> None:
    minus, plus = with_training(weight_decay=-0.0), with_training(weight_decay=0.0)
    assert minus == plus
    assert minus.run_id == plus.run_id


def test_an_integer_rate_is_the_same_spec_and_the_same_id() -> None:
    assert with_training(max_grad_norm=1).run_id == SPEC.run_id


@pytest.mark.parametrize("spec", [SPEC, *CHANGES.values(), *map(small_run, TASKS)], ids=lambda spec: spec.run_id)
def test_specs_survive_json(spec: RunSpec) -> None:
    text = spec_to_json(spec)
    assert spec_from_json(text) == spec
    assert spec_to_json(spec_from_json(text)) == text
    assert spec_from_json(text).run_id == spec.run_id
    assert json.loads(text)["task"]["name"] == spec.task.name


def edited(*path: str, **changes: object) -> str:
    fields = json.loads(spec_to_json(SPEC))
    part = fields
    for key in path:
        part = part[key]
    for key, value in changes.items():
        if value is KeyError:
            del part[key]
        else:
            part[key] = value
    return json.dumps(fields)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Expecting"),
        ("[]", "JSON object, not list"),
        ("null", "JSON object, not NoneType"),
        (edited(note="x"), "there is no note"),
        (edited("training", note="x"), "there is no note"),
        (edited("model", note="x"), "there is no note"),
        (edited("task", q=3), "there is no q"),
        (edited("task", name="chess"), "unknown task 'chess'; known: .*circuit_imitation, .*parenthesis_balancing"),
        (edited("task", name=KeyError), "unknown task None"),
        (edited("task", p="23"), "p=.*valid integer"),
        (edited(task=KeyError), "an object under 'task', found None"),
        (edited(model=KeyError), "an object under 'model', found None"),
        (edited(training=KeyError), "an object under 'training', found None"),
        (edited(parametrisation=None), "an object under 'parametrisation', found None"),
        (edited(parametrisation={"name": "low_rnk"}), "unknown parametrisation 'low_rnk'; did you mean 'low_rank'"),
        (edited(parametrisation={"name": "low_rank", "rank": 2}), "LowRank of a run spec lacks tensors"),
        (edited(parametrisation={"name": "low_rank", "rank": 2, "tensors": []}), "tensors=.*at least 1"),
        (edited(model=3), "an object under 'model', found 3"),
        (edited("model", d_model=KeyError), "lacks d_model"),
        (edited("model", name="gpt5"), "unknown body 'gpt5'; known: mamba, recurrent, s4d, transformer"),
        (edited("model", name="recurrent"), "RecurrentSpec of a run spec lacks cell"),
        (edited("model", d_model=18), "not a multiple"),
        (edited("training", n_steps=KeyError), "lacks n_steps"),
        (edited("training", learning_rate=float("nan")), "learning_rate="),
        (edited(seed=KeyError), "RunSpec of a run spec lacks seed"),
        (edited("training", adam_eps=KeyError), "TrainSpec of a run spec lacks adam_eps"),
        (edited("task", p=KeyError), "ModularAddition of a run spec lacks p"),
        (edited("task", name=[]), "unknown task"),
        (edited(seed=0.0), "seed=.*valid integer"),
        (edited(trainable="al"), "trainable="),
        (spec_to_json(SPEC).replace('"seed": 0', '"seed": 0, "seed": 1'), "stands twice"),
        (spec_to_json(SPEC).replace('"p": 23', '"p": 23, "p": 23'), "stands twice"),
    ],
    ids=lambda value: "" if value.startswith(("{", "[")) else value,
)
def test_nonsense_json_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        spec_from_json(text)


def test_short_strings_that_are_trained_on_make_another_run() -> None:
    specs = [
        dataclasses.replace(SPEC, task=ParenthesisBalancing(short_strings=how)) for how in ("held out", "trained on")
    ]
    assert [spec.run_id in dict(GOLDEN_RUN_IDS).values() for spec in specs] == [True, False]
    assert ["short_strings" in json.loads(spec_to_json(spec))["task"] for spec in specs] == [False, True]
    assert [spec_from_json(spec_to_json(spec)) for spec in specs] == specs
