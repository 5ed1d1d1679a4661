"""Find the pictures that the model's own processor refuses before step 1, not when their batch comes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from holdfast.data.checking import sizes_of
from holdfast.data.contents import Size
from holdfast.data.examples import Example
from holdfast.data.images import decode
from holdfast.data.stored import StoredImage
from holdfast.errors import HoldfastError
from holdfast.importing import growing
from holdfast.models.chat import ChatProcessor
from holdfast.tasks.drawn import PocketExamples
from holdfast.tasks.task import Task

MOST = 2000
"""Of more sizes than this only the longest, the largest and the smallest are tried: refusals are about extremes."""


class Refusals:
    """Asks a processor once for every size of picture; what it refuses, it refuses for the size (5000 x 1)."""

    def __init__(self, chat: ChatProcessor) -> None:
        self.chat = chat
        self._sizes: dict[Path | StoredImage, Size] = {}
        self._refused: dict[Size, HoldfastError | None] = {}

    @growing()
    def of(self, examples: Sequence[Example]) -> dict[int, HoldfastError]:
        """What is refused, by place among the examples."""
        pictures = {image for example in examples for image in example.images if not isinstance(image, np.ndarray)}
        new = pictures - self._sizes.keys()
        for path, size in sizes_of(image for image in new if isinstance(image, Path)).items():
            self._sizes[path] = size
        self._sizes |= {image: decode(image) for image in new if isinstance(image, StoredImage)}
        sizes = [[self._sizes[i] for i in example.images if not isinstance(i, np.ndarray)] for example in examples]
        tried = _extremes({size for row in sizes for size in row} - self._refused.keys())
        for size in tried:
            self._refused[size] = self._ask(size)
        found: dict[int, HoldfastError] = {}
        for place, (example, row) in enumerate(zip(examples, sizes, strict=True)):
            problem = next((problem for size in row if (problem := self._refused.get(size))), None)
            if problem is not None:
                found[place] = HoldfastError(problem.problem, item=example.id, remedy=problem.remedy)
        return found

    def whole(self, examples: Sequence[Example]) -> list[HoldfastError]:
        """Everything the model's own processor and chat template refuse, in the order of the examples."""
        found = self.of(examples)
        for place, example in enumerate(examples):
            if place not in found:
                try:
                    self.chat.render(example, with_answer=True)
                except HoldfastError as error:
                    found[place] = HoldfastError(error.problem, item=example.id, remedy=error.remedy)
        return [found[place] for place in sorted(found)]

    def keep(
        self, examples: Sequence[Example], *, skip: bool
    ) -> tuple[tuple[Example, ...] | Sequence[Example], list[HoldfastError]]:
        """The examples whose pictures the model can see, and what is wrong with the others.

        Raises:
            HoldfastError: One is refused and ``skip`` is off.
        """
        if isinstance(examples, PocketExamples) or not hasattr(self.chat.processor, "image_processor"):
            return examples, []  # drawn examples are looked at when they are asked for
        found = self.of(examples)
        if not found:
            return examples, []
        problems = list(found.values())
        if not skip:
            first = problems[0]
            more = f" ({len(problems)} items in all)" if len(problems) > 1 else ""
            raise HoldfastError(
                first.problem + more, item=first.item, remedy=f"{first.remedy}, or leave it out with --skip-bad"
            )
        return tuple(example for place, example in enumerate(examples) if place not in found), problems

    def keep_task(self, task: Task, *, skip: bool) -> tuple[Task, list[HoldfastError]]:
        """The task without the items whose pictures the model cannot see; see :meth:`keep`."""
        parts, problems = {}, []
        for part in ("train", "validation", "test"):
            parts[part], wrong = self.keep(getattr(task, part), skip=skip)
            problems += wrong
        return (replace(task, **parts) if problems else task), problems  # type: ignore[arg-type]

    def _ask(self, size: Size) -> HoldfastError | None:
        try:
            self.chat.processor.image_processor([Image.new("RGB", size)], return_tensors="pt")
        except (ValueError, TypeError, RuntimeError, ZeroDivisionError, IndexError, OSError) as error:
            reason = " ".join(str(error).split())[:160]
            return HoldfastError(
                f"the model's processor refuses a picture of {size[0]} x {size[1]} pixels ({reason})",
                remedy="crop or pad the picture",
            )
        return None


def _extremes(sizes: set[Size]) -> Iterator[Size]:
    """All of a few sizes, and of many those at either end of proportion and area."""
    if len(sizes) <= MOST:
        yield from sorted(sizes)
        return
    quarter = MOST // 4
    by_shape = sorted(sizes, key=lambda size: size[0] / size[1])
    by_area = sorted(sizes, key=lambda size: size[0] * size[1])
    yield from {*by_shape[:quarter], *by_shape[-quarter:], *by_area[:quarter], *by_area[-quarter:]}
