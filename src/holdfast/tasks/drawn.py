"""Examples of the pocket world, drawn when they are first looked at.

A run names many pictures that it may never need, or not before its first step: what its sources could train on, what
its tasks will be asked. Drawing them took a tenth of the time to the first step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Literal

from holdfast.data.examples import Example, Examples, Turn, image_key

Part = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class PocketExamples(Examples):
    """The first ``most`` examples of one part of a pocket task."""

    task: str
    part: Part
    most: int

    @property
    def examples(self) -> tuple[Example, ...]:
        """All of them."""
        return _drawn(self.task, self.part, len(self))

    @property
    def key(self) -> str:
        """Stands for the examples without drawing them: what is drawn, and what draws it."""
        from holdfast.pocket.tasks import origin

        return f"{self.task} {self.part} {len(self)} {origin()}"

    def __len__(self) -> int:
        from holdfast.pocket.tasks import available

        there = available(self.task, self.part)
        return self.most if there is None else min(self.most, there)

    def at(self, place: int) -> Example:
        return self.examples[place]

    def __iter__(self) -> Iterator[Example]:
        return iter(self.examples)


@dataclass(frozen=True)
class Joined(Examples):
    """Several sequences as one."""

    parts: tuple[Sequence[Example], ...]

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def at(self, place: int) -> Example:
        for part in self.parts:
            if place < len(part):
                return part[place]
            place -= len(part)
        raise IndexError(place)

    def __iter__(self) -> Iterator[Example]:
        return chain.from_iterable(self.parts)


@lru_cache(maxsize=128)
def _drawn(task: str, part: Part, count: int) -> tuple[Example, ...]:
    """Kept, because every recipe of a study asks for the same ones."""
    from holdfast.pocket.tasks import draw

    return tuple(
        Example(
            id=sample.id,
            images=(sample.image,),
            turns=(Turn(sample.question, (sample.answer,)),),
            image_key=sample.image_id or image_key((sample.image,)),
            choices=sample.choices,
        )
        for sample in draw(task, part, count, seed=0)
    )
