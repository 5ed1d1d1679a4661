"""An example as a reader finds it, before its image has been looked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from holdfast.predictions.record import Prediction
from holdfast.tasks.preparing.source import Fields
from holdfast.values import JSON

BLANK = "(blank)"
"""Stands for an annotator's empty answer, so that ten stay ten; no sensible prediction equals it."""

ANNOTATORS = 10


@dataclass(frozen=True, slots=True)
class Draft:
    """One item of an official file.

    Attributes:
        id: As the official files and ``holdfast score`` name it.
        question: Without the prompt around it.
        answers: All references; the first is trained on.
        image: Path below the source folder, or the name to write ``picture`` under; ``None`` for text alone.
        picture: Bytes of an image that stands inside the official file.
        more: Names and bytes of further images that stand inside it.
        choices: Options in the order shown.
        group: Items that are scored together and therefore drawn together by ``--limit``.
        extra: What the metric groups by.
    """

    id: str
    question: str
    answers: tuple[str, ...]
    image: str | None
    choices: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    group: str = ""
    picture: bytes | None = None
    more: tuple[tuple[str, bytes], ...] = ()

    def to_json(self) -> JSON:
        """The line of the example file: the simple form, or LLaVA's where there is no image."""
        record: JSON = {"id": self.id}
        if self.image is None:
            turns = (("human", self.question), ("gpt", self.answers[0]))
            record["conversations"] = [{"from": who, "value": text} for who, text in turns]
        else:
            images = [self.image, *(name for name, _ in self.more)]
            record |= {"image": images if self.more else self.image, "question": self.question}
            record |= {"answer": self.answers[0]} if len(self.answers) == 1 else {"answers": list(self.answers)}
        if self.choices:
            record["choices"] = list(self.choices)
        return record | {name: value for name, value in self.extra.items() if value is not None}

    def reference(self, **changes: Any) -> Prediction:
        """The item as a reference that predictions are paired with; some fields may be said otherwise."""
        extra = {name: value for name, value in self.extra.items() if value is not None}
        item = Prediction(
            self.id,
            references=self.answers,
            question=self.question,
            image=self.image or "",
            choices=self.choices,
            extra=extra,
        )
        return replace(item, **changes) if changes else item


def most_frequent_first(answers: Sequence[str]) -> tuple[str, ...]:
    """All answers, the most frequent one in front (the earliest of equals), the rest in their order.

    Soft accuracy does not depend on the order; training takes the first.
    """
    filled = [answer.strip() or BLANK for answer in answers]
    counts = Counter(answer for answer in filled if answer != BLANK)
    if not counts:
        return tuple(filled)
    first = filled.index(max(counts, key=lambda answer: (counts[answer], -filled.index(answer))))
    return (filled[first], *filled[:first], *filled[first + 1 :])


def ten_answers(record: Fields) -> tuple[str, ...]:
    """The annotators' answers of a VQA record, the most frequent first.

    Raises:
        HoldfastError: There are no answers, or not ten.
    """
    texts = record.answers()
    if len(texts) != ANNOTATORS:
        raise record.fault(f"{ANNOTATORS} answers expected and {len(texts)} found")
    return most_frequent_first(texts)
