"""Importing stays cheap: torch and transformer_lens load only where they are used."""

from __future__ import annotations

import pytest
from model_references import python

import rtinterp

TRAIN_SAVE_AND_LIST = """
import sys, tempfile
import rtinterp, rtinterp.store.training, rtinterp.store
from rtinterp.tasks import ModularAddition
spec = rtinterp.RunSpec(ModularAddition(p=5), rtinterp.ModelSpec(8), rtinterp.TrainSpec(n_steps=1, batch_size=2))
with tempfile.TemporaryDirectory() as folder:
    store = rtinterp.RunStore(folder)
    store.save(rtinterp.train(spec, progress=False))
    assert store.run_ids() == [spec.run_id] == store.table()["run_id"].to_list()
    assert store.load(spec.run_id).spec == spec
"""


#: Prints nothing but what follows it.
HELP = """
import contextlib, io, sys
from rtinterp.cli import main
with contextlib.redirect_stdout(io.StringIO()) as told, contextlib.suppress(SystemExit):
    main(["--help"])
assert "commands:" in told.getvalue()
"""
SWEEP_HELP = HELP.replace('["--help"]', '["sweep", "--help"]').replace("commands:", "--slurm.partition")


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import sys, rtinterp; dir(rtinterp)", ["torch", "polars", "transformer_lens"]),
        (TRAIN_SAVE_AND_LIST, ["transformer_lens", "transformers"]),
        (HELP, ["torch", "polars", "joblib", "distributed", "ray", "submitit"]),
        (SWEEP_HELP, ["joblib", "distributed", "ray", "submitit", "transformer_lens"]),
        (TRAIN_SAVE_AND_LIST.replace("ModelSpec", "RecurrentSpec"), ["transformer_lens", "transformers"]),
    ],
    ids=["import", "train, save and list", "help", "help on sweeps", "train a recurrent model, save and list"],
)
def test_heavy_packages_are_not_imported(code: str, absent: list[str]) -> None:
    assert python(f"{code}\nprint([name for name in {absent} if name in sys.modules])") == "[]"


def test_public_names_resolve() -> None:
    for name in (
        "ModelSpec",
        "RecurrentSpec",
        "build_model",
        "freeze",
        "TrainSpec",
        "RunSpec",
        "Run",
        "train",
        "RunStore",
    ):
        assert name in dir(rtinterp)
        assert getattr(rtinterp, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = rtinterp.trian
