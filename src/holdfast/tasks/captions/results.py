"""Captions: COCO results against COCO, Karpathy or Flickr30k references."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.files import Record, read, text_lines
from holdfast.predictions.columns import as_id, as_list
from holdfast.predictions.gold import Gold, inside
from holdfast.predictions.layout import Benchmark, rows_layout
from holdfast.predictions.reading import Ask
from holdfast.predictions.record import Prediction
from holdfast.values import JSON

_TOKEN_LINE = re.compile(r"^(\S+?)#\d+\t(.*)$")

Captions = Mapping[str, tuple[str, ...]]


def references(place: Path, said: Sequence[Prediction], ask: Ask) -> Gold:
    """A COCO annotation file, Karpathy's ``dataset_*.json`` (its test split), Flickr30k's ``results_*.token``, or
    records ``{image_id, captions: [...]}``; an image has one caption."""
    file = inside(place, "captions_*.json*", "dataset*.json*", "*.token", "*.json*")
    captions = _captions(file, {one.id for one in said})
    images = [replace(one, id=one.image) for one in said]
    by_image = not any(one.id in captions for one in said) and len({one.id for one in images}) == len(images)
    items = {key: Prediction(key, None, texts, image=key) for key, texts in captions.items()}
    return Gold(file, items, images if by_image else None)


def _captions(file: Path, answered: Set[str]) -> Captions:
    if file.suffix in (".token", ".txt"):
        return _grouped(_token_lines(file), answered)
    content = read(file)
    if isinstance(content, list):
        return dict(_record(file, row) for row in content)
    if isinstance(content.get("annotations"), list):
        grouped = _grouped(_annotations(file, content["annotations"]), answered)
        return _by_name(grouped, content.get("images"), answered)
    if isinstance(content.get("images"), list):
        return _karpathy(file, content["images"], answered)
    if all(isinstance(value, list) for value in content.values()):
        return {key: tuple(map(str, value)) for key, value in content.items()}
    raise HoldfastError("these references are in no caption layout that is known here", file=file)


def _by_name(captions: Captions, images: Any, answered: Set[str]) -> Captions:
    """Captions under the names of the images' files, with or without their ending, where the answers use these."""
    if captions.keys() & answered or not isinstance(images, list):
        return captions
    names = {str(one.get("id")): str(one.get("file_name")) for one in images if isinstance(one, dict)}
    whole = {names[key]: texts for key, texts in captions.items() if key in names}
    if len(whole) < len(captions):
        return captions
    return whole if whole.keys() & answered else {name.rpartition(".")[0]: texts for name, texts in whole.items()}


def _annotations(file: Path, annotations: list[Any]) -> Iterable[tuple[str, str]]:
    for number, one in enumerate(annotations, start=1):
        if not isinstance(one, dict) or "image_id" not in one or "caption" not in one:
            raise HoldfastError(f"annotation {number} has no image_id or no caption", file=file)
        yield str(one["image_id"]), str(one["caption"])


def _token_lines(file: Path) -> Iterable[tuple[str, str]]:
    for number, line in text_lines(file):
        if not line.strip():
            continue
        found = _TOKEN_LINE.match(line.rstrip("\r\n"))
        if found is None:
            raise HoldfastError("the line is not 'image#number<tab>caption'", file=file, line=number)
        yield found.group(1), found.group(2)


def _grouped(pairs: Iterable[tuple[str, str]], answered: Set[str]) -> Captions:
    """Captions by image; names lose their ending where the answers use none."""
    groups: dict[str, list[str]] = {}
    for key, caption in pairs:
        groups.setdefault(key, []).append(caption)
    if not groups.keys() & answered:
        groups = {key.rsplit(".", 1)[0]: value for key, value in groups.items()}
    return {key: tuple(value) for key, value in groups.items()}


def _record(file: Path, row: Record) -> tuple[str, tuple[str, ...]]:
    record = row.values
    key = next((record[name] for name in ("image_id", "id", "question_id", "image") if name in record), None)
    item = as_id(key, "image_id", file, row.line)
    given = next((record[name] for name in ("captions", "references", "caption", "answers") if name in record), None)
    captions = as_list(given, "captions", file, row.line, item)
    if not captions:
        raise HoldfastError("the reference record has no captions", file=file, line=row.line, item=item)
    return item, captions


def _karpathy(file: Path, images: list[JSON], answered: Set[str]) -> Captions:
    """The test split under whichever of its names the answers use."""
    test = [image for image in images if image.get("split") == "test"]
    best: dict[str, tuple[str, ...]] = {}
    most = -1
    for name in ("cocoid", "imgid", "filename", "stem"):
        keyed = {_name(image, name): tuple(str(s.get("raw", "")) for s in image["sentences"]) for image in test}
        keyed.pop("", None)
        shared = len(keyed.keys() & answered)
        if shared > most:
            best, most = keyed, shared
    if not best:
        raise HoldfastError("the file has no images in its test split", file=file)
    return best


def _name(image: Mapping[str, Any], name: str) -> str:
    if name == "stem":
        return str(image.get("filename", "")).rsplit(".", 1)[0]
    return str(image.get(name, ""))


RESULTS = rows_layout(
    "COCO caption results",
    "image_id caption",
    {"id": "image_id", "prediction": "caption", "image": "image_id", "references": "references"},
    without=("prediction", "answer", "response", "hallucinated", "mscoco_hallucinated_words"),
)
BENCHMARK = Benchmark(
    metrics={"coco_captions": "cider", "flickr30k": "cider", "nocaps": "cider", "textcaps": "cider"},
    layouts=(RESULTS,),
    gold=references,
    also_for=("bleu", "cider", "meteor", "rouge_l", "spice"),
)
