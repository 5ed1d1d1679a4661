"""Liger's fused output head and cross-entropy, an optional extra on a GPU that has to prove itself on every batch."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.errors import HoldfastError

TOLERANCE = 2e-2
"""Largest relative deviation of the first token's loss; the kernel multiplies in half precision."""


def require() -> None:
    """Say before step 1 that the kernel cannot run here.

    Raises:
        HoldfastError: No CUDA device, or the package is missing.
    """
    if not torch.cuda.is_available():
        raise HoldfastError("speed.head: liger needs a CUDA GPU", remedy="set speed.head: auto", key="speed.head")
    if find_spec("liger_kernel") is None:
        raise HoldfastError(
            "speed.head: liger needs the package liger-kernel",
            remedy="pip install 'holdfast[liger]', or use auto",
            key="speed.head",
        )


def fused_loss(head: nn.Module, hidden: Tensor, targets: Tensor, model: Any) -> tuple[Tensor, Tensor] | None:
    """Sum of the cross-entropy and which tokens were right; None where the head does more than the kernel.

    Args:
        head: A linear output head.
        hidden: What it gets, ``[tokens, width]``.
        targets: ``[tokens]``.
        model: Whose configuration may ask for a soft cap; other scales are refused.

    Raises:
        HoldfastError: The kernel's loss of the first token is not that of the plain head.
    """
    from liger_kernel.transformers.functional import liger_fused_linear_cross_entropy

    text = model.config.get_text_config()
    scaled = any(getattr(text, name, None) is not None for name in ("logit_scale", "logits_scaling"))
    if scaled or not isinstance(head, nn.Linear):
        return None
    cap = getattr(text, "final_logit_softcapping", None)

    def loss(part: Tensor, wanted: Tensor) -> Any:
        return liger_fused_linear_cross_entropy(
            part.to(head.weight.dtype),
            head.weight,
            wanted,
            head.bias,
            reduction="sum",
            softcap=cap,
            return_predicted_tokens=True,
        )

    plain = head(hidden[:1].detach()).float()
    plain = plain if cap is None else torch.tanh(plain / cap) * cap
    expected = float(torch.nn.functional.cross_entropy(plain, targets[:1]))
    found = float(loss(hidden[:1].detach(), targets[:1]).loss)
    if abs(found - expected) > TOLERANCE * max(1.0, abs(expected)):
        raise HoldfastError(
            f"Liger's loss of one token is {found:.5f} where the plain head gives {expected:.5f}",
            remedy="set speed.head: auto",
        )
    result = loss(hidden, targets)
    return result.loss.float(), result.predicted_tokens == targets
