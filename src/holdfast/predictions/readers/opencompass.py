"""OpenCompass: what its evaluation says of every item under ``details``; its predictions are a map of records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.files import Record
from holdfast.predictions.columns import Columns, first_columns
from holdfast.predictions.layout import Layout, reading_of
from holdfast.predictions.reading import Ask, Look, Reading

_FIELDS = {
    "id": ("id",),
    "prediction": ("predictions", "pred", "prediction"),
    "references": ("references", "answer", "answers"),
    "score": ("correct",),
    "question": ("prompt",),
}
"""Field -> names in the two generations of ``details``."""


def _details(look: Look) -> dict[str, Mapping[str, Any]]:
    """Item -> its details: an object by number with a ``type`` among them, or in some evaluators a list."""
    content = look.content.get("details") if isinstance(look.content, dict) else None
    given = dict(enumerate(content)) if isinstance(content, list) else content
    if not isinstance(given, dict):
        return {}
    items = {str(key): value for key, value in given.items() if key != "type"}
    first = next(iter(items.values()), None)
    if not isinstance(first, dict) or first.keys().isdisjoint(_FIELDS["prediction"]):
        return {}
    return items if all(isinstance(value, dict) for value in items.values()) else {}


def fits(look: Look) -> bool:
    """An object of totals with details."""
    return bool(_details(look))


def read(look: Look, ask: Ask) -> Reading:
    """Items by number, with what the evaluator recorded of them."""
    rows = [Record(1, {"id": key, **value}) for key, value in _details(look).items()]
    columns = first_columns(_FIELDS, rows[0].values.keys(), scores=not ask.judges)
    reader = Columns(columns, file=look.path, scale=ask.scale)
    told = "OpenCompass details" + (f", scored by '{columns['score']}'" if "score" in columns else ", without scores")
    return reading_of(look, told, reader.predictions(rows))


LAYOUTS = (Layout("OpenCompass details", fits, read),)
