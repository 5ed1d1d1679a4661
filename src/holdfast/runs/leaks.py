"""Leaks: what training shows and a test asks for, found by content and not by name.

A picture leaks when a file of the same bytes (or the same drawn pixels) stands in training. A question leaks with its
picture, or alone where both sides ask its words once only: words that are asked of many pictures are a form, such as
*What colour is it?*, and no item. Pictures that were saved again, cropped or scaled are other bytes, and are not found.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

from holdfast.data import contents
from holdfast.data.examples import Example, ImageSource
from holdfast.data.stored import StoredImage
from holdfast.importing import growing
from holdfast.tasks.drawn import PocketExamples
from holdfast.tasks.task import Task
from holdfast.values import JSON

FILE = "leaks.json"


@dataclass(frozen=True)
class Leak:
    """What one test set shares with training.

    Attributes:
        task: The task whose test set it is.
        items: Its test items.
        pictures: Those that show a picture of training.
        questions: Those whose question training asks too: of the same picture, or in words asked once on both sides.
        example: The first of them, and the training example that shares it.
    """

    task: str
    items: int
    pictures: int
    questions: int
    example: tuple[str, str]

    def sentence(self) -> str:
        """The leak in words."""
        test, trained = self.example
        return (
            f"Leak: of the {self.items:,} test items of {self.task}, {self.pictures:,} show a picture that training "
            f"shows, and {self.questions:,} ask a question that training asks (the first: {test}, in training as "
            f"{trained})."
        )

    def to_json(self) -> JSON:
        """Plain values."""
        return asdict(self) | {"example": list(self.example), "sentence": self.sentence()}


@growing()
def find_leaks(training: Sequence[Sequence[Example]], tasks: Iterable[Task]) -> list[Leak]:
    """Compare what is trained on with every test set.

    Args:
        training: The parts that examples are drawn from. Drawn examples are passed over: their tests come from streams
            of their own, and most of them are never looked at.
        tasks: Whose test sets are compared.

    Returns:
        One leak a task that shares anything.
    """
    trained = [example for part in training if not isinstance(part, PocketExamples) for example in part]
    tests = {task.name: task.test for task in tasks if not isinstance(task.test, PocketExamples)}
    if not trained or not tests:
        return []
    content = _Contents(chain(trained, *tests.values()))
    pictures: dict[bytes, str] = {}
    items: dict[tuple[bytes, str], str] = {}
    asked = [_question(example) for example in trained]
    for example, question in zip(trained, asked, strict=True):
        for picture in content.of(example):
            pictures.setdefault(picture, example.id)
            items.setdefault((picture, question), example.id)
    once = _asked_once(trained, asked)
    found = []
    for name, test in tests.items():
        questions = [_question(example) for example in test]
        asked_once = _asked_once(test, questions)
        with_picture = with_question = 0
        first: tuple[str, str] | None = None
        for example, question in zip(test, questions, strict=True):
            shown = [picture for picture in content.of(example) if picture in pictures]
            same = next((items[picture, question] for picture in shown if (picture, question) in items), None)
            same = same or (once.get(question) if question in asked_once else None)
            with_picture += bool(shown)
            with_question += same is not None
            if first is None and (shown or same):
                first = (example.id, same or pictures[shown[0]])
        if first is not None:
            found.append(Leak(name, len(test), with_picture, with_question, first))
    return found


def _question(example: Example) -> str:
    return "\n".join([" ".join(turn.question.lower().split()) for turn in example.turns])


def _asked_once(examples: Sequence[Example], questions: Sequence[str]) -> Mapping[str, str]:
    """Question -> id, of questions that one example asks."""
    counts = Counter(questions)
    return {asked: example.id for example, asked in zip(examples, questions, strict=True) if counts[asked] == 1}


class _Contents:
    """Digests of pictures; what a run began with has just asked for those of files, so they are remembered."""

    def __init__(self, examples: Iterable[Example]) -> None:
        self.files = contents.digests(
            image for example in examples for image in example.images if isinstance(image, Path)
        )

    def of(self, example: Example) -> list[bytes]:
        """The digests of an example's pictures."""
        return [self._digest(image) for image in example.images]

    def _digest(self, image: ImageSource) -> bytes:
        if isinstance(image, Path):
            return self.files[image]
        if isinstance(image, StoredImage):
            return hashlib.blake2b(image.tobytes(), digest_size=32).digest()
        return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).digest()
