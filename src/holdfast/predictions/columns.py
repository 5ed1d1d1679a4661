"""From the fields of a record, of any tool, to a prediction: which column means what, and what its values mean."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError, nearest
from holdfast.files import Record, parse_list, parse_written
from holdfast.predictions.reading import Ask
from holdfast.predictions.record import NOTHING, Prediction

FIELDS = (
    *("id", "prediction", "score", "lenient", "task", "image", "question", "references", "choices", "truncated"),
    *("metric", "status", "parsed"),
)
NAMES: Mapping[str, tuple[str, ...]] = {
    "id": (
        *("question_id", "questionId", "questionid", "id", "qid", "pid", "item_id", "sample_id", "index", "idx"),
        *("custom_id", "data_id", "doc_id", "image_id", "image"),
    ),
    "prediction": (
        *("prediction", "pred", "predict", "predicted_answer", "pred_answer", "response", "output", "model_output"),
        *("generated_text", "generation", "model_answer", "model_response", "pred_response", "completion"),
        *("hypothesis", "caption", "text"),
    ),
    "references": (
        *("references", "reference", "answers", "ground_truth", "gt", "gt_answer", "gt_answers", "gt_response"),
        *("gold", "gold_answer", "target", "label", "labels", "captions", "annotation", "answer"),
    ),
    "score": ("score", "correct", "is_correct", "hit", "acc", "accuracy", "exact_match"),
    "lenient": ("lenient", "lenient_score"),
    "task": ("task", "dataset", "benchmark"),
    "image": ("image", "image_id", "image_path", "img", "imageId", "images"),
    "question": ("question", "prompt", "query", "input", "instruction"),
    "choices": ("choices", "options"),
    "truncated": ("truncated",),
    "metric": ("metric",),
}
"""Names under which records keep the fields, the likeliest first. Of ``prediction``, ``references`` and ``score`` a
record may hold one; of the others the first is taken."""

OTHERS = frozenset((*NAMES["prediction"], *NAMES["references"])) - {"answer"}
"""What makes ``answer`` something else than the one text of a record that could be the prediction."""

_LIST_LIMIT = 1 << 16
"""Letters of a list written into a cell."""
_CATEGORIES = 1 << 12
"""Different extras of which one is kept for all records; where there are more, they are of items and not of kinds."""
_KEY_LIMIT = 512
"""Letters of an image's key; longer ones are pictures written as text."""
_NO_EXTRA = frozenset(("extra", "metadata", "answer_id", "model_id", "prompt"))
_BESIDE = ("question", "references", "image")
"""Fields by which rows without ids are told apart."""
_CUT = ("length", "max_tokens", "max_new_tokens")
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False, "": False}
_VERDICTS = {"true": 1.0, "yes": 1.0, "correct": 1.0, "false": 0.0, "no": 0.0, "incorrect": 0.0}
_LETTERS = "ABCDEFGHIJ"
_ABSENT = "\0"
"""A column that no record has."""


def find_columns(keys: Set[str], named: Mapping[str, str], path: Path, ask: Ask) -> dict[str, str]:
    """Field -> column of a plain record.

    Args:
        keys: Columns of the first record.
        named: Field -> column as the user says; these win over everything.
        path: For messages.
        ask: Whether the record's references will be judged by, or its score taken. Where references are not looked for
            by id, a record without one may be known by its row, if there is something else to know it by.

    Raises:
        HoldfastError: A named column does not exist, no column can be the id or the prediction, or two can be.
    """
    found = named_columns(keys, named, path)
    taken = set(found.values())

    capital = {name.lower(): name for name in keys if name != name.lower()}

    def candidates(field: str) -> list[str]:
        exact = [name for name in NAMES[field] if name in keys and name not in taken]
        known = [name.lower() for name in NAMES[field]]
        return exact or [capital[name] for name in known if name in capital and capital[name] not in taken]

    if "prediction" not in found:
        said = candidates("prediction")
        beside = [name for name in candidates("references") if name != "answer"]
        if not said and "answer" in keys and "answer" not in taken:
            if beside and "references" not in found:
                _two("'answer' could be the prediction or a reference", f"'{beside[0]}' stands beside it", path)
            said = ["answer"]
        found["prediction"] = _one("prediction", said, keys, path)
        taken.add(found["prediction"])
    if "references" not in found:
        gold = candidates("references")
        if len(gold) == 1 or (gold and ask.judges and ask.references is None):
            found["references"] = _one("references", gold, keys, path)
    if "score" not in found:
        scores = candidates("score")
        if len(scores) == 1 or (scores and not ask.judges):
            found["score"] = _one("score", scores, keys, path)
    taken |= set(found.values())
    for field in NAMES:
        if field not in found and field not in ("references", "score"):
            column = next(iter(candidates(field)), None)
            if column is not None:
                found[field] = column
    if "id" not in found and (ask.references is not None or found.keys().isdisjoint(_BESIDE)):
        found["id"] = _one("id", [], keys, path)
    return found


def first_columns(wanted: Mapping[str, Iterable[str]], keys: Set[str], *, scores: bool) -> dict[str, str]:
    """Field -> the first of its columns in a tool's table that is there.

    Args:
        wanted: Field -> names of its column, the one that counts first.
        keys: Columns of the first record.
        scores: Whether the tool's own scores are taken.
    """
    found = {field: next((name for name in names if name in keys), "") for field, names in wanted.items()}
    return {field: name for field, name in found.items() if name and (scores or field != "score")}


def named_columns(keys: Set[str], named: Mapping[str, str], path: Path) -> dict[str, str]:
    """What the user said of the columns, checked."""
    for field, column in named.items():
        if field not in FIELDS:
            raise HoldfastError(f"'{field}' is no field of a prediction", remedy="fields: " + ", ".join(FIELDS))
        if column not in keys:
            raise HoldfastError(
                f"there is no column '{column}' for '{field}'", file=path, remedy=nearest(column, sorted(keys)[:40])
            )
    return dict(named)


def _one(field: str, found: list[str], keys: Set[str], path: Path) -> str:
    if len(found) == 1:
        return found[0]
    if found:
        _two(f"both '{found[0]}' and '{found[1]}' could be the {field}", "only you know which", path, field, found[0])
    shown = ", ".join(sorted(keys)[:12])
    raise HoldfastError(
        f"no column looks like the {field}; the columns are {shown}",
        file=path,
        remedy=f"name it: --column {field}=COLUMN",
    )


def _two(problem: str, why: str, path: Path, field: str = "prediction", column: str = "answer") -> None:
    raise HoldfastError(
        f"{problem}, and {why}", file=path, remedy=f"say it: --column {field}={column}, or the other one"
    )


class Columns:
    """Turns records into predictions.

    Args:
        columns: Field -> column. Without ``id``, a record is known by its image and question; references are without
            ``prediction``.
        file: For messages.
        scale: Value of a perfect score in the file.
        options: Whether the options of a question stand in columns A, B, C...
    """

    def __init__(self, columns: Mapping[str, str], *, file: Path, scale: float = 1.0, options: bool = False) -> None:
        self.columns, self.file, self.scale, self.options = columns, file, scale, options
        self._used = frozenset(columns.values()) | _NO_EXTRA
        self._at = {field: columns.get(field, _ABSENT) for field in FIELDS}
        self._rest: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._same: dict[Any, Any] = {}
        self._extras: dict[tuple[object, ...], Mapping[str, Any]] = {}

    def predictions(self, rows: Iterable[Record]) -> Iterator[Prediction]:
        """Every record as a prediction.

        Raises:
            HoldfastError: One lacks its id or prediction, or a value is not of its kind.
        """
        return map(self.prediction, rows)

    def prediction(self, row: Record) -> Prediction:
        """One record as a prediction; raises as :meth:`predictions`."""
        values, line, file, at = row.values, row.line, self.file, self._at
        value, same = values.get, self._same.setdefault
        item = value(at["id"])
        if item.__class__ is not str or not item:
            item = as_id(item, at["id"], file, line) if "id" in self.columns else self._lone(row)
        text = value(said := at["prediction"])
        if text.__class__ is not str and said is not _ABSENT:
            if said not in values:
                raise HoldfastError(f"the item has no '{said}'", file=file, line=line, item=item)
            text = as_text(text, said, file, line, item)
        references = as_list(value(at["references"]), "references", file, line, item)
        choices, image = value(at["choices"]), as_key(value(at["image"]))
        score, lenient = value(at["score"]), value(at["lenient"])
        if score is not None:
            score = as_score(score, at["score"], self.scale, file, line, item)
        if lenient is not None:
            lenient = as_score(lenient, at["lenient"], self.scale, file, line, item)
        task, metric = as_words(value(at["task"])), as_words(value(at["metric"]))
        parsed, status = value(at["parsed"]), as_words(value(at["status"]))
        names = tuple(values)
        rest = self._rest.get(names)
        if rest is None:
            rest = self._rest[names] = tuple(name for name in names if self._is_extra(name))
        # Hundreds of thousands of records share few answers, images, scores and names: each is kept once.
        return Prediction(
            item,
            same(text, text),
            same(references, references),
            question=as_words(value(at["question"])),
            image=same(image, image),
            choices=() if choices is None and not self.options else self._choices(choices, values, line, item),
            truncated=as_flag(value(at["truncated"]), file, line, item) or was_cut(values),
            extra=self._extra(values, rest, line, item) if rest or "extra" in values else NOTHING,
            task=same(task, task) or None,
            metric=same(metric, metric) or None,
            score=same(score, score),
            lenient=same(lenient, lenient),
            parsed=None if parsed is None else as_words(parsed),
            status=same(status, status) or None,
            line=line,
        )

    def _lone(self, row: Record) -> str:
        parts = [row.values.get(self.columns[name]) for name in ("image", "question") if name in self.columns]
        joined = " | ".join(str(part) for part in parts if part is not None)
        return as_id(joined, "question", self.file, row.line)

    def _choices(self, given: Any, values: Mapping[str, Any], line: int, item: str) -> tuple[str, ...]:
        made = as_list(given, "choices", self.file, line, item)
        return made or (lettered(values) if self.options else ())

    def _is_extra(self, name: str) -> bool:
        return name not in self._used and not (self.options and name in _LETTERS)

    def _extra(self, values: Mapping[str, Any], rest: Iterable[str], line: int, item: str) -> Mapping[str, Any]:
        """What is in no field, for a metric to group by."""
        extra = {}
        for name in rest:
            value = values[name]
            long = isinstance(value, str) and len(value) > _LIST_LIMIT
            if value is not None and value != "" and not long and not isinstance(value, dict):
                extra[name] = value
        inner = values.get("extra")
        if isinstance(inner, str) and inner.startswith("{"):
            inner = parse_written(inner, longest=_LIST_LIMIT)
        if isinstance(inner, dict):
            extra.update(inner)
        elif inner is not None and inner != "":
            raise HoldfastError("'extra' is not a JSON object", file=self.file, line=line, item=item)
        return self._shared(extra) if extra else NOTHING

    def _shared(self, extra: Mapping[str, Any]) -> Mapping[str, Any]:
        """The same mapping for all records that are of one category: it weighs more than all else of a record."""
        key = []
        for name, value in extra.items():
            if value.__class__ not in (str, int, bool):
                return extra
            key += [name, value.__class__, value]  # 1 and True are equal, and must not stand for each other
        found = self._extras.get(tuple(key))
        if found is None:
            found = extra
            if len(self._extras) < _CATEGORIES:
                self._extras[tuple(key)] = extra
        return found


def lettered(values: Mapping[str, Any]) -> tuple[str, ...]:
    """The options in columns A, B, C..., empty ones at the end left off; one alone is something else."""
    cells = options_in(values, _LETTERS)
    return cells if len(cells) > 1 else ()


def options_in(values: Mapping[str, Any], letters: str) -> tuple[str, ...]:
    """The texts of columns called by letters up to the last one that is filled; an empty one on the way stays, for
    letters count."""
    cells = [cell_text(values.get(name)) for name in letters]
    while cells and not cells[-1]:
        cells.pop()
    return tuple(cells)


def cell_text(value: Any) -> str:
    """A cell's text; tables written by pandas say ``nan`` for nothing."""
    text = "" if value is None else str(value).strip()
    return "" if text.lower() == "nan" else text


def as_index(identity: str) -> int | None:
    """The whole number that an id is, where it is one."""
    return int(identity) if len(identity) < 19 and identity.isdecimal() else None


def as_id(value: Any, name: str, file: Path, line: int | None) -> str:
    """An id as text; whole numbers are ids too."""
    if isinstance(value, str) and value:
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    absent = value is None or value == ""
    what = f"the item has no '{name}'" if absent else f"'{name}' is {value!r}, neither text nor a whole number"
    raise HoldfastError(what, file=file, line=line, remedy="give every line an id; items are paired by it")


def as_text(value: Any, name: str, file: Path, line: int | None, item: str) -> str | None:
    """A prediction: numbers are written out, ``null`` is an answer that was not given."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, list) and value and all(isinstance(turn, dict) and "role" in turn for turn in value):
        return spoken(value, "assistant")
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):  # one of n answers, n being 1
        return value[0]
    raise HoldfastError(f"'{name}' is {type(value).__name__}, not text", file=file, line=line, item=item)


def spoken(messages: Any, role: str) -> str | None:
    """What a role says last in a conversation, content as text or as parts; ``None`` where it says nothing."""
    turns = messages if isinstance(messages, list) else []
    theirs = [turn for turn in turns if isinstance(turn, dict) and turn.get("role") == role]
    said = theirs[-1].get("content") if theirs else None
    if isinstance(said, list):
        return "".join(str(part["text"]) for part in said if isinstance(part, dict) and part.get("text") is not None)
    return said if isinstance(said, str) else None


def as_words(value: Any) -> str:
    """A question or a name, whatever it was written as."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def first_line(prompt: str) -> str:
    """The question without what the prompt adds before and below."""
    return prompt.removeprefix("<image>").strip().split("\n")[0].strip()


def as_key(value: Any) -> str:
    """The key of an image; of several together, and a digest of one that was written out as text."""
    if value is None:
        return ""
    key = " ".join(map(_named, value)) if isinstance(value, list) else _named(value)
    return key if len(key) <= _KEY_LIMIT else hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()[:32]


def _named(image: Any) -> str:
    """The path of a picture that is an object, else the picture as it is written."""
    return str(image["path"]) if isinstance(image, dict) and image.get("path") else str(image)


def as_list(value: Any, name: str, file: Path, line: int | None, item: str) -> tuple[str, ...]:
    """Texts: a list, a list that JSON or Python wrote as text, answers that are objects, or a single one."""
    if value is None or value == "":
        return ()
    if isinstance(value, str):
        inner = parse_list(value, longest=_LIST_LIMIT)
        if inner is None:
            return (value,)
        value = inner
    elif isinstance(value, (int, float)):
        return (str(value),)
    elif isinstance(value, dict):  # SQuAD keeps the places of its answers beside their texts
        value = value["text"] if isinstance(value.get("text"), list) else list(value.values())
    if all(entry.__class__ is str for entry in value):
        return tuple(value)
    made = []
    for entry in value:
        inside = entry.get("answer") if isinstance(entry, dict) else entry
        if not isinstance(inside, (str, int, float)):
            raise HoldfastError(f"'{name}' is not a list of texts", file=file, line=line, item=item)
        made.append(inside if isinstance(inside, str) else str(inside))
    return tuple(made)


def as_score(value: Any, name: str, scale: float, file: Path, line: int | None, item: str) -> float | None:
    """A score as a finite number on the metric's own scale; words such as ``True`` and ``0.3`` are read."""
    if value is None or value == "":
        return None
    number = value
    if value.__class__ is float and scale == 1.0 and 0.0 <= value <= 1.0:
        return float(value)
    if isinstance(value, str):
        word = value.strip().lower()
        number = _VERDICTS.get(word)
        if number is None:
            try:
                number = float(word)
            except ValueError:
                number = value
    if not isinstance(number, (int, float)):
        raise HoldfastError(f"'{name}' is {value!r}, not a number", file=file, line=line, item=item)
    if not math.isfinite(number):
        raise HoldfastError(f"'{name}' is {number}", file=file, line=line, item=item, remedy="score the item again")
    return number / scale


def as_flag(value: Any, file: Path, line: int | None, item: str) -> bool:
    """Yes or no, also in words and as 0 and 1."""
    if value is None or isinstance(value, bool):
        return bool(value)
    known = _WORDS.get(str(value).strip().lower())
    if known is None:
        raise HoldfastError(f"'truncated' is {value!r}, neither true nor false", file=file, line=line, item=item)
    return known


def was_cut(values: Mapping[str, Any]) -> bool:
    """Whether the record says that generation stopped at its length limit."""
    if values.get("finish_reason") in _CUT:
        return True
    metadata = values.get("metadata")
    return isinstance(metadata, dict) and metadata.get("finish_reason") in _CUT
