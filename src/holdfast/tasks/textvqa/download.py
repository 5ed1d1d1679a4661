"""TextVQA: one JSON file a split, ten answers a question, and the OCR tokens of Rosetta in files of their own."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.tasks.preparing.draft import Draft, ten_answers
from holdfast.tasks.preparing.source import Source, read_records


def read(source: Source, split: str) -> Iterator[Draft]:
    """Items of ``train`` or ``val`` by question id; the images of both lie in ``train_images``."""
    file = source.file(f"TextVQA_0.5.1_{split}.json")
    folder = source.folder("train_images", "train_val_images/train_images")
    tokens = _tokens(source, split) if source.card.options.get("ocr") == "yes" else {}
    for record in read_records(file, "data", named="question_id"):
        image = record.safe(record.text("image_id"))
        if tokens and image not in tokens:
            raise record.fault(f"image '{image}' has no OCR tokens")
        extra = {"image_classes": record.get("image_classes"), "ocr_tokens": tokens.get(image)}
        yield Draft(record.item, record.text("question"), ten_answers(record), f"{folder}/{image}.jpg", extra=extra)


def _tokens(source: Source, split: str) -> dict[str, list[str]]:
    file = source.file(f"TextVQA_Rosetta_OCR_v0.2_{split}.json")
    return {one.item: list(map(str, one.listed("ocr_tokens"))) for one in read_records(file, "data", named="image_id")}
