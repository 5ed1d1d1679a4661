"""HallusionBench: one JSON list; some questions have a figure, some the same figure edited, some none."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.errors import HoldfastError
from holdfast.tasks.preparing.draft import Draft
from holdfast.tasks.preparing.source import Source, read_records, take

PLACE = ("category", "subcategory", "set_id", "figure_id", "question_id")
ANSWERS = {"0": "No", "1": "Yes"}


def read(source: Source, split: str) -> Iterator[Draft]:
    """Items by the five fields that tell where a question stands."""
    file = source.file(f"{split}.json")
    figures = source.folder("hallusion_bench", ".")
    for record in read_records(file, None):
        place = {name: str(take(record, name, file=file)) for name in PLACE}
        key = "_".join(place.values())
        gold = str(take(record, "gt_answer", file=file, item=key))
        if gold not in ANSWERS:
            raise HoldfastError(f"the answer is '{gold[:40]}', not 0 or 1", file=file, item=key)
        extra = {**place, "visual_input": str(take(record, "visual_input", file=file, item=key))}
        extra["details"] = str(record.get("gt_answer_details") or "")
        name = str(record.get("filename") or "").removeprefix("./")
        image = None if not name else name if figures == "." else f"{figures}/{name}"
        question = str(take(record, "question", file=file, item=key))
        yield Draft(key, question, (ANSWERS[gold],), image, extra=extra)
