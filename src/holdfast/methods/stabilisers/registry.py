"""Every stabiliser by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.errors import HoldfastError, nearest
from holdfast.methods.registry import check_options
from holdfast.methods.stabilisers.a_gem import AGem
from holdfast.methods.stabilisers.base import Stabiliser
from holdfast.methods.stabilisers.distillation import Distillation
from holdfast.methods.stabilisers.ewc import Ewc
from holdfast.methods.stabilisers.l2_sp import L1SP, L2SP
from holdfast.methods.stabilisers.replay import Replay

STABILISERS: dict[str, type[Stabiliser]] = {kind.name: kind for kind in (L2SP, L1SP, Ewc, Distillation, Replay, AGem)}


def make_stabiliser(name: str, options: Mapping[str, Any]) -> Stabiliser:
    """The stabiliser of that name with checked options.

    Raises:
        HoldfastError: Unknown name or option.
    """
    if name not in STABILISERS:
        raise HoldfastError(f"unknown stabiliser '{name}'", remedy=nearest(name, STABILISERS))
    kind = STABILISERS[name]
    return kind(check_options(kind.Settings, options, f"stabiliser '{name}'"))
