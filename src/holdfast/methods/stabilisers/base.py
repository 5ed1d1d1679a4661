"""What a stabiliser may do: add to the loss, turn the gradient, or add to the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from holdfast.data.examples import Example
from holdfast.errors import HoldfastError
from holdfast.methods.contract import Card, Context, Method, Options, Seen


class Stabiliser:
    """A term or rule on top of any method so that general ability stays."""

    card: ClassVar[Card]
    Settings: ClassVar[type[Options]] = Options
    wants_logits: ClassVar[bool] = False
    """Whether :meth:`batch_penalty` looks at what the model says."""
    held: list[Method] | None = None
    """Of a stabiliser that holds some methods' changes and not others': those it holds, once it has begun."""

    def __init__(self, options: Options) -> None:
        self.options: Any = options

    def begin(self, methods: Mapping[str, Method], context: Context) -> None:
        """Called once after every method is attached.

        Raises:
            HoldfastError: The stabiliser does not fit the recipe, or lacks data; the reason is given.
        """

    def leaves_out(self, method: Method) -> bool:
        """Whether an attached method's changes are none of those that it holds; the ledger then says so."""
        return self.held is not None and method not in self.held

    def penalty(self, step: int) -> Tensor | None:
        """A term added to the loss of every optimizer step, or nothing."""
        return None

    def batch_penalty(self, seen: Seen) -> Tensor | None:
        """A term of one batch, summed over its answer tokens and scaled as the answer loss is, or nothing; asked for
        where ``wants_logits`` says so.
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


def trained_weights(owner: str, methods: Mapping[str, Method], *, products: bool = False) -> list[Method]:
    """The methods that move base weights, which penalties on distance need.

    Args:
        owner: Who asks, for the message.
        methods: Of the recipe.
        products: Changes that are products of factors will do too.

    Raises:
        HoldfastError: None does.
    """
    found = [method for method in methods.values() if method.anchors() or (products and method.squares())]
    if not found:
        names = ", ".join(sorted(f"'{method.card.name}'" for method in methods.values())) or "nothing"
        raise HoldfastError(
            f"stabiliser '{owner}' pulls trained base weights back, and this recipe trains none ({names})",
            remedy="use it with a selective method, or l2_sp with lora" if not products else "use a selective method",
        )
    return found
