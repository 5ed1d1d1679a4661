"""How long training rows are: those that do not fit are found before step 1, and memory is counted for the longest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch

from holdfast.data.examples import Example
from holdfast.errors import HoldfastError
from holdfast.models.chat import IGNORED
from holdfast.models.loading import Loaded
from holdfast.planning.workload import Row
from holdfast.speed.sharing.expansion_cache import Rows

LOOKED_AT = 512
"""Examples among which the longest is looked for: reading the text of all of a million takes longer than a step."""


def within_length(
    examples: Sequence[Example], loaded: Loaded, max_length: int | None, *, skip: bool
) -> tuple[tuple[Example, ...], list[HoldfastError]]:
    """The examples without those whose image or whole answer would be cut.

    Args:
        examples: What is to be trained on.
        loaded: The model, whose processor knows how many tokens an image takes.
        max_length: Tokens of a row; ``None``: everything fits.
        skip: Drop what does not fit and say so, instead of refusing.

    Raises:
        HoldfastError: An example does not fit and ``skip`` is off.
    """
    kept: list[Example] = []
    problems: list[HoldfastError] = []
    if max_length is None:
        return tuple(examples), problems
    rows = Rows(loaded.model, loaded.chat, answers=True, max_length=max_length)
    for example in examples:
        try:
            rows([example])
            kept.append(example)
        except HoldfastError as error:
            if not skip:
                remedy = f"{error.remedy}, or leave it out with --skip-bad"
                key = ".".join(error.key)
                raise HoldfastError(error.problem, item=example.id, remedy=remedy, key=key) from error
            problems.append(HoldfastError(error.problem, item=example.id, remedy=error.remedy))
    return tuple(kept), problems


def longest_row(examples: Sequence[Example], loaded: Loaded, max_length: int | None) -> Row:
    """The size of a row as long as the longest with the images of the fullest, by letters and images, of up to
    :data:`LOOKED_AT` examples spread over all.

    Raises:
        HoldfastError: As :meth:`holdfast.models.chat.ChatProcessor.encode`.
    """
    some = [examples[place] for place in range(0, len(examples), -(-len(examples) // LOOKED_AT))]
    longest = max(some, key=lambda example: (_letters(example), len(example.images)))
    fullest = max(some, key=lambda example: (len(example.images), _letters(example)))
    row = _row(fullest, loaded, max_length)
    if longest is fullest:
        return row
    other = _row(longest, loaded, max_length)
    return replace(row, length=max(row.length, other.length), answer=max(row.answer, other.answer))


def _letters(example: Example) -> int:
    turns = (len(turn.question) + sum(map(len, turn.answers[:1])) + len(turn.thoughts) for turn in example.turns)
    return len(example.system) + sum(turns)


def _row(example: Example, loaded: Loaded, max_length: int | None) -> Row:
    batch = loaded.chat.encode([example], with_answers=True, max_length=max_length)
    ids, marks = batch["input_ids"], torch.tensor(sorted(loaded.chat.image_token_ids()))
    pixels = next((values.shape for name, values in batch.items() if name.startswith("pixel_values")), None)
    images = len(example.images)
    size: tuple[int, ...] = ()
    if pixels is not None and len(pixels) >= 4:
        images, size = math.prod(pixels[:-3]), tuple(pixels[-2:])
    elif pixels is not None and images:  # one row a patch
        size = (math.ceil(pixels[0] / images),)
    return Row(
        length=ids.shape[1],
        answer=int((batch["labels"] != IGNORED).sum()),
        image_tokens=int(torch.isin(ids, marks).sum()),
        images=images,
        pixels=size,
    )
