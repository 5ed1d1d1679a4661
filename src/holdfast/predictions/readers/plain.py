"""Plain records of any tool, in any form, with columns that can be told by their names; and maps of ids to answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.files import Record
from holdfast.predictions.columns import FIELDS, NAMES, Columns, find_columns
from holdfast.predictions.layout import Layout, by_row, reading_of
from holdfast.predictions.reading import Ask, Look, Reading

_INNER = ("results", "predictions")
_SAID = {*NAMES["prediction"], "answer"}
_RECORD = {*NAMES["id"], *NAMES["prediction"], *NAMES["references"]}
_PICTURES = ("image_id", "image")
"""Columns that serve as ids where no other does, and where no picture comes twice."""


def read_records(look: Look, ask: Ask) -> Reading:
    """Rows whose columns are named by the user or told by their names.

    Raises:
        HoldfastError: No column can be the id or the prediction, or two can.
    """
    return _read_rows(look, ask, look.keys, look.rows(), "plain table")


def _read_rows(look: Look, ask: Ask, keys: Set[str], rows: Iterable[Record], told: str) -> Reading:
    """Records without an id are known by their row, unless ids are needed to find their references."""
    columns = find_columns(keys, ask.columns, look.path, ask)
    kept: Iterable[Record] = rows
    if columns.get("id") in _PICTURES and "id" not in ask.columns and ask.references is None:
        kept = list(rows)
        seen = {str(row.values.get(columns["id"])) for row in kept}
        if len(seen) < len(kept):
            del columns["id"]
    shown = ", ".join(f"{name} = {columns[name]}" for name in FIELDS if name in columns)
    recognised = f"{told} ({shown})"
    if "id" not in columns:
        return by_row(look, recognised, columns, kept, scale=ask.scale, options=True)
    reader = Columns(columns, file=look.path, scale=ask.scale, options=True)
    return reading_of(look, recognised, reader.predictions(kept))


def fits_map(look: Look) -> bool:
    """One JSON object whose keys are ids: none of them is a word for a field of a record."""
    inner = inner_map(look.content)
    if not isinstance(inner, dict) or not inner or not _RECORD.isdisjoint(inner):
        return False
    if all(isinstance(value, dict) for value in inner.values()):
        return not _SAID.isdisjoint(next(iter(inner.values())))
    values = [_alone(value) for value in inner.values()]
    return all(value is None or isinstance(value, (str, int, float)) for value in values)


def _alone(value: Any) -> Any:
    """The one answer of a list of one, as COCO's caption tools keep what is scored."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def read_map(look: Look, ask: Ask) -> Reading:
    """A map of ids to answers, or to records that hold them; it may stand under ``results`` or ``predictions``."""
    inner = inner_map(look.content)
    if all(isinstance(value, dict) for value in inner.values()):
        rows = [Record(1, {"id": key, **value}) for key, value in inner.items()]
        columns = find_columns(frozenset(rows[0].values), {"id": "id", **ask.columns}, look.path, ask)
        reader = Columns(columns, file=look.path, scale=ask.scale, options=True)
        return reading_of(look, "map of ids to records", reader.predictions(rows))
    rows = [Record(1, {"id": key, "prediction": _alone(value)}) for key, value in inner.items()]
    reader = Columns({"id": "id", "prediction": "prediction"}, file=look.path)
    return reading_of(look, "map of ids to answers", reader.predictions(rows))


def inner_map(content: Any) -> Any:
    """The map itself, where it stands under one of the usual names."""
    if isinstance(content, Mapping):
        for name in _INNER:
            if isinstance(content.get(name), dict):
                return content[name]
    return content


def fits_columns(look: Look) -> bool:
    """One JSON object of columns: lists of one length, or objects by row as pandas writes them."""
    return _by_columns(look.content) is not None


def read_columns(look: Look, ask: Ask) -> Reading:
    """A table that is written column by column."""
    table = _by_columns(look.content)
    assert table is not None
    names = list(table)
    rows = [Record(1, dict(zip(names, cells, strict=True))) for cells in zip(*table.values(), strict=True)]
    if not rows:
        raise HoldfastError("the table has no rows", file=look.path)
    return _read_rows(look, ask, frozenset(names), rows, "table by columns")


def _by_columns(content: Any) -> dict[str, list[Any]] | None:
    """Column -> cells; ``predictions`` is a column here and not a map. ``None`` where it is something else."""
    if not isinstance(content, dict) or len(content) < 2:
        return None
    columns = list(content.values())
    if all(isinstance(one, dict) and one.keys() == columns[0].keys() for one in columns):
        columns = [list(one.values()) for one in columns]
    elif not all(isinstance(one, list) and len(one) == len(columns[0]) for one in columns):
        return None
    names = ["prediction" if name == "predictions" else name for name in content]
    if len(set(names)) < len(names) or _SAID.isdisjoint(names) or any(isinstance(cell, dict) for cell in columns[0]):
        return None
    return dict(zip(names, columns, strict=True))


def fits_inside(look: Look) -> bool:
    """One JSON object with one list of records, whatever it is called, beside settings or totals."""
    return _inside(look.content) is not None and not fits_map(look) and not fits_columns(look)


def read_inside(look: Look, ask: Ask) -> Reading:
    """The records of the list."""
    found = _inside(look.content)
    assert found is not None
    name, listed = found
    rows = [Record(1, dict(record)) for record in listed]
    return _read_rows(look, ask, frozenset(rows[0].values), rows, f"plain records under '{name}'")


def _inside(content: Any) -> tuple[str, list[Any]] | None:
    if not isinstance(content, dict) or not _RECORD.isdisjoint(content):
        return None
    lists = [(name, v) for name, v in content.items() if isinstance(v, list) and v and isinstance(v[0], dict)]
    if len(lists) != 1 or not all(isinstance(one, dict) for one in lists[0][1]):
        return None
    return None if _SAID.isdisjoint(lists[0][1][0]) else lists[0]


def fits_records(look: Look) -> bool:
    """Anything that has rows, unless it is a map, a table by columns, or a single object without a field that is
    known."""
    if fits_map(look) or fits_columns(look) or fits_inside(look):
        return False
    return bool(look.head) and (look.content is None or look.form != "json" or not _RECORD.isdisjoint(look.keys))


RECORDS = Layout("plain records", fits_records, read_records, last=True)
LAYOUTS = (
    Layout("map of ids to answers", fits_map, read_map, last=True),
    Layout("table by columns", fits_columns, read_columns, last=True),
    Layout("plain records in an object", fits_inside, read_inside, last=True),
    RECORDS,
)
