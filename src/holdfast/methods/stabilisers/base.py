"""What a stabiliser may do: add to the loss, turn the gradient, or add to the data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn.functional import kl_div

from holdfast.data.examples import Example
from holdfast.errors import HoldfastError
from holdfast.methods.contract import Card, Context, Method, Options, Paradigm, Seen


@dataclass(frozen=True, kw_only=True)
class StabiliserCard(Card):
    """A stabiliser goes with every method."""

    paradigm: Paradigm = "any"


class Stabiliser:
    """A term or rule on top of any method so that general ability stays."""

    card: ClassVar[Card]
    Settings: ClassVar[type[Options]] = Options
    wants_logits: ClassVar[bool] = False
    """Whether :meth:`batch_penalty` looks at what the model says."""
    asks_base: ClassVar[bool] = False
    """Whether it asks what the untouched base says, so that every method must let itself be switched off."""
    needs_sources: ClassVar[bool] = False
    """Whether it looks at training examples of the sources; any other is shown none."""
    wants_pixels: ClassVar[bool] = False
    """Whether it looks at pixels, so that kept features cannot stand in for them."""
    over_shards: ClassVar[bool] = False
    """See :class:`holdfast.methods.contract.Method`."""
    per_token: bool = True
    """Whether it is the same for a token whatever else stands in its row; see :class:`Method`."""
    held: list[Method] | None = None
    """Of a stabiliser that holds some methods' changes and not others': those it holds, once it has checked them."""

    def __init__(self, options: Options) -> None:
        self.options: Any = options

    def check(self, methods: Mapping[str, Method]) -> None:
        """Called once after every method is attached, also by a plan, where weights have shapes and no values.

        Raises:
            HoldfastError: The stabiliser does not fit the recipe; the reason is given.
        """
        for method in methods.values() if self.asks_base else ():
            with method.suspended():
                pass

    def begin(self, methods: Mapping[str, Method], context: Context) -> None:
        """Called once after :meth:`check`, before step 1.

        Raises:
            HoldfastError: The stabiliser lacks data; the reason is given.
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

    def after_step(self, step: int, trainable: Mapping[str, nn.Parameter]) -> None:
        """After the optimizer, and after every method's ``after_step``."""

    def state(self) -> dict[str, Tensor]:
        """What an exact resume needs."""
        return {}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up a checkpoint's tensors after ``begin``."""

    def end(self) -> None:
        """Called once before the methods are taken off: remove whatever was put on the model."""

    def mix(self, examples: Sequence[Example], sources: Sequence[Example], seed: int) -> list[Example]:
        """The training examples, possibly with others among them."""
        return list(examples)


def total(terms: Iterable[Tensor | None]) -> Tensor | None:
    """The sum of the terms that are there, if any is."""
    found = [term for term in terms if term is not None]
    return added(found) if found else None


def added(terms: Sequence[Tensor]) -> Tensor:
    """The sum of scalars, which may stand on several devices."""
    total = terms[0]
    for term in terms[1:]:
        total = total + term.to(total.device)
    return total


def divergence(tuned: Tensor, base: Tensor, heat: float = 1.0) -> Tensor:
    """``KL(base / heat || tuned / heat)`` of logits ``[tokens, vocabulary]``, summed over tokens, in float32."""
    now, then = ((logits.float() / heat).log_softmax(dim=-1) for logits in (tuned, base))
    return kl_div(now, then, reduction="sum", log_target=True)


def whole_tensors(owner: str, methods: Mapping[str, Method], what: str) -> list[nn.Parameter]:
    """The trained tensors, where each is the one that the model computes with.

    Args:
        owner: Who asks, for the message.
        methods: Of the recipe.
        what: It does with them, for the message.

    Raises:
        HoldfastError: A method trains single entries, whose values stand beside the model's tensors.
    """
    for method in methods.values():
        if method.changed_entries():
            name = method.card.name
            raise HoldfastError(
                f"stabiliser '{owner}' {what}, and method '{name}' of single entries has none",
                remedy="use a_gem, or a method that trains whole tensors",
            )
    return [tensor for method in methods.values() for tensor in method.named_trainable().values()]


def held_of(
    methods: Mapping[str, Method], holds: Callable[[Method], object], *, none: str, remedy: str
) -> list[Method]:
    """The methods whose changes a stabiliser holds.

    Args:
        methods: Of the recipe.
        holds: Says of one whether it has such changes.
        none: What to say where none has.
        remedy: What to use instead.

    Raises:
        HoldfastError: No method has any.
    """
    found = [method for method in methods.values() if holds(method)]
    if not found:
        names = ", ".join(sorted(f"'{method.card.name}'" for method in methods.values())) or "nothing"
        raise HoldfastError(f"{none} ({names})", remedy=remedy)
    return found


def trained_weights(owner: str, methods: Mapping[str, Method], *, products: bool = False) -> list[Method]:
    """The methods that move base weights, which penalties on distance need.

    Args:
        owner: Who asks, for the message.
        methods: Of the recipe.
        products: Changes that are products of factors will do too.

    Raises:
        HoldfastError: None does.
    """
    return held_of(
        methods,
        lambda method: method.anchors() or (products and method.squares()),
        none=f"stabiliser '{owner}' pulls trained base weights back, and this recipe trains none",
        remedy="use it with a selective method, or l2_sp with lora" if not products else "use a selective method",
    )
