"""What a run is: task, model, training and seed as frozen data, and the id that follows from them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic.dataclasses import dataclass

from rtinterp.models.bodies import BODIES, BODY_SPECS, BodySpec
from rtinterp.models.regimes import Trainable
from rtinterp.registry import UnknownNameError
from rtinterp.strict import STRICT
from rtinterp.tasks import TASKS, Task
from rtinterp.training.part_json import check_comes_back, complete, part_fields

RUN_ID_HASH_CHARACTERS = 12
#: What every run id is computed with: how a run is watched does not change it.
UNWATCHED = {"steps_per_evaluation": 100}

AtLeastOne = Annotated[int, Field(ge=1)]
# Minus zero equals zero and must not make another run id.
Fraction = Annotated[float, Field(ge=0.0, lt=1.0), AfterValidator(abs)]
NotNegative = Annotated[float, Field(ge=0.0), AfterValidator(abs)]

Precision = Literal["float32", "tf32", "bfloat16"]


def _registered_task(task: Task) -> Task:
    """Refuse what could be trained and saved, but not opened again."""
    TASKS.check(task)
    check_comes_back(task)
    return task


def _known_body(value: object) -> object:
    """One message, where pydantic would have one for every member of the union."""
    if type(value) not in BODIES:
        known = " or ".join(spec.__name__ for spec in BODIES)
        raise ValueError(f"Input should be an instance of {known}, not {value!r}")
    return value


@dataclass(frozen=True, config=STRICT)
class TrainSpec:
    """AdamW with linear warmup, cosine decay to zero and clipping (paper section 3, official code).

    Attributes:
        n_steps: optimiser steps.
        batch_size: sequences per step.
        weight_decay: decoupled; not applied to biases and norms.
        n_warmup_steps: steps of linear warmup, counted within ``n_steps``.
        max_grad_norm: gradients are scaled down to this global norm.
        steps_per_evaluation: the test set is measured every so many steps, and after the last. It takes no part in
            equality nor in the run id.
        precision: of matrix products: ``"float32"``; ``"tf32"`` (CUDA), float32 with products rounded to 10 bits; or
            ``"bfloat16"`` between the embeddings. Embeddings, norms, softmax, recurrent states, logits, optimiser and
            evaluation are float32 in all three.

    Raises:
        ValueError: a value is out of range.
    """

    n_steps: AtLeastOne
    batch_size: AtLeastOne
    learning_rate: Annotated[float, Field(gt=0.0)] = 1e-3
    weight_decay: NotNegative = 1e-3
    n_warmup_steps: Annotated[int, Field(ge=0)] = 500
    max_grad_norm: Annotated[float, Field(gt=0.0)] = 1.0
    adam_beta1: Fraction = 0.9
    adam_beta2: Fraction = 0.999
    adam_eps: Annotated[float, Field(gt=0.0)] = 1e-8
    steps_per_evaluation: AtLeastOne = dataclasses.field(default=100, compare=False)
    precision: Precision = "float32"


@dataclass(frozen=True, config=STRICT)
class RunSpec:
    """Everything that determines a run's result on a kind of device.

    Attributes:
        trainable: which parameters train; ``"embeddings"`` makes a random transformer, ``"all"`` a fully trained one.
        seed: draws the initial tensors and the training stream. Test set and splits are the same for every seed.

    Raises:
        ValueError: a value is out of range or of the wrong type, or the task is not registered (``register_task``), or
            could not be made again from the JSON of its fields.
    """

    task: Annotated[Task, AfterValidator(_registered_task)]
    model: Annotated[BodySpec, BeforeValidator(_known_body)]
    training: TrainSpec
    trainable: Trainable = "embeddings"
    seed: Annotated[int, Field(ge=0)] = 0

    @property
    def run_id(self) -> str:
        """Readable parts, then a hash of every field but those that say how a run is watched: equal for equal specs."""
        fields = _fields(self)
        fields["training"] |= UNWATCHED
        return self.id_beginning + _digest(_to_json(fields))

    @property
    def former_run_id(self) -> str:
        """The id by the rule of format versions 1 and 2, whose hash covers ``steps_per_evaluation`` too."""
        return self.id_beginning + _digest(spec_to_json(self))

    @property
    def id_beginning(self) -> str:
        """The readable parts of the run id."""
        regime = self.trainable.replace("+", "-and-")
        return f"{self.task.name}-d{self.model.d_model}-{regime}-seed{self.seed}-"

    def with_seed(self, seed: int) -> RunSpec:
        return dataclasses.replace(self, seed=seed)


def spec_to_json(spec: RunSpec) -> str:
    """Canonical JSON: every field, sorted, nothing derived."""
    return _to_json(_fields(spec))


def _fields(spec: RunSpec) -> dict[str, Any]:
    fields = dataclasses.asdict(spec)
    return fields | {"task": part_fields(spec.task), "model": part_fields(spec.model)}


def _to_json(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, sort_keys=True, indent=2, allow_nan=False)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:RUN_ID_HASH_CHARACTERS]


def spec_from_json(text: str) -> RunSpec:
    """The inverse of ``spec_to_json``.

    Raises:
        UnknownNameError: the task or the body is not registered.
        ValueError: not JSON, an unknown or missing key, or a value out of range.
    """
    fields = json.loads(text, object_pairs_hook=_unique_keys)
    if not isinstance(fields, dict):
        raise ValueError(f"a run spec is a JSON object, not {type(fields).__name__}")
    for part in ("task", "model", "training"):
        if not isinstance(fields.get(part), dict):
            raise ValueError(f"a run spec needs an object under {part!r}, found {fields.get(part)!r}")
    classes = {
        "task": TASKS.named(fields["task"].pop("name", None)),
        "model": _body_named(fields["model"].pop("name", None)),
        "training": TrainSpec,
    }
    return complete(RunSpec, fields | {part: complete(cls, fields[part]) for part, cls in classes.items()})


def _body_named(name: object) -> type[BodySpec]:
    if not isinstance(name, str) or name not in BODY_SPECS:
        raise UnknownNameError("model", name, BODY_SPECS)
    return BODY_SPECS[name]


def _unique_keys(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError(f"a key stands twice among {sorted(key for key, _ in pairs)}")
    return fields
