"""One line an item: the prediction file, read strictly and written so that a killed job loses at most a line.

A prediction file is UTF-8 JSON Lines and holds one task::

    {"id": "q1", "task": "colour", "image": "a41f", "question": "what colour?", "references": ["red"],
     "prediction": "red", "truncated": false, "metric": "exact_match", "score": 1.0, "lenient": 1.0}

``id`` and ``prediction`` are required; ``score`` is the official score of the item, 1 being right, and ``lenient``
what it would get if only the wanted content counted and not its form.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TextIO

from holdfast.errors import HoldfastError
from holdfast.files import drop_cut_line, line_of, records, write_lines, writing
from holdfast.predictions.columns import FIELDS, Columns
from holdfast.predictions.record import Prediction

OWN_COLUMNS = {name: name for name in FIELDS}
"""A prediction file calls every field by its name."""


def read_predictions(path: str | Path) -> list[Prediction]:
    """Read one prediction file.

    Returns:
        The predictions in the order of the file, all of one task, their ids unique.

    Raises:
        HoldfastError: The file is broken; a missing or ill-typed field, a NaN score, a duplicate id, or two tasks in
            the file. The error names file, line and id.
    """
    file = Path(path)
    guard = Guard(file)
    return [guard.check(prediction) for prediction in Columns(OWN_COLUMNS, file=file).predictions(records(file))]


@dataclass(slots=True)
class Guard:
    """Refuses the second item of an id and the first item of a second task."""

    file: Path
    lines: dict[str, int | None] = field(default_factory=dict)
    task: str | None = None

    def check(self, prediction: Prediction) -> Prediction:
        """Pass a prediction on, or raise :class:`HoldfastError`."""
        item, line = prediction.id, prediction.line
        if item in self.lines:
            first = self.lines[item]
            where = "" if first is None else f", first on line {first}"
            raise HoldfastError(
                f"the id stands twice in the file{where}",
                file=self.file,
                line=line,
                item=item,
                remedy="items are paired by id, so each may stand once",
            )
        if prediction.task != self.task:
            if self.lines:
                raise HoldfastError(
                    f"the file mixes the tasks '{self.task}' and '{prediction.task}'",
                    file=self.file,
                    line=line,
                    item=item,
                    remedy="write one file a task",
                )
            self.task = prediction.task
        self.lines[item] = line
        return prediction


class PredictionWriter:
    """Appends predictions to a file as they are made.

    A line is handed to the system as soon as it is complete. Opened with ``resume``, the writer drops a half-written
    last line and lists what is there, so that the same command goes on where it stopped::

        with PredictionWriter(path, resume=True) as writer:
            for item in items:
                if item.id not in writer.done:
                    writer.write(predict(item))

    Args:
        path: The file; its folder is made.
        resume: Keep what stands in the file; otherwise it is begun anew.

    Raises:
        HoldfastError: With ``resume``, when the file holds anything but predictions.
    """

    def __init__(self, path: str | Path, *, resume: bool = False) -> None:
        self.path = Path(path)
        self.done: dict[str, Prediction] = {}
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        if resume and self.path.exists():
            drop_cut_line(self.path)
            if self.path.stat().st_size:
                self.done = {prediction.id: prediction for prediction in read_predictions(self.path)}
        with writing(self.path):
            self._stream: TextIO = self.path.open("a" if resume else "w", encoding="utf-8", newline="\n")

    def write(self, prediction: Prediction) -> None:
        """Append one prediction.

        Raises:
            HoldfastError: The id has been written before, or the disk takes no more.
        """
        if prediction.id in self.done:
            raise HoldfastError("the id is written twice", file=self.path, item=prediction.id)
        with writing(self.path):
            self._stream.write(line_of(prediction.to_json()))
            self._stream.flush()
        self.done[prediction.id] = prediction

    def close(self) -> None:
        """Close the file."""
        with writing(self.path):
            self._stream.close()

    def __enter__(self) -> PredictionWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def write_predictions(path: str | Path, predictions: Iterable[Prediction]) -> None:
    """Write a whole prediction file in one rename; its folder is made.

    Raises:
        HoldfastError: An id comes twice, or the disk takes no more.
    """
    guard = Guard(Path(path))
    write_lines(path, (guard.check(prediction).to_json() for prediction in predictions))
