"""MathVista: the official output, problems by pid with a response and, once extracted, the extraction."""

from __future__ import annotations

from holdfast.predictions.columns import as_list, as_text
from holdfast.predictions.gold import gold_in
from holdfast.predictions.layout import Benchmark, Layout, known_by, reading_of
from holdfast.predictions.reading import Ask, Look, Reading
from holdfast.predictions.record import Prediction
from holdfast.tasks.mathvista.metric import TABLES
from holdfast.tasks.preparing.source import Fields, objects_in, read_objects

_NEEDS = {"pid", "question_type", "answer_type"}
_SAID = ("response", "extraction")


def fits(look: Look) -> bool:
    """A map of problems that have been answered."""
    first = next(iter(look.content.values()), None) if isinstance(look.content, dict) else None
    return isinstance(first, dict) and first.keys() >= _NEEDS and not first.keys().isdisjoint(_SAID)


def read(look: Look, ask: Ask) -> Reading:
    """Problems by pid. What GPT-4 extracted is read in; it is never asked. Numbers may be NaN, which is nothing."""
    items = map(_item, objects_in(look.content, look.path).values())
    return known_by("mathvista", reading_of(look, "MathVista output", items))


def _item(record: Fields) -> Prediction:
    file, key, answer = record.file, record.item, record.get("answer")
    metadata = record.get("metadata") if isinstance(record.get("metadata"), dict) else {}
    extra = {name: record.get(name, metadata.get(name)) for name in (*TABLES, "precision", "extraction")}
    # A model without a response of its own, such as a guess, has an extraction only.
    said = next((record.get(name) for name in _SAID if record.get(name) is not None), None)
    answers = answer if answer is None or isinstance(answer, list) else [str(answer)]
    return Prediction(
        key,
        as_text(said, "response", file, None, key),
        as_list(answers, "answer", file, None, key),
        question=record.words("question"),
        image=record.words("image"),
        choices=as_list(record.get("choices"), "choices", file, None, key),
        extra={name: value for name, value in extra.items() if value is not None},
    )


BENCHMARK = Benchmark(
    metrics={"mathvista": "mathvista"},
    layouts=(Layout("MathVista output", fits, read, nan=True),),
    gold=gold_in(
        *("testmini.json", "data/testmini.json"),
        items=lambda file: map(_item, read_objects(file, nan_is_none=True).values()),
    ),
)
