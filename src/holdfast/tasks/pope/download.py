"""POPE: one label file a split, JSON Lines whatever its name says."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.errors import HoldfastError
from holdfast.files import records
from holdfast.tasks.preparing.draft import Draft
from holdfast.tasks.preparing.source import Source, safe_part, take


def read(source: Source, split: str) -> Iterator[Draft]:
    """Items ``<split>/<question id>`` of ``random``, ``popular`` or ``adversarial``."""
    name = f"coco_pope_{split}.json"
    file = source.file(name, f"output/coco/{name}", f"coco/{name}")
    folder = source.folder("val2014")
    for row in records(file):
        record, line = row.values, row.line
        key = f"{split}/{take(record, 'question_id', file=file, line=line)}"
        label = str(take(record, "label", file=file, item=key, line=line)).strip().lower()
        if label not in ("yes", "no"):
            raise HoldfastError(f"the label is '{label}', not yes or no", file=file, item=key, line=line)
        image = safe_part(str(take(record, "image", file=file, item=key, line=line)), file=file, item=key)
        question = str(take(record, "text", file=file, item=key, line=line))
        yield Draft(key, question, (label,), f"{folder}/{image}", extra={"category": split})
