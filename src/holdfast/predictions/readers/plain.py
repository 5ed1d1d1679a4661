"""Plain records of any tool, in any form, with columns that can be told by their names; and maps of ids to answers."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from holdfast.files import Record
from holdfast.predictions.columns import FIELDS, NAMES, Columns, find_columns
from holdfast.predictions.layout import Layout, reading_of
from holdfast.predictions.reading import Ask, Look, Reading

_INNER = ("results", "predictions")
_SAID = {*NAMES["prediction"], "answer"}
_RECORD = {*NAMES["id"], *NAMES["prediction"], *NAMES["references"]}


def read_records(look: Look, ask: Ask) -> Reading:
    """Rows whose columns are named by the user or told by their names.

    Raises:
        HoldfastError: No column can be the id or the prediction, or two can.
    """
    columns = _columns(look.keys, ask.columns, look, ask)
    shown = ", ".join(f"{name} = {columns[name]}" for name in FIELDS if name in columns)
    reader = Columns(columns, file=look.path, scale=ask.scale, options=True)
    return reading_of(look, f"plain table ({shown})", reader.predictions(look.rows()))


def _columns(keys: Set[str], named: Mapping[str, str], look: Look, ask: Ask) -> dict[str, str]:
    gold_needed = ask.judges and ask.references is None
    return find_columns(keys, named, look.path, gold_needed=gold_needed, score_needed=not ask.judges)


def fits_map(look: Look) -> bool:
    """One JSON object whose keys are ids: none of them is a word for a field of a record."""
    inner = inner_map(look.content)
    if not isinstance(inner, dict) or not inner or not _RECORD.isdisjoint(inner):
        return False
    if all(isinstance(value, dict) for value in inner.values()):
        return not _SAID.isdisjoint(next(iter(inner.values())))
    return all(value is None or isinstance(value, (str, int, float)) for value in inner.values())


def read_map(look: Look, ask: Ask) -> Reading:
    """A map of ids to answers, or to records that hold them; it may stand under ``results`` or ``predictions``."""
    inner = inner_map(look.content)
    if all(isinstance(value, dict) for value in inner.values()):
        rows = [Record(1, {"id": key, **value}) for key, value in inner.items()]
        columns = _columns(frozenset(rows[0].values), {"id": "id", **ask.columns}, look, ask)
        reader = Columns(columns, file=look.path, scale=ask.scale, options=True)
        return reading_of(look, "map of ids to records", reader.predictions(rows))
    rows = [Record(1, {"id": key, "prediction": value}) for key, value in inner.items()]
    reader = Columns({"id": "id", "prediction": "prediction"}, file=look.path)
    return reading_of(look, "map of ids to answers", reader.predictions(rows))


def inner_map(content: Any) -> Any:
    """The map itself, where it stands under one of the usual names."""
    if isinstance(content, Mapping):
        for name in _INNER:
            if isinstance(content.get(name), dict):
                return content[name]
    return content


def fits_records(look: Look) -> bool:
    """Anything that has rows, unless it is a map or a single object without a field that is known."""
    if fits_map(look):
        return False
    return bool(look.head) and (look.content is None or look.form != "json" or not _RECORD.isdisjoint(look.keys))


RECORDS = Layout("plain records", fits_records, read_records, last=True)
LAYOUTS = (Layout("map of ids to answers", fits_map, read_map, last=True), RECORDS)
