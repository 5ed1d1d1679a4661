"""OCRBench: one JSON list, its images in a folder of their own."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.tasks.preparing.draft import Draft
from holdfast.tasks.preparing.source import Source, read_records, take

FIELDS = ("dataset_name", "type")


def read(source: Source, split: str) -> Iterator[Draft]:
    """Items by data set and number, as the numbers alone come twice."""
    file = source.file(f"{split}.json", f"OCRBench/{split}.json")
    images = source.folder("OCRBench_Images", ".")
    for record in read_records(file, None):
        extra = {name: str(take(record, name, file=file)) for name in FIELDS}
        key = f"{extra['dataset_name']}/{take(record, 'id', file=file)}"
        answers = take(record, "answers", file=file, item=key)
        name = str(take(record, "image_path", file=file, item=key))
        yield Draft(
            key,
            str(take(record, "question", file=file, item=key)),
            tuple(map(str, answers)) if isinstance(answers, list) else (str(answers),),
            name if images == "." else f"{images}/{name}",
            extra=extra,
        )
