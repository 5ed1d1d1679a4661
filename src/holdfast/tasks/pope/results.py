"""POPE: label files (JSON Lines whatever they are called), and answers by LLaVA's ids or by question text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.files import Record, records
from holdfast.predictions.columns import OTHERS, Columns, as_index, first_line
from holdfast.predictions.gold import Gold, gold_of
from holdfast.predictions.layout import Benchmark, Layout, reading_of
from holdfast.predictions.reading import Ask, Look, Reading
from holdfast.predictions.record import Prediction
from holdfast.tasks.pope.download import draft
from holdfast.tasks.preparing.source import Fields

SPLITS = ("random", "popular", "adversarial")
# LLaVA numbers its 8,910 questions by split: the label's own id plus this offset.
_STEP = 10_000_000
LLAVA_OFFSET = {"adversarial": 0, "random": _STEP, "popular": 2 * _STEP}
_BY_LINE = "line of the labels"


def fits(look: Look) -> bool:
    """The official answer form: a question and its answer, perhaps the image, and no id."""
    return look.has("question answer", without={*OTHERS, "question_id", "id", "index", "qid"}) and look.keys <= {
        *("question", "answer", "image", "category", "split")
    }


def read(look: Look, ask: Ask) -> Reading:
    """Answers by image and question; beside labels they are paired line by line, every question's text compared."""
    columns = {"prediction": "answer", "question": "question", "image": "image"}
    rows = list(Columns(columns, file=look.path).predictions(look.rows()))
    if ask.references is not None:
        rows = [replace(row, id=f"{_BY_LINE} {at}") for at, row in enumerate(rows, start=1)]
    return reading_of(look, "POPE answers", rows)


def references(place: Path, said: Sequence[Prediction], ask: Ask) -> Gold:
    """One label file or a folder of them; LLaVA's ``llava_pope_test.jsonl`` may lie among them.

    The random split exists with 2,910 rows and, reworded, with 3,000: the text of every question is compared wherever
    the answers hold it, so that answers to one copy are not scored against another.
    """
    labels = _labels(place)
    if said and said[0].id.startswith(_BY_LINE):
        return Gold(place, labels, _by_line(said, labels))
    return Gold(place, labels, _by_id(said, labels, _questions(place)))


def _labels(place: Path) -> dict[str, Prediction]:
    files = [place] if place.is_file() else sorted(p for p in place.glob("*.json*") if "pope" in p.name.lower())
    made: list[Prediction] = []
    for file in files:
        split = next((name for name in SPLITS if name in file.name.lower()), file.name.split(".")[0])
        made += [draft(Fields(file, row.values, row.line), split).reference() for row in _label_rows(file)]
    if not made:
        raise HoldfastError("there are no POPE labels here", file=place, remedy="give coco_pope_*.json or their folder")
    return gold_of(place, made)


def _label_rows(file: Path) -> list[Record]:
    """Rows of a label file; none for a file of answers or questions beside the labels."""
    try:
        rows = list(records(file))
    except HoldfastError:
        if file.name.startswith(("coco_pope", "aokvqa_pope", "gqa_pope")):
            raise
        return []
    return rows if rows and all("label" in row.values for row in rows) else []


def _questions(place: Path) -> dict[str, Record]:
    """LLaVA's question file in the folder (or beside the label file), by its ids."""
    folder = place.parent if place.is_file() else place
    file = folder / "llava_pope_test.jsonl"
    return {str(row.values.get("question_id")): row for row in records(file)} if file.is_file() else {}


def _by_id(
    said: Sequence[Prediction], labels: Mapping[str, Prediction], questions: Mapping[str, Record]
) -> list[Prediction]:
    splits = {str(item.extra["category"]) for item in labels.values()}
    texts = {(str(i.extra["category"]), i.image, i.question): key for key, i in labels.items()}
    llava = len(splits) > 1 or any((as_index(one.id) or 0) > _STEP for one in said)
    made: dict[str, Prediction] = {}
    for one in said:
        key = _from_questions(one, questions, texts) or _from_number(one, splits, llava=llava)
        label = labels.get(key)
        if label is not None and one.question and label.question and first_line(one.question) != label.question:
            raise HoldfastError(
                f"the question is '{first_line(one.question)}' here and '{label.question}' in the labels",
                line=one.line,
                item=one.id,
                remedy="give the label files of the same copy of POPE",
            )
        if key in made:
            raise HoldfastError("the question is answered twice", line=one.line, item=one.id)
        made[key] = replace(one, id=key)
    return list(made.values())


def _from_questions(
    one: Prediction, questions: Mapping[str, Record], texts: Mapping[tuple[str, str, str], str]
) -> str | None:
    row = questions.get(one.id)
    if row is None:
        return None
    record = row.values
    return texts.get((str(record.get("category")), str(record.get("image")), first_line(str(record.get("text", "")))))


def _from_number(one: Prediction, splits: set[str], *, llava: bool) -> str:
    """The key of a label from an answer's category, its LLaVA number, or the only split there is."""
    category = one.extra.get("category", one.extra.get("split"))
    if isinstance(category, str) and category:
        return f"{category}/{one.id}"
    number = as_index(one.id)
    if llava and number is not None:
        split = next((name for name, offset in LLAVA_OFFSET.items() if offset < number < offset + _STEP), None)
        return f"{split}/{number % _STEP}" if split else one.id
    if len(splits) == 1:
        (only,) = splits
        return f"{only}/{one.id}"
    return one.id


def _by_line(said: Sequence[Prediction], labels: Mapping[str, Prediction]) -> list[Prediction]:
    keys = list(labels)
    if len({item.extra["category"] for item in labels.values()}) != 1:
        raise HoldfastError("answers without question_id need one label file", remedy="name the split's file")
    if len(said) != len(keys):
        raise HoldfastError(f"{len(said)} answers and {len(keys)} labels, and no ids to pair them by")
    for one, key in zip(said, keys, strict=True):
        asked = labels[key].question
        if one.question.strip().lower() != asked.lower():
            raise HoldfastError(f"the question is '{one.question}' here and '{asked}' in the labels", line=one.line)
    return [replace(one, id=key) for one, key in zip(said, keys, strict=True)]


BENCHMARK = Benchmark(metrics={"pope": "pope"}, layouts=(Layout("POPE answers", fits, read),), gold=references)
