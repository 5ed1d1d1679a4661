"""What a weight of four or eight bits looks like from outside: an integer tensor that stands for more values."""

from __future__ import annotations

import logging
import math

from torch import Tensor, nn

# On some processors it asks for another package whenever it is imported, which PEFT does for every adapter.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def is_packed(parameter: Tensor) -> bool:
    """Whether a parameter holds quantised weights."""
    return not (parameter.is_floating_point() or parameter.is_complex())


def values_in(parameter: Tensor) -> int:
    """How many weights a parameter stands for."""
    state = getattr(parameter, "quant_state", None)
    return parameter.numel() * in_one(parameter) if state is None else math.prod(state.shape)


WORDS = "qweight"
"""What layers of GPTQ and AWQ call their integers, each of which holds several weights."""

_IN_ONE = "_holdfast_in_one"


def in_one(parameter: Tensor) -> int:
    """How many weights one element of a parameter stands for, where the layer's class says nothing of it."""
    return int(getattr(parameter, _IN_ONE, 1))


def show_words(model: nn.Module) -> None:
    """Make the packed weights of GPTQ and AWQ layers, which stand in buffers, parameters that do not train.

    What belongs to a component, how many weights it has and in how many bits is read off parameters.
    """
    for module in model.modules():
        words, bits = module._buffers.get(WORDS), getattr(module, "bits", None)
        if words is None or not isinstance(bits, int):
            continue
        del module._buffers[WORDS]
        parameter = nn.Parameter(words, requires_grad=False)
        setattr(parameter, _IN_ONE, 8 * words.element_size() // bits)
        module.register_parameter(WORDS, parameter)


def holds_words(module: nn.Module) -> bool:
    """Whether a module is a linear layer of GPTQ or AWQ whose packed weights are shown."""
    return WORDS in module._parameters and hasattr(module, "in_features")
