"""GQA: balanced questions by id."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from holdfast.tasks.preparing.draft import Draft
from holdfast.tasks.preparing.source import Source, read_objects, safe_part, take
from holdfast.values import JSON

# Steps whose mention does not lengthen the reasoning, in the official script.
FREE_STEPS = ("exist", "query: name", "choose name")


def read(source: Source, split: str) -> Iterator[Draft]:
    """Items of ``train``, ``val`` or ``testdev``."""
    name = f"{split}_balanced_questions.json"
    file = source.file(name, f"questions1.2/{name}", f"questions/{name}")
    folder = source.folder("images")
    for key, record in read_objects(file).items():
        image = safe_part(str(take(record, "imageId", file=file, item=key)), file=file, item=key)
        question = str(take(record, "question", file=file, item=key))
        answer = str(take(record, "answer", file=file, item=key))
        yield Draft(key, question, (answer,), f"{folder}/{image}.jpg", extra=_extra(record, question))


def _extra(record: Mapping[str, Any], question: str) -> JSON:
    types, groups, steps = record.get("types") or {}, record.get("groups") or {}, record.get("semantic")
    return {
        "structural": types.get("structural"),
        "semantic": types.get("semantic"),
        "balanced": record.get("isBalanced", True),
        "entailed": list(record.get("entailed") or ()) or None,
        "group": groups.get("global"),
        "words": len(question.split()),
        "steps": sum(not _is_free(step) for step in steps) if isinstance(steps, list) else None,
    }


def _is_free(step: Mapping[str, Any]) -> bool:
    text = f"{step.get('operation')}: {step.get('argument')}"
    return any(free in text for free in FREE_STEPS)
