"""Compare shared rows with separate ones on the model at hand before they are relied on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from holdfast.data.examples import Example
from holdfast.models.head import logits_at
from holdfast.sharing.batcher import Batcher, model_inputs, to_device
from holdfast.sharing.proved import proved, remember
from holdfast.sharing.rows import by_images

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-8}
"""Largest deviation of a logit, as a share of the largest logit; half precision rounds more than that."""

COMPARED = 32
"""Tokens of a branch whose logits are compared, evenly from its first to its last. A wrong mask or position shows in
all that follows it, and all logits of two long answers may be larger than a whole step."""


@torch.no_grad()
def check(batcher: Batcher, examples: Sequence[Example]) -> str | None:
    """The reason why shared rows give other answers than separate rows, or None where they give the same.

    Args:
        batcher: That shares.
        examples: What it is to be used for; the first two about one image are compared.
    """
    chosen = some(examples)
    packed = batcher.pack(chosen)
    if packed is None:
        return "no two examples of a batch show the same image and begin alike"
    loaded = batcher.loaded
    if proved(loaded.model, "shared rows"):
        return None
    plain = batcher.separate(chosen)
    # A row of its own ends with what its branch holds; only there are logits compared, and made.
    counts = torch.tensor([int((packed["owner"] == index).sum()) for index in range(len(chosen))])[:, None]
    behind = plain["attention_mask"].flip(1).cumsum(1).flip(1)  # tokens from here on
    own = (plain["attention_mask"] != 0) & (behind <= counts)
    plain["owner"] = torch.arange(len(chosen))[:, None].expand_as(own).masked_fill(~own, -1)
    training = loaded.model.training
    loaded.model.eval()
    try:
        shared, alone = (_logits(batcher, batch, len(chosen)) for batch in (packed, plain))
    except (RuntimeError, ValueError, TypeError, IndexError, KeyError) as error:
        return f"{type(loaded.model).__name__} does not take shared rows ({' '.join(str(error).split())[:120]})"
    finally:
        loaded.model.train(training)
    worst = max(
        float((one - other).abs().max() / other.abs().max().clamp(min=1e-6))
        for one, other in zip(shared, alone, strict=True)
    )
    allowed = TOLERANCE.get(next(loaded.model.parameters()).dtype, 5e-2)
    if torch.is_autocast_enabled(loaded.device.type):
        allowed = 5e-2
    if worst <= allowed:
        remember(loaded.model, "shared rows")
        return None
    return f"{type(loaded.model).__name__} gives other logits in shared rows (by {worst:.2g} of the largest)"


def some(examples: Sequence[Example]) -> list[Example]:
    """Two questions about one image, the first that has several."""
    pair = next((group[:2] for group in by_images(examples) if len(group) > 1), [])
    return [examples[index] for index in pair]


def _logits(batcher: Batcher, batch: dict[str, Any], count: int) -> list[Tensor]:
    """Each example's logits in its own branch ``[at most COMPARED, vocabulary]``."""
    model = batcher.loaded.model
    owner = batch["owner"]
    places = torch.zeros_like(owner, dtype=torch.bool)
    for index in range(count):
        row, column = torch.nonzero(owner == index, as_tuple=True)
        few = torch.linspace(0, len(row) - 1, min(len(row), COMPARED)).round().long()
        places[row[few], column[few]] = True
    logits = logits_at(model, model_inputs(model, to_device(batch, batcher.loaded.device)), places).float().cpu()
    return [logits[owner[places] == index] for index in range(count)]
