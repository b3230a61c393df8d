"""What a run is: task, model, training and seed as frozen data, and the id that follows from them."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Set
from typing import Annotated, Any, TypeVar

from jaxtyping import Float
from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator
from torch import Tensor

from rtinterp.models.bodies import BODIES
from rtinterp.models.body import Body, check_can_be_listed
from rtinterp.models.parameters import EMBEDDING_GROUPS, GROUPS, Parameter
from rtinterp.models.parametrisations import PARAMETRISATIONS, Parametrisation
from rtinterp.models.regimes import Trainable, canonical, parse, trained_parameters
from rtinterp.registry import Registry
from rtinterp.strict import strict
from rtinterp.tasks import TASKS, Task
from rtinterp.tasks.base import check_judgement
from rtinterp.training.part_json import check_comes_back, complete, part_fields, stored_fields
from rtinterp.training.train_spec import TrainSpec

RUN_ID_HASH_CHARACTERS = 12
#: What every run id is computed with: how a run is watched does not change it.
UNWATCHED = {"steps_per_evaluation": 100, "kept_steps": "none"}

Part = TypeVar("Part")


def _of(registry: Registry[Any]) -> Callable[[Part], Part]:
    """Refuses what could be trained and saved, but not opened again."""

    def check(part: Part) -> Part:
        registry.check(part)
        check_comes_back(part)
        return part

    return check


@functools.lru_cache
def _trainable_groups(body: Body) -> tuple[str, ...]:
    """Component groups of which a body has parameters that some regime trains."""
    parameters = body.parameters(1, 1)
    known = (*GROUPS, *sorted(body.own_groups))
    undeclared = {parameter.group for parameter in parameters}.difference(known)
    if undeclared:
        raise ValueError(
            f"{type(body).__name__} has parameters of groups that its own_groups lacks: {', '.join(sorted(undeclared))}"
        )
    trainable = {parameter.group for parameter in parameters if parameter.trains}
    return tuple(group for group in known if group in trainable)


@strict
class RunSpec:
    """Everything that determines a run's result on a kind of device.

    Attributes:
        model: what lies between the embeddings.
        trainable: which component groups train, as ``rtinterp.models.regimes`` has them: names joined by "+", or a
            collection of names; kept in canonical form. ``"embeddings"`` makes a random transformer, ``"all"`` a fully
            trained one.
        parametrisation: what trains in place of some tensors; None where the model's tensors train themselves.
        seed: draws the initial tensors and the training stream. Test set and splits are the same for every seed.

    Raises:
        ValueError: a value is out of range or of the wrong type; nothing would train; or the task, the body or the
            parametrisation is not registered (``register_task`` and so on), or could not be made again from the JSON of
            its fields; or the body cannot read sequences as long as the task's.
    """

    task: Annotated[Task, AfterValidator(_of(TASKS)), AfterValidator(check_judgement)]
    model: Annotated[Body, AfterValidator(_of(BODIES)), AfterValidator(check_can_be_listed)]
    training: TrainSpec
    trainable: Trainable = "embeddings"
    seed: Annotated[int, Field(ge=0)] = 0
    parametrisation: Annotated[Parametrisation, AfterValidator(_of(PARAMETRISATIONS))] | None = None

    @property
    def run_id(self) -> str:
        """Readable parts, then a hash of every field but those that say how a run is watched: equal for equal specs."""
        return self.id_beginning + _digest(_to_json(self, UNWATCHED))

    @property
    def former_run_id(self) -> str:
        """The id by the rule of format versions 1 and 2, whose hash covers ``steps_per_evaluation`` too."""
        return self.id_beginning + _digest(_to_json(self, {"kept_steps": "none"}))

    @property
    def id_beginning(self) -> str:
        """The readable parts of the run id."""
        regime = self.trainable.replace("+", "-and-")
        return f"{self.task.name}-d{self.model.d_model}-{regime}-seed{self.seed}-"

    def model_parameters(self) -> tuple[Parameter, ...]:
        """Every parameter of the model."""
        return self.model.parameters(self.task.d_vocab, self.task.n_ctx, self.task.d_vocab_out)

    def parameters(self) -> tuple[Parameter, ...]:
        """All that training holds: the parameters of the model, or leaves in place of some."""
        parameters = self.model_parameters()
        return parameters if self.parametrisation is None else self.parametrisation.parameters(parameters)

    def trained_parameters(self) -> tuple[Parameter, ...]:
        """Those that train."""
        return trained_parameters(self.parameters(), self.trainable)

    def held_back(self, step: int) -> frozenset[str]:
        """The names of what trains, but not yet after ``step`` steps; nothing from the release on."""
        if step >= self.training.release_at:
            return frozenset()
        return frozenset(p.name for p in self.trained_parameters() if p.group not in EMBEDDING_GROUPS)

    def model_tensors(self, held: Mapping[str, Float[Tensor, ...]]) -> Mapping[str, Float[Tensor, ...]]:
        """The tensors of the model, by name, from all that training holds; differentiable."""
        return held if self.parametrisation is None else self.parametrisation.tensors_of(held)

    @field_validator("trainable", mode="before")
    @classmethod
    def _canonical(cls, trainable: object, info: ValidationInfo) -> object:
        body = info.data.get("model")
        if body is None or not isinstance(trainable, str | Set | tuple | list):
            return trainable
        return canonical(trainable, body.own_groups)

    @model_validator(mode="after")
    def _something_trains(self) -> RunSpec:
        self.model.check_can_read(self.task)
        groups = _trainable_groups(self.model)
        if parse(self.trainable, self.model.own_groups).isdisjoint(groups):
            raise ValueError(
                f"trainable={self.trainable!r} trains nothing of this {self.model.label}; it has {', '.join(groups)}"
            )
        if self.parametrisation is not None:
            self.parametrisation.parameters(self.model_parameters())
            trained = {parameter.name for parameter in trained_parameters(self.model_parameters(), self.trainable)}
            frozen = set(self.parametrisation.tensors) - trained
            if frozen:
                raise ValueError(
                    f"trainable={self.trainable!r} does not train {', '.join(sorted(frozen))}; pass tensors="
                )
        return self

    @model_validator(mode="after")
    def _something_is_released(self) -> RunSpec:
        if self.training.release_at and len(self.held_back(0)) in (0, len(self.trained_parameters())):
            raise ValueError(
                f"release_at={self.training.release_at}: trainable={self.trainable!r} needs both embeddings, to train "
                "first, and other groups, to join them"
            )
        return self

    def with_seed(self, seed: int) -> RunSpec:
        return dataclasses.replace(self, seed=seed)


def spec_to_json(spec: RunSpec) -> str:
    """Canonical JSON: every field, sorted, nothing derived."""
    return _to_json(spec, {})


def _to_json(spec: RunSpec, training: Mapping[str, Any]) -> str:
    """The JSON as if the training had these values."""
    fields = dataclasses.asdict(spec)
    fields["training"] = stored_fields(TrainSpec, fields["training"] | training)
    parts = {"task": spec.task, "model": spec.model, "parametrisation": spec.parametrisation}
    del fields["parametrisation"]
    fields |= {name: part_fields(part) for name, part in parts.items() if part is not None}
    return json.dumps(fields, sort_keys=True, indent=2, allow_nan=False)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:RUN_ID_HASH_CHARACTERS]


def spec_from_json(text: str) -> RunSpec:
    """The inverse of ``spec_to_json``.

    Raises:
        UnknownNameError: the task, the body or the parametrisation is not registered.
        ValueError: not JSON, an unknown or missing key, or a value out of range.
    """
    fields = json.loads(text, object_pairs_hook=_unique_keys)
    if not isinstance(fields, dict):
        raise ValueError(f"a run spec is a JSON object, not {type(fields).__name__}")
    registries = {"task": TASKS, "model": BODIES}
    if "parametrisation" in fields:
        registries["parametrisation"] = PARAMETRISATIONS
    for part in (*registries, "training"):
        if not isinstance(fields.get(part), dict):
            raise ValueError(f"a run spec needs an object under {part!r}, found {fields.get(part)!r}")
    classes = {part: registry.named(fields[part].pop("name", None)) for part, registry in registries.items()}
    classes["training"] = TrainSpec
    made = {part: complete(cls, fields[part]) for part, cls in classes.items()}
    return complete(RunSpec, {"parametrisation": None, **fields, **made})


def _unique_keys(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError(f"a key stands twice among {sorted(key for key, _ in pairs)}")
    return fields
