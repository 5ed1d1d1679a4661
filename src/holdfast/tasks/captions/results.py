"""Captions: COCO results against COCO, Karpathy or Flickr30k references."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.predictions.answers import Answers, identifier, pair, read_answers
from holdfast.predictions.official_files import Row, read, read_text
from holdfast.predictions.record import Prediction
from holdfast.predictions.request import Request, inside

_TOKEN_LINE = re.compile(r"^(\S+?)#\d+\t(.*)$")


def items(request: Request) -> list[Prediction]:
    """Results ``[{image_id, caption}]`` (one caption an image) against references.

    References are a COCO annotation file, Karpathy's ``dataset_*.json`` (its test split), Flickr30k's
    ``results_*.token``, or records ``{image_id, captions: [...]}``.
    """
    place = request.needed
    file = inside(place, "captions_*.json*", "dataset*.json*", "*.token", "*.json*")
    ids = ("image_id", "question_id", "id", "image", "filename")
    answers = read_answers(request.predictions, ids=ids, texts=("caption", "prediction", "text", "answer"))
    references = {
        key: Prediction(key, references=captions, image=key) for key, captions in _references(file, answers).items()
    }
    return pair(answers, references, file, intersect=request.intersect)


def _references(file: Path, answers: Answers) -> dict[str, tuple[str, ...]]:
    if file.suffix == ".token" or file.suffix == ".txt":
        return _grouped(_token_lines(file), answers)
    content = read(file)
    if isinstance(content, list):
        return {key: captions for key, captions in (_record(file, row) for row in content)}
    if isinstance(content.get("annotations"), list):
        return _grouped(((str(a.get("image_id")), str(a.get("caption"))) for a in content["annotations"]), answers)
    if isinstance(content.get("images"), list):
        return _karpathy(file, content["images"], answers)
    if all(isinstance(value, list) for value in content.values()):
        return {key: tuple(map(str, value)) for key, value in content.items()}
    raise HoldfastError("these references are in no caption layout that is known here", file=file)


def _token_lines(file: Path) -> Iterable[tuple[str, str]]:
    for number, line in enumerate(read_text(file).split("\n"), start=1):
        if not line.strip():
            continue
        found = _TOKEN_LINE.match(line.rstrip("\r"))
        if found is None:
            raise HoldfastError("the line is not 'image#number<tab>caption'", file=file, line=number)
        yield found.group(1), found.group(2)


def _grouped(pairs: Iterable[tuple[str, str]], answers: Answers) -> dict[str, tuple[str, ...]]:
    """Captions by image; names lose their ending where the answers use none."""
    groups: dict[str, list[str]] = {}
    for key, caption in pairs:
        groups.setdefault(key, []).append(caption)
    if not groups.keys() & answers.by_id.keys():
        groups = {key.rsplit(".", 1)[0]: value for key, value in groups.items()}
    return {key: tuple(value) for key, value in groups.items()}


def _record(file: Path, row: Row) -> tuple[str, tuple[str, ...]]:
    record = row.record
    key = identifier(next((record[n] for n in ("image_id", "id", "question_id", "image") if n in record), None))
    captions = next((record[n] for n in ("captions", "references", "caption", "answers") if n in record), None)
    if key is None or not captions:
        raise HoldfastError("the reference record has no image id or no captions", file=file, line=row.line)
    return key, tuple(map(str, captions)) if isinstance(captions, list) else (str(captions),)


def _karpathy(file: Path, images: list[dict[str, Any]], answers: Answers) -> dict[str, tuple[str, ...]]:
    """The test split under whichever of its names the answers use."""
    test = [image for image in images if image.get("split") == "test"]
    best: dict[str, tuple[str, ...]] = {}
    most = -1
    for name in ("cocoid", "imgid", "filename", "stem"):
        keyed = {_name(image, name): tuple(str(s.get("raw", "")) for s in image["sentences"]) for image in test}
        keyed.pop("", None)
        shared = len(keyed.keys() & answers.by_id.keys())
        if shared > most:
            best, most = keyed, shared
    if not best:
        raise HoldfastError("the file has no images in its test split", file=file)
    return best


def _name(image: dict[str, Any], name: str) -> str:
    if name == "stem":
        return str(image.get("filename", "")).rsplit(".", 1)[0]
    return str(image.get(name, ""))
