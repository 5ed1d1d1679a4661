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
def listening(processor: Any) -> Iterator[list[tuple[list[str], Any]]]:
    """Hears what texts a processor works on and by how much each image mark grows and what takes its place, row by row.

    The library's own option for this (``return_text_replacement_offsets``) fails in some processors as soon as the
    first row has no image, because they try to make a tensor of it.
    """
    heard: list[tuple[list[str], Any]] = []
    original = getattr(processor, "get_text_with_replacements", None)
    if original is None:
        yield heard
        return

    def listen(text: Any, *args: Any, **kwargs: Any) -> Any:
        given = list(text)  # it is overwritten
        texts, replaced = original(text, *args, **kwargs)
        heard.append((given, replaced))
        return texts, replaced

    processor.get_text_with_replacements = listen
    try:
        yield heard
    finally:
        del processor.get_text_with_replacements


class _Overheard:
    """A tokenizer that remembers which rows of text it was given, and is the given one in all else."""

    def __init__(self, tokenizer: Any) -> None:
        object.__setattr__(self, "tokenizer", tokenizer)
        object.__setattr__(self, "texts", [])

    def __call__(self, text: Any = None, *args: Any, **kwargs: Any) -> Any:
        self.texts.append(list(text) if isinstance(text, list | tuple) else [text])
        return self.tokenizer(text, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tokenizer, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.tokenizer, name, value)


@contextmanager
def overhearing(processor: Any) -> Iterator[list[list[str]]]:
    """Hears the texts that a processor gives its tokenizer, a list of rows a call.

    For processors that write image tokens by themselves (Mllama, Idefics2) and do not say where.
    """
    original = processor.tokenizer
    ear = _Overheard(original)
    processor.tokenizer = ear
    try:
        yield ear.texts
    finally:
        processor.tokenizer = original


def aligned(text: str, mark: str, written: str) -> list[Keywords] | None:
    """Where the pieces of a text around its image marks stand in what a processor wrote.

    Args:
        text: As the chat template made it.
        mark: What stands for an image in it; empty: nothing does.
        written: What was tokenized.

    Returns:
        As :func:`listening` hears it: how far what stands behind each mark, and behind the beginning, has moved. None
        where the processor changed more than the marks and what stands before the first piece.
    """
    pieces = text.split(mark) if mark else [text]
    until, place, moved = len(written), len(text), []
    for number, piece in reversed(list(enumerate(pieces))):
        last = number == len(pieces) - 1
        start = until - len(piece) if last or not piece else written.rfind(piece, 0, until)
        if start < 0 or not written.startswith(piece, start):
            return None
        until, place = start, place - len(piece)
        moved.append({"span": (place, place), "new_span": (place, start)})
        place -= len(mark)
    return moved[::-1]


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
