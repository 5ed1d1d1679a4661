"""A model's configuration, refused where its numbers cannot be meant, before anything is built from it."""

from __future__ import annotations

import inspect
from typing import Any

import torch

from holdfast.errors import HoldfastError
from holdfast.models.size import check_size

_PUT_ASIDE = ("gemma3", "kimi_k25", "muse_glimmer", "muse_spark", "paligemma")
"""Families that put another token in the place of image tokens before they look up embeddings, so that the image
token needs no row of its own (transformers 5.23)."""

_NEVER_ALONE = ("idefics", "kosmos-2")
"""Families whose forward does not run without pixels, although its signature would let it (transformers 5.23)."""

_IMAGE_TOKENS = ("image_token_id", "image_token_index")


def read_config(
    place: str,
    name: str,
    *,
    width: int = 2,
    memory: int | None = None,
    trust_remote_code: bool = False,
    bits: int | None = None,
) -> Any:
    """The configuration in a folder or on the Hub.

    Args:
        place: Folder or Hub id.
        name: Of the model, for messages.
        width: Bytes of one weight.
        memory: Bytes that the device has; None where weights are not made.
        trust_remote_code: Let the model's own Python code run.
        bits: Of a weight that is quantised while it is loaded.

    Raises:
        HoldfastError: A model that cannot fit, an unknown dtype, a value of a wrong kind, or a layer that is not there.
    """
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig, PretrainedConfig

    written, _ = PretrainedConfig.get_config_dict(place)
    check_size(written, name, width=width, memory=memory, bits=bits)
    _check_dtype(written, name)
    try:
        config = AutoConfig.from_pretrained(place, trust_remote_code=trust_remote_code)
    except StrictDataclassError as error:
        reason = " ".join(str(error).split())[:200]
        problem = f"config.json of model '{name}' holds a value that it cannot hold ({reason})"
        raise HoldfastError(problem, remedy="correct it, or download it again") from error
    check_size(config, name, width=width, memory=memory, bits=bits)
    _check_feature_layer(config, name)
    return config


def why_not_alone(model: Any) -> str | None:
    """Why a model takes no item without a picture; None where it does, as far as can be told without running it."""
    pixels = inspect.signature(model.forward).parameters.get("pixel_values")
    wanted = pixels is not None and pixels.default is inspect.Parameter.empty
    if not wanted and model.config.model_type not in _NEVER_ALONE:
        return None
    return f"{type(model).__name__} computes nothing without pixels"


def check_generate(model: Any, name: str) -> None:
    """Refuse a model whose answers nobody could ask for, before it is trained.

    Raises:
        HoldfastError: It is BLIP, whose ``generate`` names its end token itself.
    """
    if model.config.model_type == "blip":
        raise HoldfastError(
            f"model '{name}' is a captioner ({type(model).__name__}) whose generate ends where it likes, not where an "
            "answer does",
            remedy="choose a model that continues a chat by transformers' own generate, such as LLaVA or Qwen-VL",
        )


def check_image_token(model: Any, name: str, used: set[int]) -> None:
    """Refuse an image token that the embedding table, which may have been resized, has no row for.

    Args:
        model: With its values; a plan looks nothing up.
        name: Of the model, for the message.
        used: Image tokens of its processor.

    Raises:
        HoldfastError: There is such a token, and the model would look it up.
    """
    config = model.config
    if config.model_type in _PUT_ASIDE:
        return
    weight = getattr(model.get_input_embeddings(), "weight", None)
    if weight is None:
        return
    rows = int(weight.shape[0])
    told = {token for key in _IMAGE_TOKENS if isinstance(token := getattr(config, key, None), int)}
    for token in sorted(told | used):
        if not 0 <= token < rows:
            raise HoldfastError(
                f"the image token {token:,} of model '{name}' is outside its embedding table of {rows:,} rows",
                remedy="check image_token_id in config.json, and that the tokenizer is this model's",
            )


def _check_dtype(written: Any, name: str) -> None:
    for key in ("dtype", "torch_dtype"):
        value = written.get(key)
        if isinstance(value, str) and not isinstance(getattr(torch, value.removeprefix("torch."), None), torch.dtype):
            raise HoldfastError(
                f"config.json of model '{name}' names the unknown dtype '{value[:60]}'",
                remedy="write float32, bfloat16 or float16",
            )
    for value in written.values():
        if isinstance(value, dict):
            _check_dtype(value, name)


def _check_feature_layer(config: Any, name: str) -> None:
    layers = getattr(getattr(config, "vision_config", None), "num_hidden_layers", None)
    wanted = getattr(config, "vision_feature_layer", None)
    if not isinstance(layers, int):
        return
    for layer in wanted if isinstance(wanted, list | tuple) else [wanted]:
        if isinstance(layer, int) and not -layers - 1 <= layer <= layers:  # what goes into the first layer counts too
            raise HoldfastError(
                f"vision_feature_layer of model '{name}' is {layer}, and its vision encoder has {layers} layers",
                remedy=f"write a number from {-layers - 1} to {layers} into config.json",
            )
