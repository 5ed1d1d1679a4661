"""One optimizer for all stages: Muon on the blocks' matrices, AdamW on the rest, warm-up and cosine by step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import nn

Progress = Callable[[int, int, str], None]
"""Called with (step, steps, text) every few steps of a stage."""

MUON_FACTOR = 2.0
"""Muon's rate in multiples of AdamW's; its updates are scaled to AdamW's size."""


class Optimiser:
    """Muon and AdamW with weight decay on matrices, gradient clipping, linear warm-up and a cosine to 2% of the peak.

    Muon (Jordan et al., 2024; torch's own) takes the square-ish matrices inside transformer blocks, where it needs
    about half of AdamW's steps at this size; embeddings, heads, convolutions and vectors are AdamW's. Everything
    depends on the step, nothing on the clock.

    Args:
        named: Names and parameters; those whose name holds ``.layers.`` and that are matrices go to Muon.
        lr: Peak learning rate of AdamW.
        steps: Length of the cosine.
        warmup: Steps of linear warm-up, at most a fifth of all.
    """

    def __init__(self, named: Iterable[tuple[str, nn.Parameter]], *, lr: float, steps: int, warmup: int = 100) -> None:
        trained = [(name, parameter) for name, parameter in named if parameter.requires_grad]
        inner = [parameter for name, parameter in trained if ".layers." in name and parameter.ndim == 2]
        chosen = {id(parameter) for parameter in inner}
        outer = [parameter for _, parameter in trained if id(parameter) not in chosen]
        groups = [
            {"params": [parameter for parameter in outer if parameter.ndim >= 2], "weight_decay": 0.05},
            {"params": [parameter for parameter in outer if parameter.ndim < 2], "weight_decay": 0.0},
        ]
        self.trained = [parameter for _, parameter in trained]
        self.lr, self.steps, self.warmup = lr, steps, min(warmup, max(1, steps // 5))
        self.adamw = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98), fused=True)
        self.muon = None
        if inner:
            self.muon = torch.optim.Muon(inner, lr=lr, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")

    def rate(self, step: int) -> float:
        """AdamW's learning rate at a step, counted from 0."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.lr * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))

    def update(self, loss: torch.Tensor, step: int) -> None:
        """Backward, clip to norm 1, step."""
        loss.backward()
        nn.utils.clip_grad_norm_(self.trained, 1.0)
        for group in self.adamw.param_groups:
            group["lr"] = self.rate(step)
        self.adamw.step()
        self.adamw.zero_grad(set_to_none=True)
        if self.muon is not None:
            for group in self.muon.param_groups:
                group["lr"] = MUON_FACTOR * self.rate(step)
            self.muon.step()
            self.muon.zero_grad(set_to_none=True)
