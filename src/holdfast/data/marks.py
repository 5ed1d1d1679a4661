"""Pictures that are named where they stand in a text, in the ways that are not ``<image>`` and a list beside it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from holdfast.data.examples import IMAGE_MARK, Turn
from holdfast.errors import HoldfastError

_IN_TEXT = re.compile(r"<img>\s*([^<>\n]+?)\s*</img>")
_NUMBERED = re.compile(r"<image_\d+>")


def images_in_text(turns: Iterable[Turn]) -> tuple[tuple[Turn, ...], list[Any]]:
    """Questions with ``<image>`` in place of every ``<img>PATH</img>``, and the paths (Qwen-VL, ms-swift).

    Raises:
        HoldfastError: A text has both kinds of marks, so that the order of its images is not known.
    """
    given = tuple(turns)
    if not any("<img>" in turn.question for turn in given):
        return given, []
    paths: list[Any] = [path for turn in given for path in _IN_TEXT.findall(turn.question)]
    if not paths:
        return given, []
    if any(IMAGE_MARK in turn.question for turn in given):
        raise HoldfastError(f"the text has both {IMAGE_MARK} and <img>PATH</img>", remedy="use one of the two")
    return tuple(replace(turn, question=_IN_TEXT.sub(IMAGE_MARK, turn.question)) for turn in given), paths


def named_images(record: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The record without its images where these are called by marks, ``{"<image_00>": PATH}`` (MiniCPM), and these."""
    images = record.get("image")
    if not isinstance(images, Mapping) or not images or not all(_NUMBERED.fullmatch(str(name)) for name in images):
        return record, {}
    return {**record, "image": None}, images


def in_marked_order(turns: Iterable[Turn], images: Mapping[str, Any]) -> tuple[tuple[Turn, ...], list[Any]]:
    """Questions with ``<image>`` in place of the marks, and the images in the order of their marks.

    Raises:
        HoldfastError: A mark has no image, or an image no mark.
    """
    given = tuple(turns)
    marks = [mark for turn in given for mark in _NUMBERED.findall(turn.question)]
    lonely = next((mark for mark in marks if mark not in images), None)
    unused = next((name for name in images if name not in marks), None)
    if lonely is not None or unused is not None:
        what = f"the mark {lonely} has no image" if lonely is not None else f"the image {unused} has no mark"
        raise HoldfastError(f"{what} in the other of text and 'image'", remedy="name every image once in the text")
    asked = tuple(replace(turn, question=_NUMBERED.sub(IMAGE_MARK, turn.question)) for turn in given)
    return asked, [images[mark] for mark in marks]
