"""What one process has of a recipe in training, whole tensors or parts of them, and how a step is made of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from holdfast import ranks

if TYPE_CHECKING:
    from accelerate import Accelerator


class Shards:
    """What this process has of the tensors that train, while some are divided; nothing is where it is alone.

    While it lasts, the very parameters that anatomy and methods know hold this process's rows: optimizer, clipping and
    methods go on with what they hold. What the model computes with is gathered block by block from the same memory.

    Attributes:
        sizes: Of each trained tensor that is divided, the length of every process's part along the first axis.
        reached: Trained tensors whose gradients have come and gone already.
    """

    def __init__(self) -> None:
        self.ranks = ranks.here()
        self.sizes: dict[Tensor, list[int]] = {}
        self.shapes: dict[Tensor, torch.Size] = {}
        self.reached: set[Tensor] = set()

    @property
    def all_save(self) -> bool:
        """Whether a checkpoint needs what other processes have."""
        return bool(self.sizes)

    def whole(self, parameter: nn.Parameter, tensor: Tensor) -> Tensor:
        """A trained tensor, or what the optimizer keeps for it, with the parts of all processes; all must ask."""
        if parameter not in self.sizes or not tensor.ndim:
            return tensor
        return self.ranks.joined(tensor, self.sizes[parameter])

    def own(self, parameter: Tensor, tensor: Tensor) -> Tensor:
        """This process's part of what the optimizer keeps for a trained tensor."""
        if parameter not in self.sizes or tensor.shape != self.shapes[parameter]:
            return tensor
        sizes = self.sizes[parameter]
        begin = sum(sizes[: self.ranks.rank])
        return tensor[begin : begin + sizes[self.ranks.rank]].to(parameter.device, copy=True)

    def kept(self, parameter: nn.Parameter, optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
        """What the optimizer keeps for a trained tensor, with the parts of all processes; all must ask."""
        for key, value in optimizer.state.get(parameter, {}).items():
            yield key, self.whole(parameter, value if isinstance(value, Tensor) else torch.tensor(value))

    def undivided(self, trainable: Mapping[str, nn.Parameter]) -> dict[str, nn.Parameter]:
        """The trained tensors that every process has in whole."""
        return {name: parameter for name, parameter in trainable.items() if parameter not in self.sizes}

    def most(self, count: int) -> int:
        """The largest of all processes' counts: of passes, which all must make, for each gathers from all."""
        return max(self.ranks.all(count)) if ranks.sharded() else count

    @contextmanager
    def summing(self, passes: int) -> Iterator[None]:
        """Around the ``passes`` backward passes of a step."""
        yield

    def backward(self, accelerator: Accelerator, loss: Tensor) -> None:
        """Add the gradient of one pass."""
        accelerator.backward(loss)

    def add_up(self, trainable: Mapping[str, nn.Parameter]) -> None:
        """Put the sums over all processes in the place of gradients, where they are not there already."""
        self.ranks.add_up_gradients(list(self.undivided(trainable).values()))

    def clip(self, accelerator: Accelerator, parameters: list[nn.Parameter], limit: float) -> float:
        """Scale gradients to a norm of at most ``limit``; returns the norm of them all before."""
        if not self.sizes:
            return float(accelerator.clip_grad_norm_(parameters, limit) or 0.0)
        norms = torch.nn.utils.get_total_norm
        parts = [p.grad for p in parameters if p.grad is not None and p in self.sizes]
        rest = [p.grad for p in parameters if p.grad is not None and p not in self.sizes]
        squares = self.ranks.total(float(norms(parts)) ** 2 if parts else 0.0)[0]
        total = torch.tensor((squares + (float(norms(rest)) ** 2 if rest else 0.0)) ** 0.5)
        torch.nn.utils.clip_grads_with_norm_(parameters, limit, total)
        return float(total)

    def move(self, optimizer: torch.optim.Optimizer, norm: float) -> float:
        """The optimizer's step; returns the norm of the gradients before they were clipped."""
        optimizer.step()
        return norm
