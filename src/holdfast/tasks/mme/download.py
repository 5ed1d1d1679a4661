"""MME: a folder a subtask, a text file an image with two questions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.files import text_lines
from holdfast.tasks.preparing.draft import Draft
from holdfast.tasks.preparing.source import Source

SUBTASKS = (
    "existence",
    "count",
    "position",
    "color",
    "posters",
    "celebrity",
    "scene",
    "landmark",
    "artwork",
    "OCR",
    "commonsense_reasoning",
    "numerical_calculation",
    "text_translation",
    "code_reasoning",
)
ENDING = "Please answer yes or no."
"""Every official question ends so; prompts put it back or leave it, hence it is not part of the question here."""


def read(source: Source, split: str) -> Iterator[Draft]:
    """Items ``<subtask>/<image without its ending>/<1 or 2>``; ``split`` is the name of the benchmark's folder.

    Questions stand beside the images, or in ``questions_answers_YN`` beside ``images``.
    """
    base = source.folder(split, ".")
    for subtask in SUBTASKS:
        folder = source.folder(f"{base}/{subtask}".removeprefix("./"))
        apart = (source.root / folder / "questions_answers_YN").is_dir()
        texts, images = (f"{folder}/questions_answers_YN", f"{folder}/images") if apart else (folder, folder)
        files = sorted((source.root / texts).glob("*.txt"))
        if not files:
            raise source.missing(f"'{texts}/<image>.txt'")
        for file in files:
            yield from _pair(source, file, images, subtask)


def _pair(source: Source, file: Path, images: str, subtask: str) -> Iterator[Draft]:
    endings = (".jpg", ".png", ".jpeg")
    name = next((file.stem + e for e in endings if (source.root / images / (file.stem + e)).is_file()), None)
    if name is None:
        raise source.missing(f"the image of '{file.name}'", item=f"{subtask}/{file.stem}")
    rows = [(line, row.rstrip("\r\n")) for line, row in text_lines(file) if row.strip()]
    if len(rows) != 2:
        raise HoldfastError(f"the file has {len(rows)} questions, not two", file=file)
    for number, (line, row) in enumerate(rows, start=1):
        question, tab, label = row.partition("\t")
        label = label.strip().lower()
        if not tab or label not in ("yes", "no"):
            raise HoldfastError("the line is not 'question<tab>Yes or No'", file=file, line=line)
        yield Draft(
            f"{subtask}/{file.stem}/{number}",
            question.strip().removesuffix(ENDING).strip(),
            (label.capitalize(),),
            f"{images}/{name}",
            extra={"subtask": subtask, "pair": file.stem},
            group=f"{subtask}/{file.stem}",
        )
