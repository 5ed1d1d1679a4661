"""HallusionBench: one JSON list; some questions have a figure, some the same figure edited, some none."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.tasks.hallusionbench.metric import PLACE
from holdfast.tasks.preparing.draft import Draft
from holdfast.tasks.preparing.source import Source, read_records

ANSWERS = {"0": "No", "1": "Yes"}


def read(source: Source, split: str) -> Iterator[Draft]:
    """Items by the five fields that tell where a question stands."""
    file = source.file(f"{split}.json")
    figures = source.below("hallusion_bench", ".")
    for unnamed in read_records(file, None):
        place = {name: unnamed.text(name) for name in PLACE}
        record = unnamed.named("_".join(place.values()))
        gold = record.text("gt_answer")
        if gold not in ANSWERS:
            raise record.fault(f"the answer is '{gold[:40]}', not 0 or 1")
        extra = {**place, "visual_input": record.text("visual_input")}
        extra["details"] = str(record.get("gt_answer_details") or "")
        name = str(record.get("filename") or "").removeprefix("./")
        image = f"{figures}{name}" if name else None
        yield Draft(record.item, record.text("question"), (ANSWERS[gold],), image, extra=extra)
