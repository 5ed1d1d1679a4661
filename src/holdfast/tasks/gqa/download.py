"""GQA: balanced questions by id."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from holdfast.tasks.preparing.draft import Draft
from holdfast.tasks.preparing.source import Fields, Source, read_objects

# Steps whose mention does not lengthen the reasoning, in the official script.
FREE_STEPS = ("exist", "query: name", "choose name")


def read(source: Source, split: str) -> Iterator[Draft]:
    """Items of ``train``, ``val`` or ``testdev``."""
    name = f"{split}_balanced_questions.json"
    file = source.file(name, f"questions1.2/{name}", f"questions/{name}")
    folder = source.folder("images")
    for record in read_objects(file).values():
        yield replace(draft(record), image=f"{folder}/{record.safe(record.text('imageId'))}.jpg")


def draft(record: Fields) -> Draft:
    """A question, its image called as the file calls it."""
    types, groups, steps = record.get("types") or {}, record.get("groups") or {}, record.get("semantic")
    question = record.words("question")
    extra = {
        "structural": types.get("structural"),
        "semantic": types.get("semantic"),
        "balanced": record.get("isBalanced", True),
        "entailed": list(record.get("entailed") or ()) or None,
        "group": groups.get("global"),
        "words": len(question.split()),
        "steps": sum(not _is_free(step) for step in steps) if isinstance(steps, list) else None,
    }
    return Draft(record.item, question, (record.answer(),), record.words("imageId"), extra=extra)


def _is_free(step: Mapping[str, Any]) -> bool:
    text = f"{step.get('operation')}: {step.get('argument')}"
    return any(free in text for free in FREE_STEPS)
