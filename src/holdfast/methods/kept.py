"""Masks over trained tensors that hold once they are drawn: what they leave out is no more."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from holdfast.methods.contract import Artifact, Method


class Kept(Method):
    """Written in front of an engine: checkpoints hold the masks, and taking the method off drops them."""

    kept: Mapping[str, Tensor] = {}
    """By the name of a trained tensor; none yet where it is empty."""

    def state(self) -> dict[str, Tensor]:
        return {name: kept.to(torch.uint8) for name, kept in self.kept.items()}

    def load(self, trainable: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
        super().load(trainable, state)
        own = self.named_trainable()
        self.kept = {name: kept.bool().to(own[name].device) for name, kept in state.items()}

    def detach(self) -> Artifact:
        self.kept = {}
        return super().detach()
