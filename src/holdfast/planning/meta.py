"""A model without values, and methods attached to it: everything is counted, nothing is stored."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from holdfast.errors import HoldfastError, within
from holdfast.methods.recipe import Recipe
from holdfast.models.anatomy import Anatomy, resolve_anatomy
from holdfast.models.shapes import model_config
from holdfast.models.size import check_size


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
    check_size(config, name, width=dtype.itemsize, memory=None)  # nothing is stored, but every layer is built
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
    """Attach every method as training would, as far as shapes go, and ask stabilisers whether they go with that.

    Args:
        recipe: What to attach.
        sketch: The model.

    Raises:
        HoldfastError: A component is empty, a method cannot work on it, or a stabiliser does not fit the recipe.
    """
    for position, (component, method) in enumerate(recipe.methods.items()):
        part = sketch.anatomy.component(component)
        if method.card.name != "frozen" and not part.parameters:
            raise HoldfastError(
                f"the model has no parameters in component '{component}'",
                remedy="leave it frozen",
                key=f"tune.{component}",
            )
        try:
            method.sketch(part, torch.Generator().manual_seed(position))
        except HoldfastError as error:
            error.problem, error.key = f"tune.{component}: {error.problem}", ("tune", component, *error.key)
            raise
    for position, stabiliser in enumerate(recipe.stabilisers):
        # One that reads values finds none here; training asks it again.
        with within("keep", position), suppress(RuntimeError):
            stabiliser.check(recipe.parts)
