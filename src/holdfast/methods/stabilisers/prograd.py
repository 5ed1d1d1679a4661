"""ProGrad (arXiv 2205.14865): a step may not go against staying near the base's answers, tensor by tensor."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn

from holdfast.methods.contract import Method, Options, Seen
from holdfast.methods.stabilisers.base import Stabiliser, StabiliserCard, divergence, whole_tensors
from holdfast.ranks import here


class Against(Options):
    """How much of the conflict is taken out, and how soft the answers are."""

    source = "BeierZhu/Prompt-align"
    strength: float = Field(default=1.0, ge=0, le=1, description="lambda: share of the conflicting part taken out")
    temperature: float = Field(default=1.0, gt=0, description="of both models' answers")


class ProGrad(Stabiliser):
    """``g <- g - lambda (g . k) / (k . k) k`` where ``g . k < 0``, for every trained tensor by itself, with ``k`` the
    gradient of ``KL(base || tuned)`` over the step's answer tokens.

    The paper has class probabilities of a prompted CLIP in place of answer tokens. Costs the base's forward pass and a
    second backward pass a batch, and one gradient more in memory. Adam's rescaling comes after it.
    """

    card = StabiliserCard(
        name="prograd",
        family="gradient",
        summary="a step may not go against the gradient of KL to the base",
        paper="arXiv 2205.14865",
        year=2023,
        official_code="BeierZhu/Prompt-align",
        checked_against="two backward passes by hand",
    )
    Settings = Against
    wants_logits = True
    asks_base = True

    def check(self, methods: Mapping[str, Method]) -> None:
        super().check(methods)
        self.methods, self.towards = methods, dict[nn.Parameter, Tensor]()
        whole_tensors(self.card.name, methods, "takes a second gradient")

    def batch_penalty(self, seen: Seen) -> Tensor | None:
        trained = [tensor for method in self.methods.values() for tensor in method.named_trainable().values()]
        distance = divergence(seen.logits, seen.base(), self.options.temperature)
        found = torch.autograd.grad(distance, trained, retain_graph=True, allow_unused=True)
        for tensor, gradient in zip(trained, found, strict=True):
            if gradient is not None:
                before = self.towards.get(tensor)
                self.towards[tensor] = gradient if before is None else before + gradient
        return None

    @torch.no_grad()
    def before_step(self, step: int, trainable: Mapping[str, nn.Parameter]) -> None:
        ranks = here()
        if ranks.world > 1:
            self.towards = {t: self.towards.get(t, torch.zeros_like(t)) for t in trainable.values()}
            ranks.add_up(self.towards.values())
        for tensor in trainable.values():
            towards = self.towards.get(tensor)
            if towards is None or tensor.grad is None:
                continue
            along, length = float((tensor.grad * towards).sum()), float(towards.square().sum())
            if along < 0 < length:
                tensor.grad.sub_(towards, alpha=float(self.options.strength) * along / length)
        self.towards = {}
