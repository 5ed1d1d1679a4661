"""Where image features are made: one call of ``get_image_features`` inside the family's own forward.

The call is not composed here but overheard: the forward runs up to it, with the arguments that the family chooses,
and is then stopped. So no argument can be misspelt or forgotten.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.speed.decision import NotPossible
from holdfast.speed.features.tree import is_output, tensors_of
from holdfast.values import Keywords

FEATURES = "mm_encoder_outputs"
"""The argument of ``forward`` that takes features instead of pixels."""

Inputs = Mapping[str, Tensor]


@dataclass(frozen=True)
class Call:
    """A call of ``get_image_features``.

    Attributes:
        owner: Full name of the module whose method it is; empty for the model itself.
        arguments: By name.
    """

    owner: str
    arguments: Keywords


class _Heard(Exception):  # noqa: N818
    """Stops a forward at the seam; not an error, and caught here."""


def check_forward(model: nn.Module) -> None:
    """Refuse a family whose forward has no place for features; there a misspelt argument is swallowed in silence.

    Raises:
        NotPossible: The argument is absent, or pixels must be given all the same.
    """
    kind = type(model).__name__
    parameters = inspect.signature(type(model).forward).parameters
    if FEATURES not in parameters:
        raise NotPossible(f"the forward of {kind} takes no features in place of pixels")
    if any(p.default is p.empty and name.startswith("pixel_") for name, p in parameters.items()):
        raise NotPossible(f"the forward of {kind} insists on pixels")


def without_pixels(inputs: Inputs) -> dict[str, Tensor]:
    """The part of a batch that goes beside features: tokens, masks, grids and sizes, which are whole numbers."""
    return {key: value for key, value in inputs.items() if not value.is_floating_point()}


def overhear(model: nn.Module, inputs: Inputs) -> Call:
    """The call of ``get_image_features`` that the forward makes on ``inputs``.

    Raises:
        NotPossible: It makes none, or its features depend on the question.
    """
    heard: list[Call] = []

    def stop(owner: str, method: Any, args: tuple[Any, ...], kwargs: Keywords) -> Any:
        heard.append(_named(owner, method, args, kwargs, inputs))
        raise _Heard

    with _around(model, stop), torch.no_grad():
        try:
            model(**{key: value for key, value in inputs.items() if key != "labels"})
        except _Heard:
            return heard[0]
    raise NotPossible("its forward does not make its image features in one place")


def call(model: nn.Module, made: Call) -> Any:
    """The features that a call returns."""
    return getattr(model.get_submodule(made.owner), "get_image_features")(**made.arguments)  # noqa: B009


def consumed(model: nn.Module, inputs: Inputs) -> tuple[str, ...]:
    """The fields of the features that the forward reads, as one plain forward on ``inputs`` shows."""
    read: set[str] = set()

    def watch(owner: str, method: Any, args: tuple[Any, ...], kwargs: Keywords) -> Any:
        return _watched(method(*args, **kwargs), read)

    with _around(model, watch), torch.no_grad():
        model(**{key: value for key, value in inputs.items() if key != "labels"})
    if not read:
        raise NotPossible("its forward reads nothing of its image features")
    return tuple(sorted(read))


def slim(features: Any, read: tuple[str, ...]) -> Any:
    """Features with nothing but the fields that are read.

    Output objects inside them (BLIP-2's vision outputs) are handed to the caller and take no part in the answer.
    """
    kept = {name: getattr(features, name) for name in read}
    return type(features)(**{name: value for name, value in kept.items() if not is_output(value)})


def needs_llm(model: nn.Module, made: Call, llm: Mapping[str, nn.Parameter]) -> bool:
    """Whether features depend on weights of the llm, told by the graph that leads to them."""
    wanted = {id(parameter) for parameter in llm.values() if parameter.is_floating_point()}
    before = [(parameter, parameter.requires_grad) for parameter in model.parameters() if parameter.is_floating_point()]
    try:
        for parameter, _ in before:
            parameter.requires_grad_(id(parameter) in wanted)
        with torch.enable_grad():
            return any(tensor.requires_grad for tensor in tensors_of(call(model, made)))
    finally:
        for parameter, flag in before:
            parameter.requires_grad_(flag)


def _named(owner: str, method: Any, args: tuple[Any, ...], kwargs: Keywords, inputs: Inputs) -> Call:
    signature = inspect.signature(method)
    bound = dict(signature.bind(*args, **kwargs).arguments)
    rest = next((p.name for p in signature.parameters.values() if p.kind is p.VAR_KEYWORD), None)
    others: Keywords = bound.pop(rest, {}) if rest else {}
    words = {id(value) for key, value in inputs.items() if _of_words(key)}
    if any(id(value) in words for value in bound.values()):
        raise NotPossible("its image features depend on the question")
    return Call(owner, bound | {key: value for key, value in others.items() if id(value) not in words})


def _of_words(key: str) -> bool:
    """Whether an input is made of the text. Masks of pixels are not."""
    return key == "attention_mask" or key.startswith("qformer_") or key.endswith(("input_ids", "token_type_ids"))


def _watched(features: Any, read: set[str]) -> Any:
    if not is_output(features):
        raise NotPossible(f"its image features are a {type(features).__name__}, not an output object")
    kind = type(features)
    names = {field.name for field in fields(features)}

    class Watched(kind):  # type: ignore[misc, valid-type]
        def __getattribute__(self, name: str) -> Any:
            if name in names:
                read.add(name)
            return super().__getattribute__(name)

    object.__setattr__(features, "__class__", Watched)
    return features


@contextmanager
def _around(model: nn.Module, handle: Callable[..., Any]) -> Iterator[None]:
    """Let ``handle(owner, method, args, kwargs)`` answer the first ``get_image_features`` that is called."""
    owners = {name: module for name, module in model.named_modules() if hasattr(module, "get_image_features")}
    entered = False

    def instead(owner: str, method: Any) -> Any:
        def answer(*args: Any, **kwargs: Any) -> Any:
            nonlocal entered
            if entered:
                return method(*args, **kwargs)
            entered = True
            return handle(owner, method, args, kwargs)

        return answer

    try:
        for name, module in owners.items():
            vars(module)["get_image_features"] = instead(name, getattr(module, "get_image_features"))  # noqa: B009
        yield
    finally:
        for module in owners.values():
            vars(module).pop("get_image_features", None)
