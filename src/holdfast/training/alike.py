"""That several processes begin training with the same values, and still have them when they save."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from holdfast.errors import HoldfastError
from holdfast.methods.ledger import content
from holdfast.methods.recipe import Recipe
from holdfast.ranks import here

TOLERANCE = 1e-3
"""Largest relative difference of a tensor's norm between two processes."""


def start_alike(recipe: Recipe) -> None:
    """Take over what the first process trains and keeps, where this or another one has something else.

    On a GPU two processes that score the same weights may choose other entries.

    Args:
        recipe: Attached, before the optimizer is made.
    """
    ranks = here()
    if ranks.world == 1:
        return
    trainable: dict[str, Tensor] = dict(recipe.named_trainable())
    state = recipe.state()
    digests = {name: content(tensor) for name, tensor in [*trainable.items(), *state.items()]}
    if len({tuple(sorted(one.items())) for one in ranks.all(digests)}) == 1:
        return
    box = [{name: tensor.detach().cpu() for name, tensor in part.items()} for part in (trainable, state)]
    recipe.load(*ranks.same(box))


def still_alike(recipe: Recipe, trainable: Mapping[str, nn.Parameter] | None = None) -> None:
    """Stop where processes have come to other values, as by a rule that looks at one's own share of the examples.

    Rounding is no other value: cards of two makes may add in another order.

    Args:
        recipe: In training.
        trainable: What to compare; default: all that trains. Of tensors that are divided there is nothing to compare.

    Raises:
        HoldfastError: With a tensor that differs from the first process's.
    """
    ranks = here()
    if ranks.world == 1:
        return
    trainable = recipe.named_trainable() if trainable is None else trainable
    own = {name: float(tensor.detach().double().norm()) for name, tensor in trainable.items()}
    first = ranks.same(own)
    apart = [name for name in own if abs(own[name] - first[name]) > TOLERANCE * max(abs(first[name]), 1e-12)]
    if apart:
        names = " and ".join(method.card.name for method in recipe.active.values())
        raise HoldfastError(
            f"process {ranks.rank} has trained '{apart[0]}' to other values than process 0 ({names})",
            remedy="this recipe is for one process; please report it with the configuration",
        )
