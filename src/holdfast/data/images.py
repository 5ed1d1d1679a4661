"""Open image files that strangers made: bombs, truncation, odd modes and rotated phones included."""

from __future__ import annotations

import io
import os
import stat
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError, features

from holdfast.data.examples import ImageSource
from holdfast.data.stored import StoredImage
from holdfast.data.wide import in_its_range, lower_half, scaled
from holdfast.errors import HoldfastError

MAX_PIXELS = 64_000_000
"""Larger pictures are refused before they are decoded: no vision tower looks at more."""

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", *(("AVIF",) if features.check("avif") else ()))
"""What is opened; AVIF where Pillow was built with it."""


def resolve_inside(root: Path, name: str, *, real: Path | None = None) -> Path:
    """The file ``name`` below ``root``; ``real`` is ``root.resolve()`` where that is known already.

    Raises:
        HoldfastError: The path is absolute, climbs out of the root, follows a link out of it, or is missing.
    """
    remedy = f"keep images below the data root {root}, or set root to the folder that holds them"
    mend = f"put it below {root}, or mend the path"
    if not name.strip():
        raise HoldfastError("the image path is empty", remedy="give the path of an image file")
    if "\x00" in name:
        raise HoldfastError("the image path holds a zero byte", remedy="mend the path")
    try:
        real_root = root.resolve() if real is None else real
        path = (real_root / name).resolve()
        inside = path.is_relative_to(real_root)
        exists, is_file = path.exists(), path.is_file()
    except (OSError, RuntimeError) as error:  # links in a circle are a RuntimeError before Python 3.13
        why = getattr(error, "strerror", None) or "its links go in a circle"
        raise HoldfastError(f"the image path '{name[:80]}' cannot be used: {why}", remedy="mend the path") from error
    if not inside:
        raise HoldfastError(f"image path '{name}' leaves the data root", remedy=remedy)
    if not exists:
        raise HoldfastError(f"image '{name}' does not exist", remedy=mend, kind="missing")
    if not is_file:
        raise HoldfastError(f"image '{name}' is not a file", remedy=mend)
    return path


def resolving_inside(root: Path) -> Callable[[str], Path]:
    """:func:`resolve_inside` of many names below one root, where each folder is followed once.

    A name whose last part is a plain file is that file in its folder, wherever links on the way to the folder lead;
    everything else goes the long way.
    """
    try:
        real = root.resolve()
    except (OSError, RuntimeError):  # each name says why
        return lambda name: resolve_inside(root, name)

    @cache
    def folder(name: str) -> Path | None:
        try:
            found = (real / name).resolve()
        except (OSError, RuntimeError, ValueError):
            return None
        return found if found.is_relative_to(real) else None

    def resolve(name: str) -> Path:
        above, _, last = name.rpartition("/")
        plain = os.sep == "/" and name[:1] != "/" and last.strip() not in ("", ".", "..")
        place = folder(above) if plain else None
        if place is not None:
            path = place / last
            try:
                if stat.S_ISREG(os.lstat(path).st_mode):
                    return path
            except (OSError, ValueError):
                pass
        return resolve_inside(root, name, real=real)

    return resolve


def open_image(source: ImageSource, *, at_least: int | None = None) -> Image.Image:
    """The picture as upright 8-bit RGB.

    EXIF rotation is applied; transparency is laid over white; 16-bit and float pictures are scaled to the
    range they use; an animation gives its first frame.

    Args:
        source: A file, a picture that stands in a record, or pixels.
        at_least: Pixels a side that suffice: a JPEG may then be decoded smaller, which is quicker.

    Raises:
        HoldfastError: Empty, truncated or non-image file, or more than :data:`MAX_PIXELS` pixels.
    """
    if isinstance(source, np.ndarray):
        return Image.fromarray(source)
    with _opened(source, at_least) as (image, _):
        return _upright(image)


def decode(source: Path | StoredImage) -> tuple[int, int]:
    """Width and height of the upright picture, which is decoded whole, and refused where :func:`open_image` does.

    A JPEG's pixels are made at an eighth of its sides: the decoder then reads the same bits to the same end, and leaves
    out most of the arithmetic behind them, which cannot fail.

    Raises:
        HoldfastError: As :func:`open_image`.
    """
    with _opened(source, 1) as (image, size):
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        if orientation != 1 or image.mode not in ("RGB", "L") or "transparency" in image.info:
            _upright(image)  # for its refusals: for other pictures they are two copies of the pixels, and cannot fail
        return size[::-1] if orientation in (5, 6, 7, 8) else size


@contextmanager
def _opened(source: Path | StoredImage, at_least: int | None) -> Iterator[tuple[Image.Image, tuple[int, int]]]:
    """The picture, which is loaded and within bounds, and its width and height as stored."""
    name = source.name
    try:
        content: Path | io.BytesIO
        if isinstance(source, StoredImage):
            encoded = source.tobytes()
            content, size = io.BytesIO(encoded), len(encoded)
        else:
            content, size = source, source.stat().st_size
        if size == 0:
            raise HoldfastError(f"image '{name}' is empty", remedy="replace the file")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(content, formats=FORMATS) as image:
                width, height = image.size
                if width * height > MAX_PIXELS:
                    raise HoldfastError(
                        f"image '{name}' has {width} x {height} pixels, more than the limit of "
                        f"{MAX_PIXELS // 1_000_000} million",
                        remedy="scale it down first",
                    )
                smaller = at_least is not None and image.draft("RGB", (at_least, at_least)) is not None
                tiles = lower_half(image)
                image.load()
                size_now = (width, height) if smaller else image.size
                if tiles is not None:
                    yield in_its_range(image, tiles, partial(_again, content)), size_now
                else:
                    yield image, size_now
    except HoldfastError:
        raise
    except UnidentifiedImageError as error:
        raise HoldfastError(f"'{name}' is not an image", remedy=f"readable formats: {', '.join(FORMATS)}") from error
    except Image.DecompressionBombError as error:
        raise HoldfastError(f"image '{name}' is too large to open", remedy="scale it down first") from error
    except Exception as error:  # on damaged files Pillow's plugins raise whatever their parsing happened to meet
        raise HoldfastError(f"image '{name}' is damaged or truncated ({error})", remedy="replace the file") from error


def _again(content: Path | io.BytesIO) -> ImageFile.ImageFile:
    if isinstance(content, io.BytesIO):
        content.seek(0)
    return Image.open(content, formats=FORMATS)


def _upright(image: Image.Image) -> Image.Image:
    return to_rgb(ImageOps.exif_transpose(image))


def size_of(file: Path) -> tuple[int, int]:
    """Width and height of the upright picture, of a file that can be opened; mostly its header alone is read."""
    with Image.open(file, formats=FORMATS) as image:
        if image.format == "TIFF":  # Pillow turns it when it loads, and in some versions its size before that
            return decode(file)
        width, height = image.size
        turned = image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
        return (height, width) if turned else (width, height)


def to_rgb(image: Image.Image) -> Image.Image:
    """Any mode as 8-bit RGB; see :func:`open_image`."""
    if image.mode.startswith("I") or image.mode == "F":
        return scaled(image).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layered = image.convert("RGBA")
        white = Image.new("RGBA", layered.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layered).convert("RGB")
    return image.convert("RGB")
