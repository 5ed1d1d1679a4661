"""TextVQA: one JSON file a split, ten answers a question, and the OCR tokens of Rosetta in files of their own."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.errors import HoldfastError
from holdfast.tasks.preparing.draft import Draft, ten_answers
from holdfast.tasks.preparing.source import Source, listed, read_records, safe_part, take


def read(source: Source, split: str) -> Iterator[Draft]:
    """Items of ``train`` or ``val`` by question id; the images of both lie in ``train_images``."""
    file = source.file(f"TextVQA_0.5.1_{split}.json")
    folder = source.folder("train_images", "train_val_images/train_images")
    tokens = _tokens(source, split) if source.card.options.get("ocr") == "yes" else {}
    for record in read_records(file, "data"):
        key = str(take(record, "question_id", file=file))
        image = safe_part(str(take(record, "image_id", file=file, item=key)), file=file, item=key)
        if tokens and image not in tokens:
            raise HoldfastError(f"image '{image}' has no OCR tokens", file=file, item=key)
        yield Draft(
            key,
            str(take(record, "question", file=file, item=key)),
            ten_answers(record, file=file, item=key),
            f"{folder}/{image}.jpg",
            extra={"image_classes": record.get("image_classes"), "ocr_tokens": tokens.get(image)},
        )


def _tokens(source: Source, split: str) -> dict[str, list[str]]:
    file = source.file(f"TextVQA_Rosetta_OCR_v0.2_{split}.json")
    found = {}
    for record in read_records(file, "data"):
        image = str(take(record, "image_id", file=file))
        found[image] = [str(token) for token in listed(record, "ocr_tokens", file=file, item=image)]
    return found
