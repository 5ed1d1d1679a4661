"""MME's official layout: one tab-separated text file a subtask, with image, question, gold and prediction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.predictions.file import Guard
from holdfast.predictions.readers.reading import Reading
from holdfast.predictions.record import Prediction


def read_mme(files: Sequence[Path], path: Path) -> Reading:
    """Read the text files of MME; each subtask is a task, and its two questions an image are one cluster.

    Args:
        files: ``<subtask>.txt`` files.
        path: What the user named, for messages.

    Raises:
        HoldfastError: A row without four columns, a gold answer other than yes and no, a question twice.
    """
    tasks = {f"mme_{file.stem.lower()}": _subtask(file) for file in files}
    return Reading(str(path), f"MME results, {len(tasks)} {'subtask' if len(tasks) == 1 else 'subtasks'}", tasks)


def _subtask(path: Path) -> list[Prediction]:
    guard = Guard(path)
    rows = []
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise HoldfastError("the file is not UTF-8 text", file=path) from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        cells = line.rstrip("\r").split("\t")
        if len(cells) < 4:
            raise HoldfastError(
                f"the row has {len(cells)} columns, not image, question, gold and prediction", file=path, line=number
            )
        image, question, gold, text = cells[:4]
        if gold.strip().lower() not in ("yes", "no"):
            raise HoldfastError(f"the gold answer is {gold!r}, not yes or no", file=path, line=number, item=image)
        rows.append(
            guard.check(
                Prediction(
                    id=f"{image} | {question}",
                    prediction=text,
                    image=image,
                    question=question,
                    references=(gold.strip(),),
                    line=number,
                )
            )
        )
    if not rows:
        raise HoldfastError("the file is empty", file=path)
    return rows
