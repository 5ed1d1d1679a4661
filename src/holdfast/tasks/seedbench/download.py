"""SEED-Bench-1, the nine dimensions of images: the official JSON file with its images, or VLMEvalKit's table."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.tasks.preparing.draft import Draft
from holdfast.tasks.preparing.source import Source, read_records
from holdfast.tasks.preparing.table import read_table
from holdfast.tasks.seedbench.metric import DIMENSIONS, LAST_OF_IMAGES

LETTERS = "ABCD"


def read(source: Source, split: str) -> Iterator[Draft]:
    """Items by ``question_id``, or by index where the table is what is there; questions about videos are left out."""
    file = source.file("SEED-Bench.json", f"{split}.tsv")
    if file.name.startswith(split):
        yield from read_table(source, split)
        return
    images = source.below("SEED-Bench-image", "seed_bench_image", ".")
    for record in read_records(file, "questions", named="question_id"):
        dimension = record.whole("question_type_id")
        if dimension > LAST_OF_IMAGES:
            continue
        answer = record.text("answer")
        if answer not in tuple(LETTERS):
            raise record.fault(f"the answer is '{answer[:40]}', not one of A, B, C and D")
        choices = tuple(record.text(f"choice_{name.lower()}") for name in LETTERS)
        extra = {
            "answer_index": LETTERS.index(answer),
            "question_type_id": dimension,
            "category": DIMENSIONS.get(dimension),
        }
        image = f"{images}{record.text('data_id')}"
        yield Draft(record.item, record.text("question"), (answer,), image, choices=choices, extra=extra)
