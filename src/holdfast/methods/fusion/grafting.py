"""Grafting: learn which of the tuned values a small graft onto the base needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Context, Options
from holdfast.methods.fusion.base import Fusion, FusionCard, Passes, Piece, Tensors
from holdfast.methods.selective.scores import share, top_overall


class Graft(Options):
    """How small the graft is, and how its mask is learned."""

    source = "abhishekpanigrahi1996/Skill-Localization-by-grafting"
    keep: float = Field(default=0.01, gt=0, le=1, description="share of the largest changes that the graft begins with")
    steps: int = Field(default=10, ge=0, description="of the mask; 0 leaves the largest changes alone")
    batches: int = Field(default=8, gt=0, description="target batches of one step")
    lr: float = Field(default=1e7, gt=0, description="of the mask's logits, by plain gradient steps")
    bias: float = Field(default=10.0, description="subtracted from the logits: the start stays near the first mask")


class Grafting(Fusion):
    """``w0 + m (w - w0)`` with ``m = m0 + (1 - 2 m0) sigmoid(S - bias)`` of the mask ``m0`` of largest changes over all
    tensors; ``S``, uniform at first, goes down the target's loss, and ``m`` is rounded.

    Of the rounded masks after each step, and the first one, that of lowest loss on the same batches stays (the release
    keeps that of best training and validation accuracy). Needs target examples, so it runs in recipes only; holds the
    logits and one gradient beside base and tuned weights.
    """

    card = FusionCard(
        name="grafting",
        family="sparse change",
        summary="a learned mask over the changes, small and rounded",
        paper="arXiv 2302.06600",
        year=2023,
        official_code="abhishekpanigrahi1996/Skill-Localization-by-grafting",
        checked_against="a loop over dense tensors with the mask inside the graph",
    )
    needs_data = True
    Settings = Graft
    mask: Mapping[str, Tensor] | None = None

    def require(self, context: Context) -> None:
        next(context.look("fusion 'grafting'", 1))

    def observe_tuned(self, model: nn.Module, base: Tensors, names: Sequence[str], context: Context | None) -> None:
        if context is None:
            raise HoldfastError("fusion 'grafting' needs target examples, and none were given", remedy="give a target")
        own = dict(model.named_parameters())
        weights = {name: own[name] for name in names}
        changes = {name: (p.detach() - base[name]).float() for name, p in weights.items()}
        count = share(self.options.keep, sum(change.numel() for change in changes.values()))
        first = {name: torch.zeros_like(change) for name, change in changes.items()}
        for name, places in top_overall(((n, c.abs()) for n, c in changes.items()), count).items():
            first[name].view(-1)[places.long().to(first[name].device)] = 1
        logits = {n: torch.rand(c.shape, generator=context.generator).to(c.device) for n, c in changes.items()}
        best = float("inf")
        for step in range(self.options.steps + 1):
            soft = {n: m + (1 - 2 * m) * torch.sigmoid(logits[n] - self.options.bias) for n, m in first.items()}
            hard = {n: m.round() for n, m in soft.items()}
            self._lay(weights, base, changes, hard)
            loss, _ = self._measure({}, context)
            if loss < best:
                best, self.mask = loss, hard
            if step == self.options.steps:
                break
            self._lay(weights, base, changes, soft)
            _, gradients = self._measure(weights, context)
            for n, gradient in gradients.items():
                slope = torch.sigmoid(logits[n] - self.options.bias)
                turned = (1 - 2 * first[n]) * gradient * changes[n] * slope * (1 - slope)
                logits[n] -= self.options.lr * turned

    def _measure(self, weights: Mapping[str, nn.Parameter], context: Context) -> tuple[float, dict[str, Tensor]]:
        """The mean loss over the step's batches, and its gradients."""
        batches = list(context.look("fusion 'grafting'", self.options.batches))
        for p in weights.values():
            p.requires_grad_(True)
        total = 0.0
        with torch.set_grad_enabled(bool(weights)):
            for batch in batches:
                loss = context.measure(batch) / len(batches)
                total += float(loss.detach())
                if weights:
                    loss.backward()
        gradients = {n: p.grad.float() for n, p in weights.items() if p.grad is not None}
        for p in weights.values():
            p.requires_grad_(False)
            p.grad = None
        return total, gradients

    @torch.no_grad()
    def _lay(self, weights: Mapping[str, nn.Parameter], base: Tensors, changes: Tensors, mask: Tensors) -> None:
        for name, weight in weights.items():
            weight.copy_(base[name].float() + mask[name] * changes[name])

    def begin(self, passes: Passes) -> None:
        if self.mask is None:
            raise HoldfastError(
                "fusion 'grafting' looks at training examples, which two folders of weights do not have",
                remedy="write it under fuse: in a recipe",
            )

    def combine(self, piece: Piece, generator: torch.Generator) -> Tensor:
        assert self.mask is not None
        mask = self.mask[piece.name].cpu().reshape(-1)[piece.begin : piece.begin + len(piece.base)]
        return piece.base + mask * piece.changes[0]
