"""MM-Vet: ``mm-vet.json`` by question, its images beside it."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.tasks.preparing.draft import Draft
from holdfast.tasks.preparing.source import Source, read_objects


def read(source: Source, split: str) -> Iterator[Draft]:
    """Items by id; the answer may name several, parted by ``<AND>`` and ``<OR>``."""
    file = source.file(f"{split}.json", f"mm-vet/{split}.json")
    images = source.folder("images", "mm-vet/images")
    for key, record in read_objects(file).items():
        image = f"{images}/{record.take('imagename')}"
        extra = {"capability": [str(name) for name in record.listed("capability")]}
        yield Draft(key, record.text("question"), (record.text("answer"),), image, extra=extra)
