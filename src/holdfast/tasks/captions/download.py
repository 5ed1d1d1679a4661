"""Captions: Karpathy's split files of Flickr30k and COCO, and COCO's own annotation files. One item an image."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.errors import HoldfastError
from holdfast.tasks.preparing.draft import Draft
from holdfast.tasks.preparing.source import Source, listed, read_records, safe_part, take, whole

QUESTION = "Describe the image."
"""Stands in the prepared files; the card's prompt is what is asked."""


def karpathy(source: Source, split: str) -> Iterator[Draft]:
    """Images of a split (COCO: also ``restval``) with all their captions."""
    file = source.file(*source.card.options["file"].split(" | "))
    folder = None if "images" not in source.card.options else source.folder(*source.card.options["images"].split(" | "))
    for record in read_records(file, "images"):
        if record.get("split") != split:
            continue
        name = safe_part(str(take(record, "filename", file=file)), file=file)
        key = str(record["cocoid"]) if "cocoid" in record else name.rsplit(".", 1)[0]
        below = folder or safe_part(str(take(record, "filepath", file=file, item=key)), file=file, item=key)
        sentences = listed(record, "sentences", file=file, item=key)
        captions = tuple(str(take(one, "raw", file=file, item=key)).strip() for one in sentences)
        yield _draft(key, captions, f"{below}/{name}", str(file))


def coco(source: Source, split: str) -> Iterator[Draft]:
    """Images of ``train2014`` or ``val2014`` with all their captions, from ``annotations/captions_<split>.json``."""
    file = source.file(f"annotations/captions_{split}.json", f"captions_{split}.json")
    captions: dict[int, list[str]] = {}
    for record in read_records(file, "annotations"):
        key = whole(record, "image_id", file=file)
        captions.setdefault(key, []).append(str(take(record, "caption", file=file, item=str(key))).strip())
    for image in read_records(file, "images"):
        key = whole(image, "id", file=file)
        name = str(image.get("file_name") or f"COCO_{split}_{key:012d}.jpg")
        found = tuple(captions.get(key, ()))
        yield _draft(str(key), found, f"{split}/{safe_part(name, file=file, item=str(key))}", str(file))


def _draft(key: str, captions: tuple[str, ...], image: str, file: str) -> Draft:
    filled = tuple(caption for caption in captions if caption)
    if not filled:
        raise HoldfastError("the image has no caption", file=file, item=key)
    return Draft(key, QUESTION, filled, image)
