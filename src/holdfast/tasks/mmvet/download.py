"""MM-Vet: ``mm-vet.json`` by question, its images beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from holdfast.tasks.preparing.draft import Draft
from holdfast.tasks.preparing.source import Fields, Source, read_objects


def read(source: Source, split: str) -> Iterator[Draft]:
    """Items by id; the answer may name several, parted by ``<AND>`` and ``<OR>``."""
    file = source.file(f"{split}.json", f"mm-vet/{split}.json")
    images = source.folder("images", "mm-vet/images")
    for record in read_objects(file).values():
        yield replace(draft(record), image=f"{images}/{record.take('imagename')}")


def draft(record: Fields) -> Draft:
    """A question, its image called as the file calls it."""
    extra = {"capability": [str(name) for name in record.listed("capability")]}
    return Draft(record.item, record.text("question"), (record.text("answer"),), record.words("imagename"), extra=extra)
