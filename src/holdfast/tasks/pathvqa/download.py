"""PathVQA: question-answer lists a split. The official ones are pickles, which are never opened here."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.errors import HoldfastError
from holdfast.tasks.preparing.draft import Draft
from holdfast.tasks.preparing.source import Source, read_records


def read(source: Source, split: str) -> Iterator[Draft]:
    """Items ``<split>_<number from 0>`` of a list of ``{image, question, answer}``."""
    names = [f"{base}qas/{split}/{split}_qa.json" for base in ("", "pvqa/")]
    pickle = next((name for name in names if (source.root / name).with_suffix(".pkl").is_file()), None)
    if pickle and not any((source.root / name).is_file() for name in names):
        raise HoldfastError(
            "the questions are a pickle, which could run code when it is opened",
            file=(source.root / pickle).with_suffix(".pkl"),
            remedy=f"if you trust it, load it in Python and save the list as JSON beside it, as {split}_qa.json",
        )
    file = source.file(*names)
    folder = source.folder(f"images/{split}", f"pvqa/images/{split}")
    for number, unnamed in enumerate(read_records(file, None)):
        record = unnamed.named(f"{split}_{number}")
        name, answer = record.safe(record.text("image")), record.text("answer").strip()
        kind = "yes/no" if answer.lower() in ("yes", "no") else "open"
        image = name if name.endswith(".jpg") else f"{name}.jpg"
        question = record.text("question")
        yield Draft(record.item, question, (answer,), f"{folder}/{image}", extra={"answer_type": kind})
