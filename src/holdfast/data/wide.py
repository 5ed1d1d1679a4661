"""Pictures of more than eight bits a value: brought to eight by the range that they use, not by what would fit."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageFile

from holdfast.errors import HoldfastError

_OTHER_HALF = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}
"""Order of bytes -> the order in which Pillow takes the lower one of the two for the higher."""
_FOURTEEN_BITS = 64
"""The higher byte of a value of 14 bits is below this."""


def scaled(image: Image.Image) -> Image.Image:
    """A wide grey (modes I and F) in bytes; holes that are no number are black, and infinities the ends.

    Raises:
        HoldfastError: It has no finite value.
    """
    values = np.asarray(image, dtype=np.float64)
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise HoldfastError("the image holds no finite value", remedy="replace the file")
    low, high = float(finite.min()), float(finite.max())
    shares = image.mode == "F" and low >= 0 and high <= 1  # values divided by what the container holds
    # 8-bit values in a wide container keep their scale. Detectors fill 10, 12 or 14 of 16 bits, and not from zero:
    # scaled by the container such a picture is nearly black.
    if low == high and 0 <= low <= 65535:  # a flat picture uses no range: its brightness is the container's
        low, high = 0.0, 1.0 if shares else 255.0 if high <= 255 else 65535.0
    elif low >= 0 and high <= 255 and not shares:
        low, high = 0.0, 255.0
    part = np.nan_to_num((values - low) / max(high - low, 1e-12), nan=0.0, posinf=1.0, neginf=0.0)
    return Image.fromarray(np.round(part * 255).astype(np.uint8))


def lower_half(image: Image.Image) -> list[Any] | None:
    """How to read the lower bytes of a picture of 16-bit colours, or of grey with transparency, of which Pillow keeps
    the higher ones; ``None`` for every other picture. To be asked before it is loaded."""
    tiles = []
    for tile in getattr(image, "tile", ()):
        raw = tile.args if isinstance(tile.args, str) else tile.args[0] if tile.args else ""
        name, _, bits = str(raw).partition(";")
        if bits[:2] != "16" or bits[2:] not in _OTHER_HALF or name not in ("RGB", "RGBA", "LA"):
            return None
        if name == "LA" and not isinstance(tile.args, str):
            return None  # only PNG has it
        other = "RGBA" if name == "LA" else f"{name};16{_OTHER_HALF[bits[2:]]}"
        tiles.append(tile._replace(args=other if isinstance(tile.args, str) else (other, *tile.args[1:])))
    return tiles or None


def in_its_range(image: Image.Image, tiles: list[Any], opened: Callable[[], ImageFile.ImageFile]) -> Image.Image:
    """The picture scaled to the range it uses, where that is 14 bits or fewer; as it is otherwise.

    Args:
        image: As Pillow loaded it.
        tiles: Of :func:`lower_half`.
        opened: The same picture again, not loaded.
    """
    higher = np.asarray(image)
    colours = 1 if image.mode == "LA" or str(tiles[0].args) == "RGBA" else 3
    if higher[..., :colours].max(initial=0) >= _FOURTEEN_BITS:
        return image
    with opened() as again:
        if colours == 1:  # two values of two bytes are read as four values
            again._mode = "RGBA"
        again.tile = tiles
        again.load()
        lower = np.asarray(again)
    wide = (lower if colours == 1 else higher)[..., :colours].astype(np.float64) * 256
    wide += lower[..., 1:2] if colours == 1 else lower[..., :3]
    low, high = float(wide.min()), float(wide.max())
    if high <= 255:  # bytes in a wide container, as for greys
        low, high = 0.0, 255.0
    made = np.round((wide - low) / max(high - low, 1e-12) * 255).astype(np.uint8)
    made = np.repeat(made, 3, axis=-1) if colours == 1 else made
    if image.mode in ("RGBA", "LA"):
        alpha = lower[..., 2:3] if colours == 1 else higher[..., 3:4]
        made = np.concatenate([made, alpha], axis=-1)
    result = Image.fromarray(made)
    result.info = dict(image.info)
    return result
