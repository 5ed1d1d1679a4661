"""A step that ran out of memory is done again in smaller parts."""

from __future__ import annotations

import torch
from torch import nn

from holdfast.models.memory import give_back


class Randomness:
    """The random state at the beginning of a step, so that a second try draws what the first one drew."""

    def __init__(self) -> None:
        self.cpu = torch.get_rng_state()
        self.cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None

    def restore(self) -> None:
        """Go back to it."""
        torch.set_rng_state(self.cpu)
        if self.cuda is not None:
            torch.cuda.set_rng_state(self.cuda)


def clean_up(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Forget the gradients of the failed try and give its memory back."""
    optimizer.zero_grad(set_to_none=True)
    for parameter in model.parameters():
        parameter.grad = None
    give_back()
