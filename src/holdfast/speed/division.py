"""One piece of work for several processes: equal shares, and questions about one image in one of them."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.data.examples import Example
from holdfast.models.loading import Loaded
from holdfast.speed.sharing.rows import by_images

TEXT = 0.3
"""Tokens a character of text; how a share is measured, and nothing else depends on it."""


def text_length(example: Example) -> int:
    """Characters of questions and answers: what makes rows about images of one size differ in length."""
    return sum(len(turn.question) + len(turn.answers[0]) for turn in example.turns)


def shares(examples: Sequence[Example], count: int, *, image: float) -> list[list[Example]]:
    """Divide examples into ``count`` shares of about equal work; a pure function of its arguments.

    Questions about the same images stay together, for they share a row, unless they alone are more than a share. The
    largest groups are given out first, each to whoever has least; within a share examples keep their order.

    Args:
        examples: At least as many as shares.
        count: Of shares.
        image: Tokens that one image takes in a row.
    """
    if count == 1:
        return [list(examples)]
    groups = by_images(examples)

    def work(group: Sequence[int]) -> float:
        return image * len(examples[group[0]].images) + sum(TEXT * text_length(examples[place]) for place in group)

    fair = sum(map(work, groups)) / count
    pieces: list[list[int]] = []
    while groups:
        group = groups.pop(0)
        if len(group) > 1 and (work(group) > fair or len(groups) + len(pieces) + 1 < count):
            groups = [group[: len(group) // 2], group[len(group) // 2 :], *groups]
        else:
            pieces.append(group)
    found: list[list[int]] = [[] for _ in range(count)]
    loads = [0.0] * count
    for group in sorted(pieces, key=lambda group: (-work(group), group[0])):
        least = min(range(count), key=lambda place: (bool(found[place]), loads[place], place))
        found[least] += group
        loads[least] += work(group)
    return [[examples[place] for place in sorted(share)] for share in found]


def image_tokens(loaded: Loaded, examples: Sequence[Example]) -> float:
    """Tokens that an image takes in a row, on the first example that has one."""
    example = next((example for example in examples if example.images), None)
    if example is None:
        return 0.0
    ids = loaded.chat.encode([example], with_answers=True)["input_ids"]
    count = sum(int((ids == token).sum()) for token in loaded.chat.image_token_ids())
    return count / len(example.images)
