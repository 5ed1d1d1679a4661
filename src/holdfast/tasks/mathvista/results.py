"""MathVista: the official output, problems by pid with a response and, once extracted, the extraction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.files import read_json
from holdfast.predictions.columns import as_list, as_text
from holdfast.predictions.gold import Gold, gold_of, inside
from holdfast.predictions.layout import Benchmark, Layout, known_by, reading_of
from holdfast.predictions.reading import Ask, Look, Reading
from holdfast.predictions.record import Prediction
from holdfast.tasks.mathvista.metric import TABLES

_NEEDS = {"pid", "question_type", "answer_type"}
_SAID = ("response", "extraction")


def fits(look: Look) -> bool:
    """A map of problems that have been answered."""
    first = next(iter(look.content.values()), None) if isinstance(look.content, dict) else None
    return isinstance(first, dict) and first.keys() >= _NEEDS and not first.keys().isdisjoint(_SAID)


def read(look: Look, ask: Ask) -> Reading:
    """Problems by pid. What GPT-4 extracted is read in; it is never asked. Numbers may be NaN, which is nothing."""
    return known_by("mathvista", reading_of(look, "MathVista output", _items(look.content, look.path)))


def _items(content: Mapping[str, Any], file: Path) -> list[Prediction]:
    made = []
    for key, values in content.items():
        if not isinstance(values, dict):
            raise HoldfastError("the problem is no JSON object", file=file, item=key)
        metadata = values["metadata"] if isinstance(values.get("metadata"), dict) else {}
        extra = {name: values.get(name, metadata.get(name)) for name in (*TABLES, "precision", "extraction")}
        # A model without a response of its own, such as a guess, has an extraction only.
        said = next((values[name] for name in _SAID if values.get(name) is not None), None)
        made.append(
            Prediction(
                key,
                as_text(said, "response", file, None, key),
                as_list(values.get("answer"), "answer", file, None, key)
                if isinstance(values.get("answer"), list)
                else ()
                if values.get("answer") is None
                else (str(values["answer"]),),
                question=str(values.get("question", "")),
                image=str(values.get("image", "")),
                choices=as_list(values.get("choices"), "choices", file, None, key),
                extra={name: value for name, value in extra.items() if value is not None},
            )
        )
    return made


def references(place: Path, said: Sequence[Prediction], ask: Ask) -> Gold:
    """``testmini.json``."""
    file = inside(place, "testmini.json", "data/testmini.json")
    content = read_json(file, nan_is_none=True)
    if not isinstance(content, dict):
        raise HoldfastError("the references are no problems by pid", file=file)
    return Gold(file, gold_of(file, _items(content, file)))


BENCHMARK = Benchmark(
    metrics={"mathvista": "mathvista"},
    layouts=(Layout("MathVista output", fits, read, nan=True),),
    gold=references,
)
