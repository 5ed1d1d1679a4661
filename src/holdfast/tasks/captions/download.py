"""Captions: Karpathy's split files of Flickr30k and COCO, and COCO's own annotation files. One item an image."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.tasks.preparing.draft import Draft
from holdfast.tasks.preparing.source import Fields, Source, read_records

QUESTION = "Describe the image."
"""Stands in the prepared files; the card's prompt is what is asked."""


def karpathy(source: Source, split: str) -> Iterator[Draft]:
    """Images of a split (COCO: also ``restval``) with all their captions."""
    file = source.file(*source.card.options["file"].split(" | "))
    folder = None if "images" not in source.card.options else source.folder(*source.card.options["images"].split(" | "))
    for unnamed in read_records(file, "images"):
        if unnamed.get("split") != split:
            continue
        name = unnamed.safe(unnamed.text("filename"))
        record = unnamed.named(str(unnamed.get("cocoid", name.rsplit(".", 1)[0])))
        below = folder or record.safe(record.text("filepath"))
        sentences = (Fields(file, one, item=record.item) for one in record.listed("sentences"))
        yield _draft(record, [sentence.text("raw") for sentence in sentences], f"{below}/{name}")


def coco(source: Source, split: str) -> Iterator[Draft]:
    """Images of ``train2014`` or ``val2014`` with all their captions, from ``annotations/captions_<split>.json``."""
    file = source.file(f"annotations/captions_{split}.json", f"captions_{split}.json")
    captions: dict[int, list[str]] = {}
    for record in read_records(file, "annotations"):
        key = record.whole("image_id")
        captions.setdefault(key, []).append(record.named(str(key)).text("caption"))
    for unnamed in read_records(file, "images"):
        key = unnamed.whole("id")
        record = unnamed.named(str(key))
        name = record.safe(str(record.get("file_name") or f"COCO_{split}_{key:012d}.jpg"))
        yield _draft(record, captions.get(key, []), f"{split}/{name}")


def _draft(record: Fields, captions: list[str], image: str) -> Draft:
    filled = tuple(caption.strip() for caption in captions if caption.strip())
    if not filled:
        raise record.fault("the image has no caption")
    return Draft(record.item, QUESTION, filled, image)
