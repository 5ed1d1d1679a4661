"""One line an item: the prediction file, read strictly and written so that a killed job loses at most a line.

A prediction file is UTF-8 JSON Lines and holds one task::

    {"id": "q1", "task": "colour", "image": "a41f", "question": "what colour?", "references": ["red"],
     "prediction": "red", "truncated": false, "metric": "exact_match", "score": 1.0, "lenient": 1.0}

``id`` and ``prediction`` are required; ``score`` is the official score of the item, 1 being right, and ``lenient``
what it would get if only the wanted content counted and not its form.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from holdfast.errors import HoldfastError
from holdfast.predictions.record import NOTHING, Prediction

CIDER_MAXIMUM = 10.0
"""CIDEr of one caption goes to 10; every other score of an item goes to 1."""


_DECODER = json.JSONDecoder()


def json_lines(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSON Lines file with their one-based line numbers; blank lines are passed over.

    Raises:
        HoldfastError: The file is missing, empty, not UTF-8, has a line that is no JSON object, or ends inside one.
    """
    file = Path(path)
    seen = False
    try:
        with file.open("rb") as stream:
            for number, raw in enumerate(stream, start=1):
                text = _decoded(raw, file, number)
                if not text:
                    continue
                seen = True
                try:
                    record = _DECODER.decode(text)
                except (ValueError, RecursionError) as error:
                    if not raw.endswith(b"\n"):
                        raise HoldfastError(
                            "the last line is cut off, so the file was not written to its end",
                            file=file,
                            line=number,
                            remedy="let the prediction finish, or delete that line",
                        ) from error
                    what = getattr(error, "msg", "nested too deeply")
                    raise HoldfastError(f"not JSON ({what})", file=file, line=number) from error
                if not isinstance(record, dict):
                    raise HoldfastError("the line is not a JSON object", file=file, line=number)
                yield number, record
    except FileNotFoundError as error:
        raise HoldfastError("the file does not exist", file=file, remedy="check the path") from error
    except OSError as error:
        raise HoldfastError(f"the file cannot be read ({error.strerror or error})", file=file) from error
    if not seen:
        raise HoldfastError("the file is empty", file=file, remedy="check that the prediction has run")


def _decoded(raw: bytes, file: Path, number: int) -> str:
    try:
        return raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
    except UnicodeDecodeError as error:
        raise HoldfastError("the line is not UTF-8 text", file=file, line=number) from error


def read_predictions(path: str | Path) -> list[Prediction]:
    """Read one prediction file.

    Returns:
        The predictions in the order of the file, all of one task, their ids unique.

    Raises:
        HoldfastError: As :func:`json_lines`; also a missing or ill-typed field, a NaN or out-of-range score, a
            duplicate id, or two tasks in the file. The error names file, line and id.
    """
    file = Path(path)
    guard = Guard(file)
    return [guard.check(prediction_of(record, file, line)) for line, record in json_lines(file)]


def prediction_of(record: dict[str, Any], file: Path, line: int) -> Prediction:
    """Check one record of a prediction file.

    Raises:
        HoldfastError: A field is missing, of the wrong type or out of range.
    """
    item = identifier(record.get("id"), file, line)
    if "prediction" not in record:
        raise HoldfastError("the item has no 'prediction'", file=file, line=line, item=item)
    metric = _text(record, "metric", file, line, item)
    return Prediction(
        id=item,
        prediction=_text(record, "prediction", file, line, item),
        score=checked_score(record.get("score"), "score", metric, file, line, item),
        lenient=checked_score(record.get("lenient"), "lenient", metric, file, line, item),
        task=_text(record, "task", file, line, item),
        image=_key(record.get("image")),
        question=_text(record, "question", file, line, item) or "",
        references=texts(record.get("references"), "references", file, line, item),
        choices=texts(record.get("choices"), "choices", file, line, item),
        truncated=bool(record.get("truncated", False)),
        metric=metric,
        parsed=_text(record, "parsed", file, line, item),
        status=_text(record, "status", file, line, item),
        extra=_extra(record.get("extra"), file, line, item),
        line=line,
    )


def identifier(value: Any, file: Path, line: int) -> str:
    """The id as text; whole numbers are ids too."""
    if isinstance(value, str) and value:
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    what = "the item has no 'id'" if value is None else f"'id' is {value!r}, neither text nor a whole number"
    raise HoldfastError(what, file=file, line=line, remedy="give every line an id; items are paired by it")


def checked_score(value: Any, name: str, metric: str | None, file: Path, line: int | None, item: str) -> float | None:
    """A score as a finite number within its metric's range, or ``None``."""
    if value is None:
        return None
    if not isinstance(value, (int, float)):
        raise HoldfastError(f"'{name}' is {value!r}, not a number", file=file, line=line, item=item)
    number = float(value)
    if not math.isfinite(number):
        raise HoldfastError(f"'{name}' is {number}", file=file, line=line, item=item, remedy="score the item again")
    top = CIDER_MAXIMUM if metric is not None and "cider" in metric.lower() else 1.0
    if not 0.0 <= number <= top * (1 + 1e-9):
        raise HoldfastError(
            f"'{name}' is {number:g}, outside 0 to {top:g}",
            file=file,
            line=line,
            item=item,
            remedy="give scores as shares of a right answer; name the top of another scale with --scale",
        )
    return number


def texts(value: Any, name: str, file: Path, line: int | None, item: str) -> tuple[str, ...]:
    """A list of texts (a single one counts as a list of one), numbers written out."""
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if isinstance(value, (int, float)):
        return (str(value),)
    if isinstance(value, list) and all(isinstance(entry, (str, int, float)) for entry in value):
        return tuple(entry if isinstance(entry, str) else str(entry) for entry in value)
    raise HoldfastError(f"'{name}' is not a list of texts", file=file, line=line, item=item)


def _text(record: dict[str, Any], name: str, file: Path, line: int, item: str) -> str | None:
    value = record.get(name)
    if value is None or isinstance(value, str):
        return value
    raise HoldfastError(f"'{name}' is {type(value).__name__}, not text", file=file, line=line, item=item)


def _extra(value: Any, file: Path, line: int, item: str) -> Mapping[str, Any]:
    if value is None or isinstance(value, dict):
        return value or NOTHING
    raise HoldfastError("'extra' is not a JSON object", file=file, line=line, item=item)


def _key(value: Any) -> str:
    if isinstance(value, list):  # several images: the questions about the same set belong together
        value = " ".join(str(part) for part in value)
    return "" if value is None else str(value)


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
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if resume and self.path.exists():
            _drop_cut_line(self.path)
            if self.path.stat().st_size:
                self.done = {prediction.id: prediction for prediction in read_predictions(self.path)}
        self._stream: TextIO = self.path.open("a" if resume else "w", encoding="utf-8", newline="\n")

    def write(self, prediction: Prediction) -> None:
        """Append one prediction.

        Raises:
            HoldfastError: The id has been written before.
        """
        if prediction.id in self.done:
            raise HoldfastError("the id is written twice", file=self.path, item=prediction.id)
        self._stream.write(json.dumps(prediction.to_json(), ensure_ascii=False, allow_nan=False) + "\n")
        self._stream.flush()
        self.done[prediction.id] = prediction

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def __enter__(self) -> PredictionWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _drop_cut_line(path: Path) -> None:
    with path.open("rb+") as stream:
        content = stream.read()
        if content and not content.endswith(b"\n"):
            stream.truncate(content.rfind(b"\n") + 1)


def write_predictions(path: str | Path, predictions: Iterable[Prediction]) -> None:
    """Write a whole prediction file beside its final name and rename it."""
    final = Path(path)
    partial = final.with_name(final.name + ".partial")
    with PredictionWriter(partial) as writer:
        for prediction in predictions:
            writer.write(prediction)
    partial.replace(final)
