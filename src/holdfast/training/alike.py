"""That several processes begin training with the same values: on a GPU two of them may choose other entries."""

from __future__ import annotations

from torch import Tensor

from holdfast.methods.ledger import content
from holdfast.methods.recipe import Recipe
from holdfast.ranks import here


def start_alike(recipe: Recipe) -> None:
    """Take over what the first process trains and keeps, where this or another one has something else.

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
