"""OCRBench: one JSON list, its images in a folder of their own."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.tasks.preparing.draft import Draft
from holdfast.tasks.preparing.source import Source, read_records

FIELDS = ("dataset_name", "type")


def read(source: Source, split: str) -> Iterator[Draft]:
    """Items by data set and number, as the numbers alone come twice."""
    file = source.file(f"{split}.json", f"OCRBench/{split}.json")
    images = source.below("OCRBench_Images", ".")
    for unnamed in read_records(file, None):
        extra = {name: unnamed.text(name) for name in FIELDS}
        record = unnamed.named(f"{extra['dataset_name']}/{unnamed.take('id')}")
        answers, name = record.take("answers"), record.text("image_path")
        yield Draft(
            record.item,
            record.text("question"),
            tuple(map(str, answers)) if isinstance(answers, list) else (str(answers),),
            f"{images}{name}",
            extra=extra,
        )
