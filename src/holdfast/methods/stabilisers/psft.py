"""PSFT (arXiv 2508.17784): no step may carry a token's probability far from where it was a few steps ago."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn

from holdfast.methods.contract import Context, Method, Options, Seen
from holdfast.methods.stabilisers.base import Stabiliser, StabiliserCard, whole_tensors


class Trust(Options):
    """How wide the region of trust is, and how often its centre moves."""

    source = "zwhong714/PSFT (run_psft.sh: batches of 256 in steps of 32)"
    high: float = Field(default=0.28, ge=0, description="how far above 1 a ratio still counts")
    every: int = Field(default=8, gt=1, description="optimizer steps between two centres")


class Psft(Stabiliser):
    """In place of ``-log p(y)`` the loss ``-min(r, 1 + high)`` of every answer token, with ``r = p(y) / p_old(y)`` and
    ``p_old`` the model of the last multiple of ``every`` steps.

    The clipped objective of PPO with an advantage of one, for which its lower bound never counts: a token that has
    risen by ``high`` is pushed no more. Costs a copy of the trained values, and a forward pass a batch.
    """

    card = StabiliserCard(
        name="psft",
        family="loss",
        summary="a token whose probability has risen enough is pushed no more",
        paper="arXiv 2508.17784",
        year=2025,
        official_code="zwhong714/PSFT",
        checked_against="a loop with a copied model",
    )
    Settings = Trust
    wants_logits = True

    def check(self, methods: Mapping[str, Method]) -> None:
        self.model = next(iter(methods.values())).component.model
        self.trained = whole_tensors(self.card.name, methods, "goes back to earlier values")

    def begin(self, methods: Mapping[str, Method], context: Context) -> None:
        self.old = [tensor.detach().clone() for tensor in self.trained]

    def after_step(self, step: int, trainable: Mapping[str, nn.Parameter]) -> None:
        if (step + 1) % self.options.every == 0:
            self.old = [tensor.detach().clone() for tensor in self.trained]

    def batch_penalty(self, seen: Seen) -> Tensor | None:
        with torch.no_grad():
            before = seen.losses(self._earlier(seen))
        losses = seen.losses(seen.logits)
        ratio = (before - losses).exp()
        return -ratio.clamp(max=1 + self.options.high).sum() - losses.sum()

    def _earlier(self, seen: Seen) -> Tensor:
        """What the model said with the values of the centre."""
        now, kind = [tensor.data for tensor in self.trained], seen.logits.device.type
        self.model.eval()
        try:
            for tensor, values in zip(self.trained, self.old, strict=True):
                tensor.data = values
            # Autocast remembers converted weights, and these are not the weights it remembers.
            with torch.autocast(kind, enabled=torch.is_autocast_enabled(kind), cache_enabled=False):
                return seen.again()
        finally:
            self.model.train()
            for tensor, values in zip(self.trained, now, strict=True):
                tensor.data = values

    def state(self) -> dict[str, Tensor]:
        return {f"old.{place}": values for place, values in enumerate(self.old)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        self.old = [state[f"old.{place}"].to(tensor.device) for place, tensor in enumerate(self.trained)]
