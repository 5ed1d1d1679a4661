"""References: plain ones for any metric, and the pairing of predictions with them, by id and never by position."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.files import Record, read
from holdfast.predictions.columns import NAMES, Columns
from holdfast.predictions.reading import Ask
from holdfast.predictions.record import Prediction


@dataclass(frozen=True, slots=True)
class Gold:
    """Official references.

    Attributes:
        file: Where they stand, for messages.
        items: Items without predictions, by id.
        said: The predictions under the ids of ``items``; ``None`` where they bear them already.
        missing_is_wrong: The task's official script counts an unanswered question as wrong; so these stay in.
    """

    file: Path
    items: Mapping[str, Prediction]
    said: Sequence[Prediction] | None = None
    missing_is_wrong: bool = False


GoldReader = Callable[[Path, Sequence[Prediction], Ask], Gold]


def gold_in(
    *names: str, items: Callable[[Path], Iterable[Prediction] | None], missing_is_wrong: bool = False
) -> GoldReader:
    """What reads official references of one file, whose items bear the ids of the predictions.

    Args:
        names: Of the file in the folder that a user names, see :func:`inside`.
        items: The file's items; ``None`` where it is none of the official ones, and its references are plain.
        missing_is_wrong: See :class:`Gold`.
    """

    def read_gold(place: Path, said: Sequence[Prediction], ask: Ask) -> Gold:
        file = inside(place, *names)
        found = items(file)
        if found is None:
            return plain_gold(file, said, ask)
        return Gold(file, gold_of(file, found), missing_is_wrong=missing_is_wrong)

    return read_gold


def gold_of(file: Path, items: Iterable[Prediction]) -> dict[str, Prediction]:
    """Items by id.

    Raises:
        HoldfastError: One comes twice.
    """
    made: dict[str, Prediction] = {}
    for item in items:
        if item.id in made:
            raise HoldfastError("the id stands twice in the references", file=file, line=item.line, item=item.id)
        made[item.id] = item
    return made


def plain_gold(place: Path, said: Sequence[Prediction], ask: Ask) -> Gold:
    """Records with an id and references, in any form; or one JSON object of answers, or of records, by id.

    A record may also have ``question``, ``image``, ``choices`` and whatever the metric groups by.

    Raises:
        HoldfastError: A record without id or references, or two columns that could be the references.
    """
    given = read(place)
    if isinstance(given, dict):
        listed = next((given[n] for n in ("data", "annotations", "questions") if isinstance(given.get(n), list)), None)
        rows = [
            Record(at, dict(row)) if isinstance(row, dict) else _no_record(place, at)
            for at, row in enumerate(listed or (), start=1)
        ] or [Record(1, {"id": key, **(v if isinstance(v, dict) else {"references": v})}) for key, v in given.items()]
    else:
        rows = given
    columns = _gold_columns(rows[0].values, ask, place)
    reader = Columns(columns, file=place, options=True)
    return Gold(place, gold_of(place, (_gold_item(reader, row, place) for row in rows)))


def _no_record(place: Path, at: int) -> Record:
    raise HoldfastError(f"entry {at} of the references is no JSON object", file=place)


def _gold_columns(first: Mapping[str, Any], ask: Ask, place: Path) -> dict[str, str]:
    named = ask.columns.get("references")
    gold = [named] if named is not None and named in first else [name for name in NAMES["references"] if name in first]
    if len(gold) > 1:
        raise HoldfastError(
            f"both '{gold[0]}' and '{gold[1]}' could be the references",
            file=place,
            remedy=f"say it: --column references={gold[0]}, or the other one",
        )
    found = {"references": gold[0]} if gold else {}
    for field in ("id", "image", "question", "choices"):
        column = next((name for name in NAMES[field] if name in first and name not in found.values()), None)
        if column is not None:
            found[field] = column
    if "id" not in found:
        raise HoldfastError("the reference record has no id", file=place, line=1)
    return found


def _gold_item(reader: Columns, row: Record, place: Path) -> Prediction:
    item = reader.prediction(row)
    if not item.references and item.extra.get("answer_index") is None:
        raise HoldfastError("the record has no reference answer", file=place, line=row.line, item=item.id)
    return item


def pair(said: Sequence[Prediction], gold: Gold, ask: Ask, file: Path) -> list[Prediction]:
    """Items with their predictions, by id.

    Args:
        said: What was predicted, each id once.
        gold: The references.
        ask: Whether to score only the ids that both sides have, instead of refusing different sets.
        file: Of the predictions, for messages.

    Raises:
        HoldfastError: No id is shared, an id is unknown, or a reference has no prediction.
    """
    answers = {one.id: one for one in (said if gold.said is None else gold.said)}
    shared = answers.keys() & gold.items.keys()
    if not shared:
        raise HoldfastError(
            f"no id is shared with the references {gold.file.name} (ids like '{next(iter(answers), '')}' here and "
            f"'{next(iter(gold.items), '')}' there)",
            file=file,
            remedy="give the references of the same split and copy of the task",
        )
    unknown = [one for key, one in answers.items() if key not in shared]
    missing = [key for key in gold.items if key not in shared]
    if unknown and not ask.intersect:
        raise HoldfastError(
            f"the id is not in the references {gold.file.name} ({len(unknown)} such of {len(answers)})",
            file=file,
            line=unknown[0].line,
            item=unknown[0].id,
            remedy="give the references of the same split, or --intersect to score only what both have",
        )
    if missing and not ask.intersect and not gold.missing_is_wrong:
        raise HoldfastError(
            f"{len(missing)} of {len(gold.items)} items of {gold.file.name} have no prediction",
            file=file,
            item=missing[0],
            remedy="predict them, or --intersect to score only what both have",
        )
    kept = gold.items.values() if not ask.intersect else (gold.items[key] for key in gold.items if key in shared)
    return [_filled(item, answers.get(item.id)) for item in kept]


def _filled(item: Prediction, one: Prediction | None) -> Prediction:
    """The item with the prediction, or without one where there is none."""
    if one is None:
        return item
    return replace(
        item,
        prediction=one.prediction,
        truncated=one.truncated,
        question=item.question or one.question.strip(),
        image=item.image or one.image,
        extra={**one.extra, **item.extra} if one.extra else item.extra,
        line=one.line,
    )


def inside(folder: Path, *patterns: str) -> Path:
    """The one file of a folder that fits the first pattern that fits any; the folder itself if it is a file.

    Raises:
        HoldfastError: There is no such place, none fits, or several do.
    """
    if not folder.is_dir():
        if not folder.exists():
            raise HoldfastError("the references do not exist", file=folder)
        return folder
    for pattern in patterns:
        found = sorted(folder.glob(pattern))
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(path.name for path in found[:4])
            raise HoldfastError(f"several files could be the references: {names}", file=folder, remedy="name one")
    raise HoldfastError(f"the folder has no {' or '.join(patterns)}", file=folder, remedy="name the file")
