"""What was shown on a model's numbers once need not be shown again while the model is built as it was."""

from __future__ import annotations

import hashlib
from weakref import WeakKeyDictionary

import torch
from torch import nn

_VERIFIED: WeakKeyDictionary[nn.Module, set[str]] = WeakKeyDictionary()


def is_verified(model: nn.Module, what: str) -> bool:
    """Whether ``what`` was shown on this model with the modules, hooks and precision that it has now.

    That rows may be shared is a matter of how a model computes, not of its weights.
    """
    return f"{what} {_structure(model)}" in _VERIFIED.get(model, ())


def mark_verified(model: nn.Module, what: str) -> None:
    """``what`` was shown on this model as it is built now."""
    _VERIFIED.setdefault(model, set()).add(f"{what} {_structure(model)}")


def _structure(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, module in model.named_modules():
        kind = type(module)
        hooks = len(module._forward_hooks), len(module._forward_pre_hooks), "forward" in vars(module)
        digest.update(f"{name} {kind.__module__}.{kind.__qualname__} {hooks}\n".encode())
    first = next(model.parameters())
    config = getattr(model, "config", None)
    attention = getattr(config.get_text_config(), "_attn_implementation", None) if config is not None else None
    digest.update(f"{first.dtype} {first.device.type} {attention}".encode())
    digest.update(str(torch.is_autocast_enabled(first.device.type)).encode())
    return digest.hexdigest()
