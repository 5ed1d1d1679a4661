"""POPE: one label file a split, JSON Lines whatever its name says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from holdfast.files import records
from holdfast.tasks.preparing.draft import Draft
from holdfast.tasks.preparing.source import Fields, Source


def read(source: Source, split: str) -> Iterator[Draft]:
    """Items ``<split>/<question id>`` of ``random``, ``popular`` or ``adversarial``."""
    name = f"coco_pope_{split}.json"
    file = source.file(name, f"output/coco/{name}", f"coco/{name}")
    folder = source.folder("val2014")
    for row in records(file):
        record = Fields(file, row.values, row.line)
        label = draft(record, split)
        yield replace(label, image=f"{folder}/{record.safe(label.image or '')}")


def draft(record: Fields, split: str) -> Draft:
    """A label as an item, its image called as the file calls it."""
    record = record.named(f"{split}/{record.take('question_id')}")
    label = record.text("label").strip().lower()
    if label not in ("yes", "no"):
        raise record.fault(f"the label is '{label}', not yes or no")
    question = record.words("text") or record.words("question")
    return Draft(record.item, question, (label,), record.words("image"), extra={"category": split})
