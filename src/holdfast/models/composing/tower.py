"""The vision encoder of a model that is put together: its weights, its features and how it is shown a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from holdfast.errors import HoldfastError
from holdfast.models.composing.place import explained, part_place
from holdfast.models.configuration import read_config


@dataclass(frozen=True)
class Tower:
    """A vision encoder, tried on one picture.

    Attributes:
        model: As transformers makes it from its configuration alone, which is how LLaVA makes its tower.
        image_size: Height and width of the pictures it is shown.
        patch_size: Height and width of a patch.
        layer: Whose output is read, as in ``hidden_states``; negative from the end.
        extra: Tokens that stand before the patches: a class token, registers.
        images: The image processor it came with, of which only means, deviations and interpolation are taken.
    """

    model: Any
    image_size: int
    patch_size: int
    layer: int
    extra: int
    images: Any

    @property
    def strategy(self) -> str:
        """LLaVA's word for whether the first token is left out."""
        return "default" if self.extra else "full"

    @property
    def tokens(self) -> int:
        """Features of one picture."""
        return (self.image_size // self.patch_size) ** 2 + max(self.extra - 1, 0)

    def processor(self) -> Any:
        """An image processor that resizes the whole picture to the tower's square: nothing is cut off."""
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

        square = {"height": self.image_size, "width": self.image_size}
        return CLIPImageProcessorPil(
            size=square,
            crop_size=square,
            do_center_crop=False,
            resample=self.images.resample,
            image_mean=list(self.images.image_mean),
            image_std=list(self.images.image_std),
            rescale_factor=self.images.rescale_factor,
        )


def read_tower(name: str, *, image_size: int | None, layer: int, dtype: torch.dtype) -> Tower:
    """Load a vision encoder, or the vision part of a model such as CLIP, and try it.

    Args:
        name: Folder or Hub id.
        image_size: Height and width of the pictures it is to be shown; None: those it was trained on.
        layer: Whose output is read.
        dtype: Of the weights.

    Raises:
        HoldfastError: It is no such encoder, its weights are not whole, or it does not take such pictures.
    """
    from transformers import AutoModel
    from transformers.models.auto.image_processing_auto import AutoImageProcessor

    place = part_place(name, "vision")
    with explained(name, "vision"):
        config = read_config(place, name)
        config = getattr(config, "vision_config", config)
        patch, size = (_side(getattr(config, key, None)) for key in ("patch_size", "image_size"))
        if not patch or not size or not isinstance(getattr(config, "hidden_size", None), int):
            raise HoldfastError(
                f"'{name}' ({config.model_type}) is no vision encoder that cuts a picture into patches of one width",
                remedy="choose an encoder such as CLIP, SigLIP or DINOv2 for --vision",
            )
        model, found = AutoModel.from_pretrained(
            place, config=config, dtype=dtype, use_safetensors=True, output_loading_info=True
        )
        if found["missing_keys"]:
            missing = sorted(found["missing_keys"])
            raise HoldfastError(
                f"the weights of '{name}' lack {len(missing)} tensors of its vision encoder, the first '{missing[0]}'",
                remedy="download it again; config.json and the safetensors files must belong together",
            )
        images = AutoImageProcessor.from_pretrained(place, backend="pil")
        if getattr(images, "image_mean", None) is None or getattr(images, "image_std", None) is None:
            raise HoldfastError(
                f"the picture processor of '{name}' names no mean and deviation of its pixels",
                remedy="add image_mean and image_std to its preprocessor_config.json",
            )
    model.eval()
    wanted = image_size or size
    if wanted < patch or wanted % patch:
        raise HoldfastError(
            f"pictures of {wanted} pixels are not cut evenly into the patches of {patch} pixels of '{name}'",
            remedy=f"give --image-size a multiple of {patch}",
        )
    hidden = _features(model, name, wanted, size)
    if not -len(hidden) <= layer < len(hidden):
        raise HoldfastError(
            f"'{name}' has the outputs of {len(hidden) - 1} layers and what goes into the first, and no layer {layer}",
            remedy=f"give --layer a number from {-len(hidden)} to {len(hidden) - 1}",
        )
    extra = int(hidden[layer].shape[1]) - (wanted // patch) ** 2
    return Tower(model, wanted, patch, layer, extra, images)


def _features(model: Any, name: str, wanted: int, trained: int) -> tuple[torch.Tensor, ...]:
    """What the encoder makes of one grey picture: a tensor ``[1, tokens, width]`` a layer."""
    pixels = torch.zeros(1, getattr(model.config, "num_channels", 3), wanted, wanted, dtype=model.dtype)
    hint = f"leave --image-size out: it takes pictures of {trained} pixels" if wanted != trained else None
    try:
        with torch.no_grad():
            hidden = getattr(model(pixels, output_hidden_states=True), "hidden_states", None)
    except (TypeError, ValueError, RuntimeError, AttributeError, LookupError) as error:
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise HoldfastError(
            f"'{name}' does not take a picture of {wanted} pixels ({reason})",
            remedy=hint or "choose an encoder such as CLIP, SigLIP or DINOv2 for --vision",
        ) from error
    width = model.config.hidden_size
    patches = (wanted // _side(model.config.patch_size)) ** 2
    if not hidden or any(state.ndim != 3 or state.shape[2] != width or state.shape[1] < patches for state in hidden):
        raise HoldfastError(
            f"'{name}' ({model.config.model_type}) gives no hidden states of one row a patch, which a connector reads",
            remedy="choose an encoder such as CLIP, SigLIP or DINOv2 for --vision",
        )
    return tuple(hidden)


def _side(value: Any) -> int:
    """A size that some configurations write as one number and some as two equal ones; 0 where it is neither."""
    if isinstance(value, list | tuple) and len(set(value)) == 1:
        value = value[0]
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
