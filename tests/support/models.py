"""Models of all families, built once a session; whoever changes one puts it back or takes a fresh one."""

from __future__ import annotations

import functools
from typing import Any

from holdfast.models.anatomy import Anatomy, resolve_anatomy
from tests.support.families import build


@functools.cache
def model(name: str) -> Any:
    """The shared model of a family, all parameters frozen."""
    made = build(name)
    made.requires_grad_(False)
    return made


def anatomy(name: str) -> Anatomy:
    """Its anatomy."""
    return resolve_anatomy(model(name))
