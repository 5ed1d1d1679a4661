"""Read the user's own examples from JSON Lines, JSON lists, CSV, TSV and workbooks, in every form of :mod:`.forms`.

The simple form, one object a line::

    {"image": "cats/1.png", "question": "How many cats?", "answer": "two", "id": "q1"}

``image`` may be a list (several images), ``null`` (text alone), and ``answer`` too may be a list (several right
answers; the first is trained on). ``images`` and ``answers`` are taken as synonyms, ``choices`` is kept for metrics
that need them, and every other field is carried along.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import count as count_from
from itertools import islice
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from holdfast.data.checking import PictureCheck, problem_of
from holdfast.data.contents import Advance
from holdfast.data.examples import IMAGE_MARK, Example, ImageSource, image_key
from holdfast.data.forms import SIMPLE, Dialogue, Form, conversation_of
from holdfast.data.images import resolving_inside
from holdfast.data.stored import DataURI, Encoded, StoredImage, is_base64_picture, is_data_uri
from holdfast.data.unfolding import unfolded
from holdfast.errors import HoldfastError
from holdfast.files import form_of, parse_list, scan
from holdfast.importing import growing
from holdfast.values import JSON

LISTS = frozenset(
    (
        *("image", "images", "answer", "answers", "choices", "options"),
        *("conversations", "conversation", "messages", "history", "texts"),
    )
)
"""Fields whose cell in a table may hold a list as JSON or Python writes it."""
_ANSWERS = frozenset(("answer", "answers", "response", "output", "completion"))
_CELL = 64 << 20
_SHORT = 64
"""Letters of the index of a row; what is longer is a picture."""
URL = re.compile(r"(?!file:)[a-z][a-z0-9+.-]*://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ExamplesRead:
    """What a file gave: its good examples and, in file order, everything that is wrong with it.

    Attributes:
        examples: In the order of the file.
        problems: One a bad item.
        forms: How many records were of each form, by its name.
    """

    examples: tuple[Example, ...]
    problems: tuple[HoldfastError, ...]
    forms: Mapping[str, int] = field(default_factory=dict)


@growing()
def read_examples(
    file: Path,
    *,
    root: Path | None = None,
    open_images: bool = True,
    limit: int | None = None,
    columns: Mapping[str, str] | None = None,
    advance: Advance | None = None,
) -> ExamplesRead:
    """Read every example of ``file`` and collect every problem.

    Args:
        file: JSON Lines, a JSON list, CSV, TSV or a workbook; gzip or not.
        root: Folder that image paths are relative to and may not leave; default: the file's own folder.
        open_images: Decode each picture once, so that damaged files are found before training.
        limit: Stop after this many records.
        columns: Field of the simple form -> what the file calls it.
        advance: Told how many of how many pictures are checked.

    Raises:
        HoldfastError: The file itself is missing, unreadable or holds no record at all.
    """
    if root is None:
        root = file.parent
    elif not root.is_dir():
        raise HoldfastError(f"the data root {root} is not a folder", remedy="set root to the folder of the images")
    is_list, is_table = form_of(file) == "json", form_of(file) in ("csv", "tsv", "xlsx")
    return collect(
        islice(unfolded(scan(file), file) if is_list else scan(file), limit),
        file=file,
        root=root,
        item_of=lambda position, line: f"item-{position}" if is_list else f"line-{line}",
        is_table=is_table,
        open_images=open_images,
        columns=columns,
        advance=advance,
    )


def collect(
    records: Iterable[tuple[int, Mapping[str, Any] | HoldfastError]],
    *,
    file: Path,
    root: Path,
    item_of: Callable[[int, int], str],
    is_table: bool = False,
    has_lines: bool = True,
    open_images: bool = True,
    columns: Mapping[str, str] | None = None,
    advance: Advance | None = None,
) -> ExamplesRead:
    """Examples of records, wherever they come from; see :func:`read_examples`.

    Args:
        records: Line and record, or line and what is wrong with it.
        file: What they come from, for messages.
        root: Folder of the images.
        item_of: From position and line to the id of a record that brings none.
        is_table: Whether cells are texts that may be empty or hold lists.
        has_lines: Whether the numbers are lines of a file that a person can look at.
        open_images: Decode each picture once.
        columns: Field of the simple form -> what the records call it.
        advance: Told how many of how many pictures are checked.

    Raises:
        HoldfastError: There is no record at all.
    """
    examples: list[Example] = []
    lines: list[int] = []
    problems: list[tuple[int, HoldfastError]] = []
    first_seen: dict[str, int] = {}
    resolve = lru_cache(maxsize=None)(partial(_place, resolve=resolving_inside(root)))  # questions share images
    forms: Counter[str] = Counter()
    pictures: dict[str, str] = {}
    position = 0

    def problem(error: HoldfastError, line: int, item: str | None) -> tuple[int, HoldfastError]:
        place = line if has_lines else None
        return line, HoldfastError(error.problem, file=file, line=place, item=item, remedy=error.remedy)

    with PictureCheck() if open_images else nullcontext() as check:
        for position, (line, record) in enumerate(records, start=1):
            item: str | None = None
            try:
                if isinstance(record, HoldfastError):
                    raise record
                record = _renamed(record, columns) if columns else record
                record = _borrowed(_cells(record) if is_table else record, pictures)
                item = _identifier(record, item_of(position, line))
                form, said = conversation_of(record)
                if item in first_seen:
                    if form is SIMPLE:
                        raise HoldfastError(
                            f"id '{item}' stands on line {first_seen[item]} already"
                            if has_lines
                            else f"id '{item}' stands in row {first_seen[item]} already",
                            remedy="give every item its own id",
                        )
                    # LLaVA's files name a conversation by its picture, which may have several.
                    item = next(name for n in count_from(2) if (name := f"{item}#{n}") not in first_seen)
                first_seen[item] = line
                example = _example(record, item, form, said, resolve)
                examples.append(example)
                lines.append(line)
                forms[form.name] += 1
            except HoldfastError as error:
                problems.append(problem(error, line, item))
            else:
                if check is not None:
                    for image in example.images:
                        if isinstance(image, Path | StoredImage):
                            check.add(image)  # decoded while further lines are read
        if not position:
            raise HoldfastError("the data set is empty", file=file, remedy="add at least one example")
        wrong = {} if check is None else check.finish(advance)
    if wrong:
        found = [problem_of(example, wrong) for example in examples]
        judged = list(zip(examples, lines, found, strict=True))
        problems += [problem(error, line, example.id) for example, line, error in judged if error is not None]
        problems.sort(key=lambda pair: pair[0])
        examples = [example for example, _, error in judged if error is None]
    return ExamplesRead(tuple(examples), tuple(error for _, error in problems), dict(forms))


def _cells(record: Mapping[str, Any]) -> JSON:
    """A row of a table: empty cells are absent, and a cell that holds a JSON list is a list."""
    found: JSON = {}
    for name, cell in record.items():
        if cell is None or cell == "":
            continue
        if name in _ANSWERS and cell in ("nan", "NaN"):
            raise HoldfastError(
                f"the cell '{name}' is '{cell}', which could be the text or a cell that pandas found empty",
                remedy="write the answer or leave the item out; in JSON Lines a text is a text",
            )
        if isinstance(cell, str) and name in LISTS:
            inner = parse_list(cell, longest=_CELL)  # it may be a text that begins with a bracket
            # Numbers in brackets are one answer, such as a box.
            texts = name not in ("answer", "answers") or _texts_or_nothing(inner or ())
            cell = inner if inner is not None and texts else cell
        found[name] = cell
    return {"image": None, **found} if "image" in record or "images" in record else found


def _texts_or_nothing(values: Sequence[Any]) -> bool:
    """Whether there is a text, and beside it texts and empty places only, which are then no answers."""
    return any(isinstance(one, str) for one in values) and all(one is None or isinstance(one, str) for one in values)


def _borrowed(record: Mapping[str, Any], pictures: dict[str, str]) -> Mapping[str, Any]:
    """The record with its picture, where a row of VLMEvalKit's tables names the row that has it by its index.

    Args:
        record: A record.
        pictures: Pictures in base64 so far, by index; one that this record brings is added.
    """
    image, index = record.get("image"), record.get("index")
    if not isinstance(index, str | int) or not isinstance(image, str | int):
        return record
    if isinstance(image, str) and len(image) > _SHORT:
        if is_base64_picture(image):
            pictures[str(index)] = image
        return record
    return {**record, "image": pictures[str(image)]} if str(image) in pictures else record


def _renamed(record: Mapping[str, Any], columns: Mapping[str, str]) -> JSON:
    """The record with the user's columns under the names of the simple form."""
    for name, column in columns.items():
        if column not in record and name in ("question", "answer"):
            shown = ", ".join(sorted(record)[:12])
            raise HoldfastError(f"there is no column '{column}' for '{name}'", remedy=f"columns: {shown}")
    taken = {column: name for name, column in columns.items()}
    return {taken.get(name, name): value for name, value in record.items() if name in taken or name not in columns}


def _identifier(record: Mapping[str, Any], name: str) -> str:
    value = record.get("id", record.get("question_id"))
    if value is None:
        return name
    if not isinstance(value, str | int) or isinstance(value, bool) or not str(value).strip():
        raise HoldfastError("field 'id' is neither text nor a whole number", remedy="give the item a plain id")
    return str(value)


def _example(
    record: Mapping[str, Any], item: str, form: Form, said: Dialogue, resolve: Callable[[str], Path]
) -> Example:
    images = tuple([_source(value, resolve) for value in said.images])
    marks = sum([turn.question.count(IMAGE_MARK) for turn in said.turns])
    if marks and marks != len(images):
        raise HoldfastError(
            f"{marks} {IMAGE_MARK} marks stand in the text but {len(images)} images are given",
            remedy="use one mark per image, or none",
        )
    choices = _choices(record)
    if choices:
        _refuse_number_of_option(record, choices, said)
    return Example(
        id=item,
        images=images,
        turns=said.turns,
        image_key=image_key(images),
        choices=choices,
        extra={key: value for key, value in record.items() if key not in form.fields},
        system=said.system,
    )


def _choices(record: Mapping[str, Any]) -> tuple[str, ...]:
    """The options of a multiple-choice item: ``choices``, or ``options``, or columns A, B, C... as VLMEvalKit has them.

    Raises:
        HoldfastError: ``choices`` is no list of texts; the others may mean something else and are then left.
    """
    choices = record.get("choices")
    if choices:
        if not isinstance(choices, list | tuple) or not all(isinstance(choice, str) for choice in choices):
            raise HoldfastError("field 'choices' is not a list of texts")
        return tuple(choices)
    options = record.get("options")
    if isinstance(options, str):
        options = parse_list(options, longest=_CELL)  # MMMU keeps its options so
    if isinstance(options, Mapping) and all(name in ascii_uppercase for name in options):
        options = list(options.values())
    if isinstance(options, list | tuple) and options and all(isinstance(option, str) for option in options):
        return tuple(options)
    if "A" not in record or "B" not in record:
        return ()
    cells = ["" if (cell := record.get(letter)) is None else str(cell).strip() for letter in ascii_uppercase]
    given = cells[: next((at for at, cell in enumerate(cells) if not cell), len(cells))]
    return tuple(given) if len(given) > 1 else ()


def _refuse_number_of_option(record: Mapping[str, Any], choices: Sequence[str], said: Dialogue) -> None:
    """A whole number beside options that do not hold it may be the number of an option, from 0 or from 1."""
    answer = said.turns[-1].answers[0]
    given = record.get("answer", record.get("answers"))
    if isinstance(given, list) or not answer.isdecimal() or answer in choices or len(answer) > 2:
        return
    if int(answer) <= len(choices):
        raise HoldfastError(
            f"the answer {answer} could be the text '{answer}' or the number of an option, from 0 or from 1",
            remedy="write the option's text or its letter",
        )


def _source(value: Any, resolve: Callable[[str], Path]) -> ImageSource:
    """A path below the root, or a picture that stands in the record itself."""
    if isinstance(value, str):
        if len(value) > _SHORT and is_base64_picture(value):
            return DataURI(f"data:image/unknown;base64,{''.join(value.split())}", "base64 picture")
        if is_data_uri(value):
            return DataURI(value)
        if value.startswith("data:"):
            raise HoldfastError("the data URI is no base64 image", remedy="write data:image/png;base64,...")
        return resolve(value)
    if isinstance(value, StoredImage):
        return value
    if isinstance(value, Mapping):  # as Hugging Face's data sets write images
        content, path = value.get("bytes"), value.get("path")
        if isinstance(content, bytes):
            return Encoded(content, str(path or "picture"))
        value = path
    if isinstance(value, bytes):
        return Encoded(value)
    if isinstance(value, str):
        return _source(value, resolve)
    raise HoldfastError("field 'image' is neither a path nor a list of paths")


def _place(name: str, resolve: Callable[[str], Path]) -> Path:
    """The file that a text in the place of a picture names."""
    if URL.match(name):
        raise HoldfastError(
            f"'{name[:80]}' is an address, and nothing is fetched", remedy="download the picture and give its path"
        )
    try:
        return resolve(name.removeprefix("file://"))
    except HoldfastError as error:
        if "\\" in name:
            raise HoldfastError(
                error.problem, remedy=f"write the path with slashes: {name.replace(chr(92), '/')}"
            ) from error
        raise
