"""The pocket world's tasks as anyone may draw them: pictures with one question each. Needs numpy and Pillow only."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np

from holdfast.errors import HoldfastError, nearest
from holdfast.pocket.drawing import Pixels
from holdfast.pocket.skills import SKILLS, Drawn
from holdfast.pocket.targets import DIGIT_PARTS, TARGET_DRAWS, draw_digit

Split = Literal["train", "validation", "test"]

SOURCES: tuple[str, ...] = tuple(SKILLS)
"""The open world that the base knows."""

TARGETS: tuple[str, ...] = ("digits", *TARGET_DRAWS)
"""What the base was not tuned for."""

_SPLITS = {"train": 1, "validation": 2, "test": 3}


@dataclass(frozen=True)
class Sample:
    """One item. ``image`` is uint8 ``[32, 32, 3]``; ``image_id`` is a digest of its content."""

    id: str
    image: Pixels
    image_id: str
    question: str
    answer: str
    choices: tuple[str, ...] = ()


def draw(task: str, split: Split, n: int, seed: int = 0) -> list[Sample]:
    """The first ``n`` items of one part of a task; the same call always gives the same items.

    Item i does not depend on ``n``. Parts come from separate random streams (drawn tasks) or separate scans (digits),
    so that no two share a picture. The digits end where the scans do: 1000 train, 297 validation, 500 test; their
    ``seed`` changes the order only.

    Raises:
        HoldfastError: No such task or part, or a negative number.
    """
    if task not in SOURCES + TARGETS:
        raise HoldfastError(f"the pocket world has no task '{task}'", remedy=nearest(task, SOURCES + TARGETS))
    if split not in _SPLITS:
        raise HoldfastError(f"there is no part '{split}'", remedy=nearest(split, _SPLITS))
    if n < 0:
        raise HoldfastError(f"cannot draw {n} items", remedy="give a number from 0 up")
    if task == "digits":
        start, end = DIGIT_PARTS[split]
        order = np.arange(end - start) if seed == 0 else np.random.default_rng((seed, 7)).permutation(end - start)
        return [_sample(f"digits-{split}-{i:05d}", draw_digit(start + int(i))) for i in order[:n]]
    name = f"{task}-{split}" if seed == 0 else f"{task}-{split}-s{seed}"
    return [_sample(f"{name}-{i:05d}", draw_one(task, split, i, seed)) for i in range(n)]


def available(task: str, split: Split) -> int | None:
    """How many items a part has; None where it never ends."""
    if task != "digits":
        return None
    start, end = DIGIT_PARTS[split]
    return end - start


@lru_cache(maxsize=1)
def origin() -> str:
    """Sixteen digits that stand for all that decides a picture: this room's files and the libraries they draw with."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    for library in ("numpy", "pillow", "scikit-learn"):
        digest.update(f"{library} {version(library)}\n".encode())
    return digest.hexdigest()[:16]


def draw_one(task: str, split: Split, index: int, seed: int = 0) -> Drawn:
    """Item ``index`` of a drawn (not scanned) task, with what its floor is computed from."""
    make = SKILLS.get(task) or TARGET_DRAWS[task]
    key = int.from_bytes(hashlib.sha256(task.encode()).digest()[:4], "big")
    return make(np.random.default_rng((key, _SPLITS[split], seed, index)))


def _sample(name: str, drawn: Drawn) -> Sample:
    digest = hashlib.sha256(drawn.image.tobytes()).hexdigest()[:16]
    return Sample(name, drawn.image, digest, drawn.question, drawn.answer, drawn.choices)


@lru_cache(maxsize=64)
def blind_floor(task: str, train: int = 2000, test: int = 1000) -> float:
    """The best accuracy without looking, in points (0-100), measured on test draws.

    The larger of two blind strategies: always the most frequent answer of the test draws themselves, and the most
    frequent answer that train draws give to each question (where a question is new: the former).
    """
    fitted, held_out = draw(task, "train", train), draw(task, "test", test)
    overall = Counter(sample.answer for sample in held_out).most_common(1)[0][0]
    answers: dict[str, Counter[str]] = defaultdict(Counter)
    for sample in fitted:
        answers[sample.question][sample.answer] += 1
    by_question = {question: counts.most_common(1)[0][0] for question, counts in answers.items()}
    constant = sum(sample.answer == overall for sample in held_out)
    informed = sum(sample.answer == by_question.get(sample.question, overall) for sample in held_out)
    return 100.0 * max(constant, informed) / len(held_out)


@lru_cache(maxsize=64)
def any_object_floor(task: str, test: int = 1000) -> float | None:
    """Accuracy in points of describing a random object of the picture; ``None`` where a task has no such trick."""
    if task not in SKILLS:
        return None
    items = [draw_one(task, "test", index) for index in range(test)]
    if not items[0].rivals:
        return None
    return 100.0 * sum(item.rivals.count(item.answer) / len(item.rivals) for item in items) / test
