"""POPE: label files (JSON Lines whatever they are called), and answers by LLaVA's ids or by question text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.predictions.answers import Answer, Answers, answer, from_rows, identifier, pair
from holdfast.predictions.official_files import Row, read_rows
from holdfast.predictions.record import Prediction
from holdfast.predictions.request import Request

SPLITS = ("random", "popular", "adversarial")
# LLaVA numbers its 8,910 questions by split: the label's own id plus this offset.
_STEP = 10_000_000
LLAVA_OFFSET = {"adversarial": 0, "random": _STEP, "popular": 2 * _STEP}


def items(request: Request) -> list[Prediction]:
    """Answers against one label file or a folder of them; LLaVA's ``llava_pope_test.jsonl`` may lie among them.

    The random split exists with 2,910 rows and, reworded, with 3,000: the text of every question is compared wherever
    the answers hold it, so that answers to one copy are not scored against another.
    """
    place = request.needed
    labels = _labels(place)
    rows = read_rows(request.predictions)
    if rows and identifier(rows[0].record.get("question_id", rows[0].record.get("id"))) is None:
        answers = _by_line(request.predictions, rows, labels)
    else:
        answers = _by_id(request.predictions, rows, labels, _questions(place))
    return pair(answers, labels, place, intersect=request.intersect)


def _labels(place: Path) -> dict[str, Prediction]:
    files = [place] if place.is_file() else sorted(p for p in place.glob("*.json*") if "pope" in p.name.lower())
    made: dict[str, Prediction] = {}
    for file in files:
        rows = _label_rows(file)
        split = next((name for name in SPLITS if name in file.name.lower()), file.name.split(".")[0])
        for row in rows:
            key = f"{split}/{row.record.get('question_id')}"
            if key in made:
                raise HoldfastError("the id comes twice in the labels", file=file, line=row.line, item=key)
            label, text = row.record["label"], row.record.get("text", row.record.get("question", ""))
            image = str(row.record.get("image", ""))
            made[key] = Prediction(
                key, None, references=(str(label),), question=str(text), image=image, extra={"category": split}
            )
    if not made:
        raise HoldfastError("there are no POPE labels here", file=place, remedy="give coco_pope_*.json or their folder")
    return made


def _label_rows(file: Path) -> list[Row]:
    """Rows of a label file; none for a file of answers or questions beside the labels."""
    try:
        rows = read_rows(file)
    except HoldfastError:
        if file.name.startswith(("coco_pope", "aokvqa_pope", "gqa_pope")):
            raise
        return []
    return rows if rows and all("label" in row.record for row in rows) else []


def _questions(place: Path) -> dict[str, Row]:
    """LLaVA's question file in the folder (or beside the label file), by its ids."""
    folder = place.parent if place.is_file() else place
    file = folder / "llava_pope_test.jsonl"
    return {str(row.record.get("question_id")): row for row in read_rows(file)} if file.is_file() else {}


def first_line(text: str) -> str:
    """The question without the prompt that follows it."""
    return text.removeprefix("<image>").strip().split("\n")[0].strip()


def _by_id(file: Path, rows: list[Row], labels: Mapping[str, Prediction], questions: Mapping[str, Row]) -> Answers:
    splits = {str(item.extra["category"]) for item in labels.values()}
    texts = {(str(i.extra["category"]), i.image, i.question): key for key, i in labels.items()}
    by_id: dict[str, Answer] = {}
    said = from_rows(file, rows).by_id.values()
    llava = len(splits) > 1 or any(one.id.isdecimal() and int(one.id) > _STEP for one in said)
    for one in said:
        key = _from_questions(one, questions, texts) or _from_number(one, splits, llava=llava)
        label = labels.get(key)
        asked = one.prompt if one.prompt is not None else one.row.get("question")
        if label is not None and isinstance(asked, str) and label.question and first_line(asked) != label.question:
            raise HoldfastError(
                f"the question is '{first_line(asked)}' here and '{label.question}' in the labels",
                file=file,
                line=one.line,
                item=one.id,
                remedy="give the label files of the same copy of POPE",
            )
        if key in by_id:
            raise HoldfastError("the question is answered twice", file=file, line=one.line, item=one.id)
        by_id[key] = replace(one, id=key)
    return Answers(file, by_id)


def _from_questions(one: Answer, questions: Mapping[str, Row], texts: Mapping[tuple[str, str, str], str]) -> str | None:
    row = questions.get(one.id)
    if row is None:
        return None
    record = row.record
    return texts.get((str(record.get("category")), str(record.get("image")), first_line(str(record.get("text", "")))))


def _from_number(one: Answer, splits: set[str], *, llava: bool) -> str:
    """The key of a label from an answer's category, its LLaVA number, or the only split there is."""
    category = one.row.get("category", one.row.get("split"))
    if isinstance(category, str) and category:
        return f"{category}/{one.id}"
    if llava and one.id.isdecimal():
        number = int(one.id)
        split = next((name for name, offset in LLAVA_OFFSET.items() if offset < number < offset + _STEP), None)
        return f"{split}/{number % _STEP}" if split else one.id
    if len(splits) == 1:
        (only,) = splits
        return f"{only}/{one.id}"
    return one.id


def _by_line(file: Path, rows: list[Row], labels: Mapping[str, Prediction]) -> Answers:
    """The official answer form, ``{question, answer}`` without an id: line by line, every question's text compared."""
    keys = list(labels)
    if len({item.extra["category"] for item in labels.values()}) != 1:
        raise HoldfastError(
            "answers without question_id need one label file", file=file, remedy="name the split's file"
        )
    if len(rows) != len(keys):
        raise HoldfastError(f"{len(rows)} answers and {len(keys)} labels, and no ids to pair them by", file=file)
    by_id: dict[str, Answer] = {}
    for row, key in zip(rows, keys, strict=True):
        said, asked = str(row.record.get("question", "")).strip(), labels[key].question
        if said.lower() != asked.lower():
            raise HoldfastError(f"the question is '{said}' here and '{asked}' in the labels", file=file, line=row.line)
        text_key = "answer" if "answer" in row.record else "text"
        by_id[key] = answer(file, Row({**row.record, "id": key}, row.line), "id", text_key)
    return Answers(file, by_id)
