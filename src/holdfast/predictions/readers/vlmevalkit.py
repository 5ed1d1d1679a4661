"""VLMEvalKit's tables: one row a question, options in columns A, B, C..., ``hit`` once it has been judged."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import replace

from holdfast.files import Record
from holdfast.predictions.columns import Columns, as_index, first_columns
from holdfast.predictions.layout import Layout, reading_of, stem
from holdfast.predictions.reading import Ask, Look, Reading
from holdfast.predictions.record import TURN, Prediction

_JUDGED = re.compile(
    r"_(?:(?:openai|exact_matching|gpt|chatgpt|qwen|judge)\w*_)?result$|_(?:openai|gpt|chatgpt)[\w.-]*$|_auxmatch$"
)
_TOTALS = re.compile(r"_(?:acc|acc_all|score|rating|tmp|PREV)\.\w+$", re.IGNORECASE)
_WORKINGS = re.compile(r"_(?:results|detailed_results|extract|\w+_extract|\w*vanilla_(?:circ0|all)_result)$")
"""Tables made on the way to the totals, of what the raw one holds."""
_TABLES = (".xlsx", ".tsv", ".csv", ".json", ".jsonl")
_COLUMNS = {
    "id": ("index",),
    "prediction": ("prediction",),
    "score": ("hit", "score"),
    "image": ("image_path", "image_url", "image_id", "image"),
    "question": ("question",),
    "references": ("answer",),
    "choices": ("choices",),
}


def fits(look: Look) -> bool:
    """``index`` and ``prediction`` beside a question, an answer or a verdict."""
    return look.has("index prediction", "answer question hit") and "references" not in look.keys


def read(look: Look, ask: Ask) -> Reading:
    """A table; without ``hit`` (or ``score``) the items are unscored."""
    columns = first_columns(_COLUMNS, look.keys, scores=not ask.judges)
    reader = Columns(columns, file=look.path, scale=ask.scale, options=True)
    told = "VLMEvalKit table" + (f", scored by '{columns['score']}'" if "score" in columns else ", without scores")
    reading = reading_of(look, told, _together(list(reader.predictions(map(_answered, look.rows())))))
    reading.after_model = True
    return reading.called(_JUDGED.sub("", stem(look.path)), named=False)


def _answered(row: Record) -> Record:
    """An empty cell of the prediction column is an empty answer, not a missing one: pandas writes '' as nothing."""
    return Record(row.line, row.values | {"prediction": ""}) if row.values.get("prediction") is None else row


def _together(rows: list[Prediction]) -> Iterator[Prediction]:
    """Turns of one question belong together, as questions about one image do; names of groups without dashes."""
    turned = any((as_index(row.id) or 0) >= TURN for row in rows)
    for row in rows:
        extra = {name.replace("-", "_"): value for name, value in row.extra.items()}
        image = f"question {(as_index(row.id) or 0) % TURN}" if turned and not row.image else row.image
        yield replace(row, image=image, extra=extra) if extra or image != row.image else row


def passes_over(name: str, beside: Collection[str], judges: bool) -> bool:
    """Totals; and of a raw and a judged table of one task the judged one, which holds what the raw one does and its
    verdicts. A metric that scores anew takes the raw one, as the judged one may hold one row for all turns."""
    if _TOTALS.search(name) or name == "status.json":
        return True
    base, _, ending = name.removesuffix(".gz").rpartition(".")
    if f".{ending}" not in _TABLES:
        return False
    workings = _WORKINGS.search(base)
    if workings and any(_is_table(other, base[: workings.start()]) for other in beside):
        return True
    raw = _JUDGED.sub("", base)
    if raw != base:
        return judges and any(_is_table(other, raw) for other in beside)
    judged = (other.rpartition(".")[0] for other in beside if other != name and other.endswith(_TABLES))
    return not judges and any(_JUDGED.sub("", other) == base != other for other in judged)


def _is_table(name: str, base: str) -> bool:
    return name.startswith(f"{base}.") and name.removesuffix(".gz").endswith(_TABLES)


LAYOUTS = (Layout("VLMEvalKit table", fits, read, nan=True, passes_over=passes_over),)
