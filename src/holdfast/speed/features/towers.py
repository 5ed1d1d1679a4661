"""The modules that a frozen vision encoder consists of: listened to once, and replaced by what they said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.models.anatomy import Anatomy
from holdfast.speed.decision import NotPossible
from holdfast.speed.features.tree import replaced, tensors_of

Said = dict[str, list[Any]]
"""Full name of a tower -> what it returned, call by call."""


def towers(model: nn.Module, anatomy: Anatomy) -> dict[str, nn.Module]:
    """The largest modules whose parameters all belong to the vision encoder, by full name."""
    vision = {id(parameter) for parameter in anatomy.vision.parameters.values()}
    found: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        if any(name.startswith(f"{outer}.") for outer in found):
            continue
        own = {id(parameter) for parameter in module.parameters()}
        if own and own <= vision:
            found[name] = module
    return found


def inside(model: nn.Module, anatomy: Anatomy) -> bool:
    """Whether parameters of the connector stand inside a vision encoder, so that the two cannot be cut apart."""
    vision = {id(parameter) for parameter in anatomy.vision.parameters.values()}
    connector = {id(parameter) for parameter in anatomy.connector.parameters.values()}
    encoder: Any = getattr(model, "get_encoder")(modality="image")  # noqa: B009 - no attribute of nn.Module
    own = {id(parameter) for parameter in encoder.parameters()}
    return bool(own & vision) and bool(own & connector)


class Listening:
    """What towers returned, as leaves of the graph that leads to the features."""

    def __init__(self) -> None:
        self.said: Said = {}

    def hear(self, name: str, output: Any) -> Any:
        """Note one call; the copy that is handed on lets gradients tell later what was used."""
        known: dict[int, Tensor] = {}

        def leaf(tensor: Tensor) -> Tensor:
            made = known.setdefault(id(tensor), tensor.detach())
            return made.requires_grad_(made.is_floating_point())

        leaves = replaced(output, leaf)
        self.said.setdefault(name, []).append(leaves)
        return replaced(leaves, lambda tensor: tensor)  # families write their results into the object

    def used(self, features: Any) -> Said:
        """What was returned, without the tensors that ``features`` do not depend on.

        Raises:
            NotPossible: No tower was asked, or nothing of what it said reached the features.
        """
        leaves = {id(leaf): leaf for leaf in tensors_of(self.said) if leaf.requires_grad}
        ends = [tensor for tensor in tensors_of(features) if tensor.requires_grad]
        if not leaves or not ends:
            raise NotPossible("its vision encoder is not called as one module")
        ones = [torch.ones_like(tensor) for tensor in ends]
        gradients = torch.autograd.grad(ends, list(leaves.values()), ones, allow_unused=True)
        reached = {key for key, gradient in zip(leaves, gradients, strict=True) if gradient is not None}
        if not reached:
            raise NotPossible("its connector does not start from what the vision encoder returns")
        found: Said = replaced(
            self.said,
            lambda tensor: tensor.detach() if not tensor.requires_grad or id(tensor) in reached else None,
        )
        return found


@contextmanager
def listening(parts: Mapping[str, nn.Module]) -> Iterator[Listening]:
    """Run the towers without a graph of their own and note what they return."""
    heard = Listening()

    def listener(name: str, original: Any) -> Any:
        def forward(*args: Any, **kwargs: Any) -> Any:
            with torch.no_grad():
                output = original(*args, **kwargs)
            return heard.hear(name, output)

        return forward

    with _instead({part: listener(name, part.forward) for name, part in parts.items()}):
        yield heard


@contextmanager
def replaying(model: nn.Module, said: Mapping[str, Sequence[Any]]) -> Iterator[None]:
    """Let towers return what they once said, call by call, without looking at their input."""

    def speaker(outputs: Sequence[Any]) -> Any:
        turn = iter(outputs)
        return lambda *args, **kwargs: next(turn)

    with _instead({model.get_submodule(name): speaker(outputs) for name, outputs in said.items()}):
        yield


@contextmanager
def _instead(forwards: Mapping[nn.Module, Any]) -> Iterator[None]:
    """Give modules another forward for a while; one that was set on the object itself comes back afterwards."""
    before = {module: vars(module).get("forward") for module in forwards}
    try:
        for module, forward in forwards.items():
            vars(module)["forward"] = forward
        yield
    finally:
        for module, original in before.items():
            if original is None:
                del vars(module)["forward"]
            else:
                vars(module)["forward"] = original
