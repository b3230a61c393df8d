"""rtinterp: train random transformers in their embeddings alone, and open them up.

The public names load on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rtinterp.models.bodies import register_body as register_body
    from rtinterp.models.body import Body as Body
    from rtinterp.models.build import build_model as build_model
    from rtinterp.models.mamba.spec import MambaSpec as MambaSpec
    from rtinterp.models.parametrisations import LowRank as LowRank
    from rtinterp.models.parametrisations import RandomSubspace as RandomSubspace
    from rtinterp.models.parametrisations import ReadSubspace as ReadSubspace
    from rtinterp.models.parametrisations import register_parametrisation as register_parametrisation
    from rtinterp.models.recurrent.spec import RecurrentSpec as RecurrentSpec
    from rtinterp.models.regimes import freeze as freeze
    from rtinterp.models.s4d.spec import S4DSpec as S4DSpec
    from rtinterp.models.transformer.bridge import to_bridge as to_bridge
    from rtinterp.models.transformer.spec import ModelSpec as ModelSpec
    from rtinterp.store.run_store import RunStore as RunStore
    from rtinterp.store.run_store import StoreError as StoreError
    from rtinterp.store.training import train as train
    from rtinterp.tasks import register_task as register_task
    from rtinterp.training.loop import DivergenceError as DivergenceError
    from rtinterp.training.run import Run as Run
    from rtinterp.training.snapshot import Snapshot as Snapshot
    from rtinterp.training.spec import RunSpec as RunSpec
    from rtinterp.training.spec import TrainSpec as TrainSpec

_HOME = {
    "ModelSpec": "rtinterp.models.transformer.spec",
    "RecurrentSpec": "rtinterp.models.recurrent.spec",
    "MambaSpec": "rtinterp.models.mamba.spec",
    "S4DSpec": "rtinterp.models.s4d.spec",
    "Body": "rtinterp.models.body",
    "register_body": "rtinterp.models.bodies",
    "LowRank": "rtinterp.models.parametrisations",
    "RandomSubspace": "rtinterp.models.parametrisations",
    "ReadSubspace": "rtinterp.models.parametrisations",
    "register_parametrisation": "rtinterp.models.parametrisations",
    "build_model": "rtinterp.models.build",
    "to_bridge": "rtinterp.models.transformer.bridge",
    "freeze": "rtinterp.models.regimes",
    "TrainSpec": "rtinterp.training.spec",
    "RunSpec": "rtinterp.training.spec",
    "Run": "rtinterp.training.run",
    "train": "rtinterp.store.training",
    "Snapshot": "rtinterp.training.snapshot",
    "DivergenceError": "rtinterp.training.loop",
    "RunStore": "rtinterp.store.run_store",
    "StoreError": "rtinterp.store.run_store",
    "register_task": "rtinterp.tasks",
}
_SUBPACKAGES = ("analysis", "figures", "models", "papers", "plot", "store", "tasks", "training")

__all__ = [*_HOME, *_SUBPACKAGES]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    if name in _SUBPACKAGES:
        return importlib.import_module(f"rtinterp.{name}")
    raise AttributeError(f"module 'rtinterp' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
