"""What a stabiliser may do: add to the loss, turn the gradient, or add to the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from holdfast.data.examples import Example
from holdfast.errors import HoldfastError
from holdfast.methods.contract import Card, Context, Method, Options


class Stabiliser:
    """A term or rule on top of any method so that general ability stays."""

    card: ClassVar[Card]
    Settings: ClassVar[type[Options]] = Options

    def __init__(self, options: Options) -> None:
        self.options: Any = options

    def begin(self, methods: Mapping[str, Method], context: Context) -> None:
        """Called once after every method is attached.

        Raises:
            HoldfastError: The stabiliser does not fit the recipe, or lacks data; the reason is given.
        """

    def penalty(self, step: int) -> Tensor | None:
        """A term added to the loss of every optimizer step, or nothing."""
        return None

    def batch_penalty(self, logits: Tensor, targets: Tensor, base_logits: Callable[[], Tensor]) -> Tensor | None:
        """A term of one batch, summed over its answer tokens and scaled as the answer loss is, or nothing.

        Args:
            logits: ``[batch, places, vocabulary]``.
            targets: ``[batch, places]``; negative where there is no answer token.
            base_logits: Gives the untouched base's logits at the same places, for the price of a forward pass.
        """
        return None

    def before_step(self, step: int, trainable: Mapping[str, nn.Parameter]) -> None:
        """After the gradients are complete and clipped, before any method's ``before_step``."""

    def mix(self, examples: Sequence[Example], sources: Sequence[Example], seed: int) -> list[Example]:
        """The training examples, possibly with others among them."""
        return list(examples)


def added(terms: Sequence[Tensor]) -> Tensor:
    """The sum of scalars, which may stand on several devices."""
    total = terms[0]
    for term in terms[1:]:
        total = total + term.to(total.device)
    return total


def trained_weights(owner: str, methods: Mapping[str, Method]) -> list[Method]:
    """The methods that move base weights, which penalties on distance need.

    Raises:
        HoldfastError: None does.
    """
    found = [method for method in methods.values() if method.anchors()]
    if not found:
        raise HoldfastError(
            f"stabiliser '{owner}' pulls trained base weights back, and this recipe trains none",
            remedy="use it with a selective method",
        )
    return found
