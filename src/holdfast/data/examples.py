"""One image-text item with its reference answers, whatever file it came from."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from holdfast.data.stored import StoredImage
from holdfast.values import JSON

IMAGE_MARK = "<image>"

ImageSource = Path | npt.NDArray[np.uint8] | StoredImage
"""A file inside the data root, pixels ``[height, width, 3]`` of a task that draws its own images, or a picture that
stands in a record."""


@dataclass(frozen=True, slots=True, repr=False)
class Turn:
    """A question and the answers that count as right; the first one is trained on.

    ``question`` may hold ``<image>`` marks that say where the example's images stand. ``thoughts`` is reasoning with
    its marks that is trained on before the first answer, and never judged.
    """

    question: str
    answers: tuple[str, ...]
    thoughts: str = ""

    def __repr__(self) -> str:  # identities are digests of it, of every item; dataclass's own takes twice as long
        more = f", thoughts={self.thoughts!r}" if self.thoughts else ""
        return f"Turn(question={self.question!r}, answers={self.answers!r}{more})"


@dataclass(frozen=True, slots=True)
class Example:
    """One item: its images, its turns (usually one), its system prompt and what a metric may want to know of it."""

    id: str
    images: tuple[ImageSource, ...]
    turns: tuple[Turn, ...]
    image_key: str = ""
    choices: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    system: str = ""

    @property
    def question(self) -> str:
        """The last question without image marks: the one that is asked in evaluation."""
        return self.turns[-1].question.replace(IMAGE_MARK, "").strip()

    @property
    def answers(self) -> tuple[str, ...]:
        """The reference answers of the last turn."""
        return self.turns[-1].answers

    @property
    def thoughts(self) -> str:
        """Reasoning that is trained on before the last answer; where there is some, the model is asked to think."""
        return self.turns[-1].thoughts

    def messages(self, *, with_answer: bool) -> list[JSON]:
        """The conversation in the chat-template form of transformers.

        Images stand where their marks are; without marks they open the first turn.

        Args:
            with_answer: Whether the last answer is part of it (training) or is to be generated.
        """
        marked = any(IMAGE_MARK in turn.question for turn in self.turns)
        messages: list[JSON] = []
        if self.system:
            messages.append({"role": "system", "content": [{"type": "text", "text": self.system}]})
        for position, turn in enumerate(self.turns):
            content: list[JSON] = []
            if not marked and position == 0:
                content += [{"type": "image"} for _ in self.images]
            for index, piece in enumerate(turn.question.split(IMAGE_MARK)):
                if index:
                    content.append({"type": "image"})
                if piece.strip():
                    content.append({"type": "text", "text": piece.strip()})
            messages.append({"role": "user", "content": content})
            if with_answer or position < len(self.turns) - 1:
                answer = {"type": "text", "text": turn.answers[0]}
                messages.append({"role": "assistant", "content": [answer]})
        return messages


class Examples(Sequence[Example]):
    """Examples none of which is looked at before it is asked for; a slice of them is a tuple."""

    @abstractmethod
    def at(self, place: int) -> Example:
        """The example at a place, counted from 0."""

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Example, ...]: ...
    def __getitem__(self, index: int | slice) -> Example | tuple[Example, ...]:
        places = range(len(self))[index]  # raises IndexError and counts from the end as a list does
        return self.at(places) if isinstance(places, int) else tuple(map(self.at, places))


def image_key(images: tuple[ImageSource, ...]) -> str:
    """What two questions about the same picture share: the path, or a digest of drawn pixels."""
    return "|".join([_key_of(image) for image in images])


def _key_of(image: ImageSource) -> str:
    if isinstance(image, Path):
        return str(image)
    return image.key if isinstance(image, StoredImage) else hashlib.sha256(image.tobytes()).hexdigest()[:16]
