"""What a processor writes into a text in place of images, and writing the same again without opening them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image

from holdfast.values import Keywords

Expansion = tuple[str, ...]
"""What stands in a text for each of its images."""

BLANK = Image.new("RGB", (1, 1))
"""Stands in an argument for an image that is not looked at."""


@contextmanager
def listening(processor: Any) -> Iterator[list[Any]]:
    """Hears by how much each image mark grows and what takes its place, row by row.

    The library's own option for this (``return_text_replacement_offsets``) fails in some processors as soon as the
    first row has no image, because they try to make a tensor of it.
    """
    heard: list[Any] = []
    original = getattr(processor, "get_text_with_replacements", None)
    if original is None:
        yield heard
        return

    def listen(*args: Any, **kwargs: Any) -> Any:
        texts, replaced = original(*args, **kwargs)
        heard.append(replaced)
        return texts, replaced

    processor.get_text_with_replacements = listen
    try:
        yield heard
    finally:
        del processor.get_text_with_replacements


@contextmanager
def replaying(processor: Any, expansions: Sequence[Expansion]) -> Iterator[None]:
    """Within, the processor looks at no image and writes these texts in their place, in the order of the rows."""
    texts = [text for row in expansions for text in row]
    # Not for any forward: InternVL's processor puts pixels into the order of the text, so there must be some to order.
    nothing = {"pixel_values": np.zeros((0, 1)), "num_patches": [0] * len(texts)}

    def replay(*_: Any, **__: Any) -> tuple[Keywords, list[str]]:
        return dict(nothing), list(texts)

    processor._process_images = replay
    try:
        yield
    finally:
        del processor._process_images


def expansions(replaced: Sequence[Any] | None, counts: Sequence[int]) -> list[Expansion] | None:
    """What was written for each image of each row; None where the processor does not tell that of every image.

    Args:
        replaced: What :func:`listening` heard of one call.
        counts: How many images each row has.
    """
    if not replaced or len(replaced) != len(counts):
        return None
    found = [tuple(entry.get("replacement") for entry in row if entry.get("type") == "image") for row in replaced]
    told = all(len(row) == count and None not in row for row, count in zip(found, counts, strict=True))
    return found if told else None
