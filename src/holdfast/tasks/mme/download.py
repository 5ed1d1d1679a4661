"""MME: a folder a subtask, a text file an image with two questions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.files import text_lines
from holdfast.tasks.mme.metric import SUBTASKS
from holdfast.tasks.preparing.draft import Draft
from holdfast.tasks.preparing.source import Source

ENDING = "Please answer yes or no."
"""Every official question ends so; prompts put it back or leave it, hence it is not part of the question here."""


def read(source: Source, split: str) -> Iterator[Draft]:
    """Items ``<subtask>/<image without its ending>/<1 or 2>``; ``split`` is the name of the benchmark's folder.

    Questions stand beside the images, or in ``questions_answers_YN`` beside ``images``.
    """
    base = source.below(split, ".")
    for subtask in SUBTASKS:
        folder = source.folder(f"{base}{subtask}")
        apart = (source.root / folder / "questions_answers_YN").is_dir()
        texts, images = (f"{folder}/questions_answers_YN", f"{folder}/images") if apart else (folder, folder)
        files = sorted((source.root / texts).glob("*.txt"))
        if not files:
            raise source.missing(f"'{texts}/<image>.txt'")
        for file in files:
            image = f"{images}/{_picture(source, file, images, subtask)}"
            yield from (replace(draft, image=image) for draft in pair(file, subtask))


def _picture(source: Source, file: Path, images: str, subtask: str) -> str:
    endings = (".jpg", ".png", ".jpeg")
    name = next((file.stem + e for e in endings if (source.root / images / (file.stem + e)).is_file()), None)
    if name is None:
        raise source.missing(f"the image of '{file.name}'", item=f"{subtask}/{file.stem}")
    return name


def pair(file: Path, subtask: str) -> Iterator[Draft]:
    """The two questions about an image, which is called by subtask and name without ending."""
    rows = [(line, row.rstrip("\r\n")) for line, row in text_lines(file) if row.strip()]
    if len(rows) != 2:
        raise HoldfastError(f"the file has {len(rows)} questions, not two", file=file)
    image = f"{subtask}/{file.stem}"
    for number, (line, row) in enumerate(rows, start=1):
        question, tab, label = row.partition("\t")
        answer = label.strip().capitalize()
        if not tab or answer not in ("Yes", "No"):
            raise HoldfastError("the line is not 'question<tab>Yes or No'", file=file, line=line)
        extra = {"subtask": subtask, "pair": file.stem}
        yield Draft(f"{image}/{number}", without_ending(question), (answer,), image, extra=extra, group=image)


def without_ending(question: str) -> str:
    """The question itself, without what all of them end with."""
    return question.strip().removesuffix(ENDING).strip()
