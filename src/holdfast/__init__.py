"""Holdfast specialises multimodal LLMs for a task without losing what they know, and proves it.

    run = holdfast.tune("recipe.yaml", out="runs/first")
    holdfast.compare("runs/first/base", "runs/first").sentences()

Names are imported on first use, so that ``import holdfast`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from holdfast.machine import ask_for_same_bits

if TYPE_CHECKING:
    from holdfast.api import compare, evaluate, load, tune
    from holdfast.errors import HoldfastError

ask_for_same_bits()  # here, because nothing of ours can import torch before this line

__version__ = "0.1.0"
__all__ = ["HoldfastError", "__version__", "compare", "evaluate", "load", "tune"]

_HOMES = {
    "HoldfastError": "holdfast.errors",
    "compare": "holdfast.api",
    "evaluate": "holdfast.api",
    "load": "holdfast.api",
    "tune": "holdfast.api",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'holdfast' has no attribute '{name}'")
