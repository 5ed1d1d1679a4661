"""Training written out plainly: what a method's own run is compared with, step for step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from holdfast.methods.contract import Method
from holdfast.models.loading import Loaded
from holdfast.training.batches import Stream
from holdfast.training.loss import mean_loss
from tests.support.methods import Trained, examples, fresh, logits, run

STEPS, LR = 3, 1e-2


def plain_run(folder: Path, tune: dict[str, Any], *, steps: int = STEPS, keep: Any = ()) -> Trained:
    """A method's own run without decay, clipping or schedule."""
    return run(folder, tune, steps=steps, keep=keep, weight_decay=0.0, clip=None, schedule="constant", warmup=0.0)


def start_of(folder: Path, tune: dict[str, Any]) -> dict[str, Tensor]:
    """The trainable tensors of a method before step 1, by name; the run of the same seed begins with the same."""
    (component,) = tune
    trained = run(folder, tune, steps=0)
    method: Method = trained.recipe.methods[component]
    return {name: tensor.detach().clone() for name, tensor in method.named_trainable().items()}


def by_hand(
    folder: Path,
    tensors: Mapping[str, Tensor],
    wire: Callable[[Loaded, dict[str, Tensor]], Any],
    *,
    steps: int = STEPS,
    lr: float = LR,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Train ``tensors`` by AdamW on the first batches of a run.

    Args:
        folder: The model.
        tensors: Where training starts.
        wire: Builds the formula into a fresh model, in terms of the tensors it is given.
        steps: How many.
        lr: Constant.

    Returns:
        The model's logits afterwards, and the trained tensors.
    """
    loaded = fresh(folder)
    loaded.model.requires_grad_(False)
    own = {name: tensor.clone().requires_grad_(True) for name, tensor in tensors.items()}
    wire(loaded, own)
    return by_steps(loaded, own.values(), steps=steps, lr=lr), own


def by_steps(loaded: Loaded, tensors: Iterable[Tensor], *, steps: int = STEPS, lr: float = LR) -> Tensor:
    """AdamW on the first batches of a run; the model's logits afterwards."""
    optimizer = torch.optim.AdamW(list(tensors), lr=lr, weight_decay=0.0)
    stream = Stream(examples(), 4, 1, 0)
    for step in range(steps):
        loaded.model.train()
        mean_loss(loaded.model, loaded.chat.encode(next(stream.step(step)), with_answers=True)).backward()
        optimizer.step()
        optimizer.zero_grad()
    return logits(loaded)
