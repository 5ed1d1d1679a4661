"""A model without values, and methods attached to it: everything is counted, nothing is stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Context, Method
from holdfast.methods.recipe import Recipe
from holdfast.methods.selective.dense import Dense
from holdfast.methods.selective.sparse import Sparse
from holdfast.models.anatomy import Anatomy, Component, resolve_anatomy
from holdfast.models.shapes import model_config
from holdfast.planning.counts import count_selected


@dataclass(frozen=True)
class Sketch:
    """A model on the meta device: shapes and dtypes, no values."""

    name: str
    config: Any
    model: nn.Module
    anatomy: Anatomy


def sketch_model(name: str, dtype: torch.dtype, *, trust_remote_code: bool = False) -> Sketch:
    """Build ``name`` on the meta device.

    Args:
        name: As for :func:`holdfast.models.shapes.model_config`.
        dtype: Of the weights.
        trust_remote_code: Let the model's own Python code run.

    Raises:
        HoldfastError: Unknown model, not an image-text-to-text model, or a configuration that does not fit together.
    """
    from transformers import AutoModelForImageTextToText

    config = model_config(name, trust_remote_code=trust_remote_code)
    try:
        with torch.device("meta"):
            model = AutoModelForImageTextToText.from_config(config, dtype=dtype, trust_remote_code=trust_remote_code)
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, ImportError, OSError) as error:
        text = " ".join(str(error).split())[:200]
        raise HoldfastError(
            f"no image-text-to-text model can be built from the configuration of '{name}' ({text})",
            remedy="choose a model such as LLaVA or Qwen-VL",
        ) from error
    model.requires_grad_(False)
    return Sketch(name, config, model, resolve_anatomy(model))


def attach_recipe(recipe: Recipe, sketch: Sketch) -> None:
    """Attach every method as training would, as far as shapes go.

    Raises:
        HoldfastError: A component is empty, or a method cannot work on it.
    """
    for position, (component, method) in enumerate(recipe.methods.items()):
        part = sketch.anatomy.component(component)
        if method.card.name != "frozen" and not part.parameters:
            raise HoldfastError(f"the model has no parameters in component '{component}'", remedy="leave it frozen")
        attach_on_meta(method, part, torch.Generator().manual_seed(position))


def attach_on_meta(method: Method, component: Component, generator: torch.Generator) -> None:
    """Attach one method to a component without values.

    Which entries a mask selects depends on values and on data, how many does not, see
    :mod:`holdfast.planning.counts`. Copies that a method keeps beside the trained tensors are not made.

    Raises:
        HoldfastError: The method cannot work on this component, or needs values to say what it trains.
    """
    if isinstance(method, Sparse):
        method.component = component
        method.selected = count_selected(method, component)  # type: ignore[assignment]
    elif isinstance(method, Dense) and method.card.name != "frozen":
        method.component = component
        _train(method, method.choose(component, Context(generator)))
    else:
        try:
            # Without a generator nothing is drawn on the CPU, and without values there is nothing to draw.
            with torch.device("meta"):
                method.attach(component, Context(None))  # type: ignore[arg-type]
        except (RuntimeError, NotImplementedError) as error:
            raise HoldfastError(
                f"method '{method.card.name}' reads weights when it attaches, so it cannot be planned from shapes",
                remedy="the ledger of holdfast tune counts it before step 1",
            ) from error


def _train(method: Dense, chosen: dict[str, nn.Parameter]) -> None:
    if not chosen:
        raise HoldfastError(
            f"method '{method.card.name}' finds nothing to train in component '{method.component.name}'",
            remedy="choose another component or method",
        )
    method.chosen, method.base = chosen, {}
    for parameter in chosen.values():
        # As in training: the trained copy of a half-precision weight is float32.
        parameter.data = parameter.data.float()
        parameter.requires_grad_(True)
