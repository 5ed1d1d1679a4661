"""What a reader is asked for, what a file shows before it is read, and what reading it gives."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.files import Form, Record, form_of, read, records
from holdfast.predictions.record import Prediction, Score

_FEW = 2
"""Records that are looked at before a layout is chosen."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What is wanted of a source; every layout is asked the same.

    Attributes:
        task: Name of the task, for a file that holds one; it narrows the layouts to those of its benchmark.
        metric: ``NAME`` or ``NAME:VARIANT`` to score by; the scores of the file are then replaced.
        references: File or folder of gold answers, for files that carry none.
        intersect: Keep the ids that predictions and references share, instead of refusing different sets.
        columns: Field -> column, where the columns of a plain table have unusual names.
        scale: Value of a perfect score in the file.
    """

    task: str | None = None
    metric: str | None = None
    references: Path | None = None
    intersect: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.scale < float("inf"):
            raise HoldfastError(f"the scale {self.scale:g} is not a positive number")

    @property
    def judges(self) -> bool:
        """Whether a metric is asked to score, so that scores in the file do not matter."""
        return self.metric is not None or self.references is not None


@dataclass
class Reading:
    """Predictions by task, with what the source was taken for.

    Attributes:
        name: The source, for messages.
        recognised: The layout in words.
        tasks: Predictions by task.
        named: Whether the source itself names its task; otherwise the name is the file's.
        metric: What scores these predictions where nothing else is said, as for official result files.
        after_model: Whether a task's name stands after the model's, as in files called ``MODEL_DATASET``.
        targets: The tasks that the source says were tuned for.
        roots: Folders in which image keys may be looked up.
        notes: What the reader had to decide.
        totals: What a metric made of each task, where one was asked.
        asked: Digests of the items, pictures and questions of each task, and the settings, where the source says them.
    """

    name: str
    recognised: str
    tasks: dict[str, list[Prediction]]
    named: bool = True
    metric: str | None = None
    after_model: bool = False
    targets: tuple[str, ...] = ()
    roots: tuple[Path, ...] = ()
    notes: list[str] = field(default_factory=list)
    totals: dict[str, Score] = field(default_factory=dict)
    asked: dict[str, dict[str, str]] = field(default_factory=dict)

    def called(self, task: str, *, named: bool = True) -> Reading:
        """This reading of one task under the task's proper name."""
        (rows,) = self.tasks.values()
        self.tasks, self.named = {task: rows}, named
        return self


def _is_log(content: Mapping[str, Any]) -> bool:
    """Whether an object is the first lmms-eval's, which kept the samples of a task beside the settings they were made
    with."""
    logs = content.get("logs")
    return isinstance(logs, list) and bool(logs) and all(isinstance(one, dict) and "doc_id" in one for one in logs)


class Look:
    """What a file shows before a layout is chosen; it is opened once.

    Args:
        path: A file, of any form that :mod:`holdfast.files` reads.

    Raises:
        HoldfastError: It is missing, empty, broken, or of no known form.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.form: Form = form_of(path)
        self.content: Any = None
        """The value of a JSON file that is no list of records, else ``None``."""
        self.had_nan: HoldfastError | None = None
        """Why the content is refused by all layouts that are not known to hold NaN."""
        self._rows: Iterator[Record] = iter(())
        if self.form == "json":
            self._open_json()
        elif self.form != "text":
            self._rows = records(path)
        self.head = tuple(itertools.islice(self._rows, _FEW))
        """The first records."""
        if self.form == "jsonl" and len(self.head) == 1:
            self.content = self.head[0].values  # LLaVA writes whole results into .jsonl files

    def _open_json(self) -> None:
        try:
            content = read(self.path)
        except HoldfastError as error:
            if "NaN" not in error.problem:
                raise
            content, self.had_nan = read(self.path, nan_is_none=True), error
        if isinstance(content, dict) and _is_log(content):
            self._rows = iter([Record(1, sample) for sample in content["logs"]])
        elif isinstance(content, dict):
            self.content = content
            self._rows = iter([Record(1, content)])
        else:
            self._rows = iter(content)

    @cached_property
    def keys(self) -> frozenset[str]:
        """Names of the fields of the first record."""
        return frozenset(self.head[0].values) if self.head else frozenset()

    @property
    def first(self) -> Mapping[str, Any]:
        """The first record; empty where the file holds none."""
        return self.head[0].values if self.head else {}

    def rows(self) -> Iterator[Record]:
        """Every record, once."""
        return itertools.chain(self.head, self._rows)

    def has(self, needs: str, any_of: str = "", without: Collection[str] = ()) -> bool:
        """Whether the first record has all of some fields, at least one of others where any are named, and none of the
        third. Names are separated by spaces."""
        wanted = any_of.split()
        return (
            self.keys.issuperset(needs.split())
            and (not wanted or not self.keys.isdisjoint(wanted))
            and self.keys.isdisjoint(without)
        )
