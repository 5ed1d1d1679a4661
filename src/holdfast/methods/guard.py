"""That taking a recipe off leaves the base as it was: its values, its modules and hooks, and its answers to a probe.

Values alone are not enough: a wrapper or a hook that stays behind changes every answer of a model whose parameters are
untouched, and those answers would be kept as the base's for every later run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Batch
from holdfast.methods.ledger import fingerprint
from holdfast.models.loading import Loaded

GPU_TOLERANCE = 1e-3
"""Largest difference of a logit, over the largest logit, where the same sum may be taken in another order."""


@dataclass(frozen=True)
class Untouched:
    """What the base was before a recipe was attached.

    Attributes:
        values: See :func:`holdfast.methods.ledger.fingerprint`.
        modules: Of every module its class and how many hooks it has.
        probe: One example.
        logits: The base's answer to them, on the CPU.
    """

    values: dict[str, bytes]
    modules: dict[str, str]
    probe: Batch
    logits: Tensor


def look_at(loaded: Loaded, probe: Mapping[str, Tensor]) -> Untouched:
    """Remember the base.

    Args:
        loaded: The model, with nothing attached.
        probe: What the processor made of an example.
    """
    batch = Batch.of(probe).to(loaded.device)
    return Untouched(fingerprint(loaded.anatomy), modules(loaded.model), batch, _logits(loaded.model, batch))


def modules(model: nn.Module) -> dict[str, str]:
    """Every module by name: its class, its hooks, and whether its ``forward`` was replaced."""
    return {
        name: f"{type(module).__qualname__} with {_hooks(module)} hooks"
        + (" and a forward of its own" if "forward" in vars(module) else "")
        for name, module in model.named_modules()
    }


def _hooks(module: nn.Module) -> int:
    """How many, without those by which the library collects outputs: it adds them when it first needs them."""
    hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
    return sum(not str(getattr(hook, "__module__", "")).startswith("transformers.") for hook in hooks)


def starts_elsewhere(before: Untouched, loaded: Loaded) -> bool:
    """Whether an attached method answers the probe otherwise than the base before it has been trained.

    Rounding is no other start: low-rank changes whose second factor is zero may add zeros in another order.
    """
    apart = float((_logits(loaded.model, before.probe) - before.logits).abs().max())
    return apart > GPU_TOLERANCE * float(before.logits.abs().max())


def check_restored(before: Untouched, loaded: Loaded) -> None:
    """Stop if the model is not the base again.

    Raises:
        HoldfastError: With what differs.
    """
    found = _difference(before, loaded)
    if found is not None:
        raise HoldfastError(
            f"the base was not restored after training: {found}",
            remedy="this is a fault of a method or stabiliser; please report it with the configuration",
        )


def _difference(before: Untouched, loaded: Loaded) -> str | None:
    now = modules(loaded.model)
    for name in sorted(now.keys() | before.modules.keys()):
        if now.get(name) != before.modules.get(name):
            return f"module '{name}' was {before.modules.get(name, 'absent')} and is {now.get(name, 'gone')}"
    values = fingerprint(loaded.anatomy)
    for name, value in before.values.items():
        if values.get(name) != value:
            return f"parameter '{name}' has other values"
    logits = _logits(loaded.model, before.probe)
    if loaded.device.type == "cpu":
        return None if torch.equal(logits, before.logits) else "it answers a probe differently"
    limit = GPU_TOLERANCE * float(before.logits.abs().max())
    return None if float((logits - before.logits).abs().max()) <= limit else "it answers a probe differently"


@torch.no_grad()
def _logits(model: nn.Module, batch: Batch) -> Tensor:
    training = model.training
    model.eval()
    try:
        half = any(p.dtype in (torch.float16, torch.bfloat16) for p in model.parameters())
        kind = next(model.parameters()).device.type
        with torch.autocast(kind, torch.bfloat16, enabled=half):
            logits: Tensor = model(**batch.inputs(model)).logits
    finally:
        model.train(training)
    return logits.float().cpu()
