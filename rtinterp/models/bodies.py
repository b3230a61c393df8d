"""The bodies that a stored run may name: ours, a user's, and those of installed packages."""

from __future__ import annotations

from rtinterp.models.body import Body
from rtinterp.models.mamba.spec import MambaSpec
from rtinterp.models.recurrent.spec import RecurrentSpec
from rtinterp.models.s4d.spec import S4DSpec
from rtinterp.models.transformer.spec import ModelSpec
from rtinterp.registry import Registry

BODIES: Registry[Body] = Registry("body", Body, "rtinterp.bodies")
register_body = BODIES.register

for _body in (ModelSpec, RecurrentSpec, MambaSpec, S4DSpec):
    register_body(_body)
