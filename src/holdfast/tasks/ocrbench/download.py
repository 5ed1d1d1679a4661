"""OCRBench: one JSON list, its images in a folder of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from holdfast.predictions.columns import as_list
from holdfast.tasks.preparing.draft import Draft
from holdfast.tasks.preparing.source import Fields, Source, read_records

FIELDS = ("dataset_name", "type")


def read(source: Source, split: str) -> Iterator[Draft]:
    """Items by data set and number, as the numbers alone come twice."""
    file = source.file(f"{split}.json", f"OCRBench/{split}.json")
    images = source.below("OCRBench_Images", ".")
    for item in map(draft, read_records(file, None)):
        yield replace(item, image=f"{images}{item.image}")


def draft(unnamed: Fields) -> Draft:
    """A question, its image called as the file calls it."""
    extra = {name: unnamed.text(name) for name in FIELDS}
    record = unnamed.named(f"{extra['dataset_name']}/{unnamed.take('id')}")
    answers = as_list(record.take("answers"), "answers", record.file, record.line, record.item)
    return Draft(record.item, record.text("question"), answers, record.text("image_path"), extra=extra)
