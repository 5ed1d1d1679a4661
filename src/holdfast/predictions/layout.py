"""The contract of a layout, and of a benchmark's ``results.py``.

A layout is one way in which predictions lie in a file or folder. :class:`Layout` has a name for messages, ``fits``
(looks at what a :class:`~holdfast.predictions.reading.Look` shows and never guesses) and ``read``. Layouts of tools
that hold many tasks stand in ``predictions/readers/*.py`` under the name ``LAYOUTS``; those of one benchmark in
``tasks/<benchmark>/results.py``, in its ``BENCHMARK``::

    BENCHMARK = Benchmark(metrics={"docvqa": "anls"}, layouts=(SUBMISSION,), gold=references)

``metrics`` says which task names it serves and by what each is scored. ``gold(place, said, ask)`` reads the official
references and gives items by id, with the predictions under the ids of these items where the two name them differently.
A file in the right folder is found; there is no list to edit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.files import Record
from holdfast.predictions.columns import Columns
from holdfast.predictions.file import Guard
from holdfast.predictions.gold import GoldReader, plain_gold
from holdfast.predictions.reading import Ask, Look, Reading
from holdfast.predictions.record import ROW, Prediction

_COLUMN = "\0row"
"""A column that no file has."""


def _never(name: str, beside: Collection[str], judges: bool) -> bool:
    return False


@dataclass(frozen=True)
class Layout:
    """One way in which predictions lie in a file.

    Attributes:
        name: What it is called in messages.
        fits: Whether a file is of this layout, by what it shows.
        read: The file's predictions.
        last: Asked only where no layout of a tool or a benchmark claims the file.
        only_named: Asked only where the user named a task of this benchmark, since the file alone could be anything.
        nan: Known to hold NaN, which is then read as missing.
        passes_over: Whether a file (by its name, the names beside it, and whether a metric will judge) holds no
            predictions of its own: settings, totals, or a copy of what another file holds.
        many_scores: May hold several scores an item, of which ``--column score=NAME`` chooses one.
    """

    name: str
    fits: Callable[[Look], bool]
    read: Callable[[Look, Ask], Reading]
    last: bool = False
    only_named: bool = False
    nan: bool = False
    passes_over: Callable[[str, Collection[str], bool], bool] = _never
    many_scores: bool = False


@dataclass(frozen=True)
class FolderLayout:
    """As :class:`Layout`, for a folder that is more than the files in it."""

    name: str
    fits: Callable[[Path], bool]
    read: Callable[[Path, Ask], Reading]


@dataclass(frozen=True)
class Benchmark:
    """How a benchmark's official files are read and scored.

    Attributes:
        metrics: Task -> ``METRIC`` or ``METRIC:VARIANT``.
        layouts: Result files of its own tools.
        folders: Result folders of its own tools.
        gold: Reads official references; ``None`` where result files hold all that is judged.
        also_for: Metrics that, asked for by their own name, have their references read by ``gold``.
    """

    metrics: Mapping[str, str]
    layouts: tuple[Layout, ...] = ()
    folders: tuple[FolderLayout, ...] = ()
    gold: GoldReader | None = field(default=plain_gold)
    also_for: tuple[str, ...] = ()


def rows_layout(
    name: str,
    needs: str,
    columns: Mapping[str, str],
    *,
    any_of: str = "",
    without: Collection[str] = (),
    only: bool = False,
) -> Layout:
    """A layout whose rows are known by their columns.

    Args:
        name: What it is called in messages.
        needs: Columns that must all be there.
        columns: Field of a prediction -> column.
        any_of: Columns of which one must be there.
        without: Columns that make it something else.
        only: Whether the columns named must be all there are.
    """

    def fits(look: Look) -> bool:
        return look.has(needs, any_of, without) and (not only or look.keys == set(needs.split()))

    def read(look: Look, ask: Ask) -> Reading:
        reader = Columns({"task": "task", **columns}, file=look.path, scale=ask.scale)
        return reading_of(look, name, reader.predictions(look.rows()))

    return Layout(name, fits, read)


def items_layout(name: str, needs: str, item: Callable[[Record, Path], Prediction], metric: str) -> Layout:
    """A layout whose rows are known by their columns, and become predictions by a function of their own.

    Args:
        name: What it is called in messages.
        needs: Columns that must all be there.
        item: A row, and the file for messages, as a prediction.
        metric: What scores them where nothing else is said.
    """

    def fits(look: Look) -> bool:
        return look.has(needs)

    def read(look: Look, ask: Ask) -> Reading:
        return known_by(metric, reading_of(look, name, (item(row, look.path) for row in look.rows())))

    return Layout(name, fits, read)


def known_by(metric: str, reading: Reading) -> Reading:
    """The reading of a benchmark's own result file: its metric is known, and its task is called so too unless the file
    names it."""
    reading.metric = metric
    return reading if reading.named else reading.called(metric)


def reading_of(look: Look, recognised: str, predictions: Iterable[Prediction]) -> Reading:
    """The reading of a file of one task; ids that come twice are refused."""
    guard = Guard(look.path)
    made = [guard.check(prediction) for prediction in predictions]
    folder = look.path.parent
    return Reading(
        name=str(look.path),
        recognised=recognised,
        tasks={guard.task or stem(look.path): made},
        named=guard.task is not None,
        roots=(folder, folder / "images", folder.parent / "images"),
    )


def by_row(look: Look, recognised: str, columns: Mapping[str, str], rows: Iterable[Record], **options: Any) -> Reading:
    """The reading of records without ids: an item is known by its row.

    Args:
        look: At the file.
        recognised: In words.
        columns: Field -> column, of the fields that there are.
        rows: In their order.
        options: Of :class:`~holdfast.predictions.columns.Columns`.
    """
    reader = Columns({**columns, "id": _COLUMN}, file=look.path, **options)
    counted = (Record(row.line, {**row.values, _COLUMN: f"{ROW}{at}"}) for at, row in enumerate(rows, start=1))
    reading = reading_of(look, recognised, reader.predictions(counted))
    reading.notes.append(f"{look.path.name} has no ids: an item is known by its row.")
    return reading


def stem(path: Path) -> str:
    """The name of a file without its ending, gzipped or not."""
    return Path(path.name.removesuffix(".gz")).stem
