"""MM-Vet: ``mm-vet.json`` by question, its images beside it."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.tasks.preparing.draft import Draft
from holdfast.tasks.preparing.source import Source, listed, read_objects, take


def read(source: Source, split: str) -> Iterator[Draft]:
    """Items by id; the answer may name several, parted by ``<AND>`` and ``<OR>``."""
    file = source.file(f"{split}.json", f"mm-vet/{split}.json")
    images = source.folder("images", "mm-vet/images")
    for key, record in read_objects(file).items():
        question = str(take(record, "question", file=file, item=key))
        answer = str(take(record, "answer", file=file, item=key))
        image = f"{images}/{take(record, 'imagename', file=file, item=key)}"
        extra = {"capability": [str(name) for name in listed(record, "capability", file=file, item=key)]}
        yield Draft(key, question, (answer,), image, extra=extra)
