"""What reaches chosen layers in a few examples: sums over tokens, on the CPU."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.methods.contract import Batch, Context, Pool


class Inputs:
    """Sums over the tokens that reach each layer.

    Attributes:
        squares: ``[in, in]`` a layer, of ``x x^T``.
        sums: ``[in]`` a layer, of ``x``.
        rows: Tokens a layer.
    """

    def __init__(self, layers: Mapping[str, nn.Linear]) -> None:
        self.layers = layers
        self.squares = {name: torch.zeros(layer.in_features, layer.in_features) for name, layer in layers.items()}
        self.sums = {name: torch.zeros(layer.in_features) for name, layer in layers.items()}
        self.rows = dict.fromkeys(layers, 0)
        self.labels: Tensor | None = None

    def look(self, context: Context, owner: str, *, samples: int, of: Pool, answers: bool = False) -> None:
        """Run the model on examples, one by one.

        Args:
            context: Of the method that attaches.
            owner: Who asks, for the message.
            samples: At most so many.
            of: Which examples.
            answers: Only tokens that are supervised, in layers that see the tokens of the answer.

        Raises:
            HoldfastError: There are no such examples.
        """
        self.hear(context.look(owner, samples, of=of, size=1), context, answers=answers)

    @torch.no_grad()
    def hear(self, batches: Iterable[Batch], context: Context, *, answers: bool = False) -> None:
        """Run the model on these batches; see :meth:`look`."""
        hooks = [layer.register_forward_pre_hook(self._listen(name)) for name, layer in self.layers.items()]
        try:
            for batch in batches:
                self.labels = getattr(batch, "labels", None) if answers else None
                context.measure(batch)
        finally:
            for hook in hooks:
                hook.remove()

    def _listen(self, name: str) -> Any:
        def hear(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
            x: Tensor = inputs[0].detach()
            if self.labels is not None and self.labels.shape == x.shape[:-1]:
                x = x[self.labels >= 0]
            x = x.reshape(-1, x.shape[-1]).float().cpu()
            self.squares[name] += x.T @ x
            self.sums[name] += x.sum(0)
            self.rows[name] += len(x)

        return hear

    def mean_square(self, name: str) -> Tensor:
        """The mean of ``x x^T`` over what reaches a layer, ``[in, in]``."""
        return self.squares[name] / max(self.rows[name], 1)

    def centred(self, name: str) -> Tensor:
        """The covariance of what reaches a layer, ``[in, in]``."""
        count = max(self.rows[name], 1)
        mean = self.sums[name] / count
        return self.squares[name] / count - mean[:, None] * mean
