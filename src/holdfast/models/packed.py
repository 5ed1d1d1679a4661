"""What a weight of four or eight bits looks like from outside: an integer tensor that stands for more values."""

from __future__ import annotations

import logging
import math

from torch import Tensor

# On some processors it asks for another package whenever it is imported, which PEFT does for every adapter.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def is_packed(parameter: Tensor) -> bool:
    """Whether a parameter holds quantised weights."""
    return not (parameter.is_floating_point() or parameter.is_complex())


def values_in(parameter: Tensor) -> int:
    """How many weights a parameter stands for."""
    state = getattr(parameter, "quant_state", None)
    return parameter.numel() if state is None else math.prod(state.shape)
