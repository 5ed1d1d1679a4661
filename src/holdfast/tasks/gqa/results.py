"""GQA: the questions file, and predictions as the official script or LLaVA writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.files import read_json
from holdfast.predictions.gold import Gold, inside
from holdfast.predictions.layout import Benchmark
from holdfast.predictions.reading import Ask
from holdfast.predictions.record import Prediction
from holdfast.values import JSON

# Steps whose mention does not lengthen the reasoning, in the official script.
_FREE_STEPS = ("exist", "query: name", "choose name")


def references(place: Path, said: Sequence[Prediction], ask: Ask) -> Gold:
    """The questions of ``*_questions.json``, by id."""
    file = inside(place, "testdev_balanced_questions.json*", "*questions.json*")
    content = read_json(file)
    if not isinstance(content, dict):
        raise HoldfastError("GQA questions are one JSON object by id", file=file)
    return Gold(file, {key: _item(file, key, record) for key, record in content.items()})


def _item(file: Path, key: str, record: Mapping[str, Any]) -> Prediction:
    if not isinstance(record, dict) or "answer" not in record:
        raise HoldfastError("the question has no answer, as test splits have none", file=file, item=key)
    types, groups = record.get("types") or {}, record.get("groups") or {}
    question = str(record.get("question", ""))
    extra: JSON = {
        "structural": types.get("structural"),
        "semantic": types.get("semantic"),
        "balanced": record.get("isBalanced", True),
        "entailed": tuple(record.get("entailed") or ()),
        "group": groups.get("global"),
        "words": len(question.split()),
    }
    if isinstance(record.get("semantic"), list):
        extra["steps"] = sum(not _is_free(step) for step in record["semantic"])
    return Prediction(
        key,
        None,
        references=(str(record["answer"]),),
        question=question,
        image=str(record.get("imageId", "")),
        extra=extra,
    )


def _is_free(step: Mapping[str, Any]) -> bool:
    text = f"{step.get('operation')}: {step.get('argument')}"
    return any(free in text for free in _FREE_STEPS)


BENCHMARK = Benchmark(metrics={"gqa": "gqa"}, gold=references)
