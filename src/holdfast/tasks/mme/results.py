"""MME: one text file a subtask, four tab-separated columns, two lines an image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from holdfast.errors import HoldfastError, nearest
from holdfast.files import text_lines
from holdfast.predictions.gold import Gold
from holdfast.predictions.layout import Benchmark, FolderLayout, Layout
from holdfast.predictions.reading import Ask, Look, Reading
from holdfast.predictions.record import Prediction
from holdfast.tasks.mme.download import pair, without_ending
from holdfast.tasks.mme.metric import SUBTASKS

_COLUMNS = 4


def fits(look: Look) -> bool:
    """A text file whose first line has the four columns."""
    return look.form == "text" and _has_columns(look.path)


def _has_columns(file: Path) -> bool:
    line = next((text for _, text in text_lines(file) if text.strip()), "")
    return line.count("\t") >= _COLUMNS - 1


def read(look: Look, ask: Ask) -> Reading:
    """One subtask."""
    return _reading([look.path], look.path, ask)


def fits_folder(path: Path) -> bool:
    """A folder of such files; one of JSON Lines beside them is something else."""
    return bool(_texts(path)) and not any(path.glob("*.jsonl"))


def read_folder(path: Path, ask: Ask) -> Reading:
    """Every subtask of a folder."""
    texts = _texts(path)
    known = [file for file in texts if file.stem in SUBTASKS]
    if not known:
        raise HoldfastError("there is no MME subtask file here", file=path, remedy=nearest(texts[0].stem, SUBTASKS))
    return _reading(known, path, ask)


def _texts(path: Path) -> list[Path]:
    return sorted(file for file in path.glob("*.txt") if file.stem in SUBTASKS or _has_columns(file))


def _reading(files: Sequence[Path], path: Path, ask: Ask) -> Reading:
    """A task a subtask, or one in all where the benchmark is named as a whole."""
    tasks: dict[str, list[Prediction]] = {}
    for file in files:
        tasks.setdefault(ask.task or f"mme_{file.stem.lower()}", []).extend(_subtask(file))
    told = f"MME results, {len(files)} {'subtask' if len(files) == 1 else 'subtasks'}"
    return Reading(str(path), told, tasks, metric="mme")


def _subtask(file: Path) -> Iterator[Prediction]:
    rows = []
    for line, text in text_lines(file):
        if not text.strip():
            continue
        cells = text.rstrip("\r\n").split("\t")
        if len(cells) < _COLUMNS:
            problem = f"the row has {len(cells)} columns, not image, question, gold and prediction"
            raise HoldfastError(problem, file=file, line=line)
        if cells[2].strip().lower() not in ("yes", "no"):
            raise HoldfastError(f"the label is {cells[2]!r}, not yes or no", file=file, line=line, item=cells[0])
        rows.append((line, cells))
    if not rows:
        raise HoldfastError("the file is empty", file=file)
    counts = Counter(cells[0] for _, cells in rows)
    # The official tool ties consecutive lines; that agrees with the image's name wherever each name comes twice.
    by_name = all(count == 2 for count in counts.values())
    seen: Counter[str] = Counter()
    for at, (line, (image, question, gold, said, *_)) in enumerate(rows):
        seen[image] += 1
        tied = image_name(image) if by_name else f"lines {2 * (at // 2) + 1} and {2 * (at // 2) + 2}"
        yield Prediction(
            f"{file.stem}/{image_name(image)}/{seen[image]}",
            said,
            (gold.strip(),),
            question=question,
            image=f"{file.stem}/{image_name(image)}",
            extra={"subtask": file.stem, "pair": tied},
            line=line,
        )


def image_name(image: str) -> str:
    """The name of a picture without its ending, in which copies of the benchmark differ."""
    name, dot, ending = image.rpartition(".")
    return name if dot and len(ending) <= 4 and "/" not in ending else image


def references(place: Path, said: Sequence[Prediction], ask: Ask) -> Gold:
    """The benchmark's folder, ``<subtask>/<image>.txt`` or ``<subtask>/questions_answers_YN/<image>.txt``, for answers
    known by image and question, as LLaVA writes them."""
    items = {
        draft.id: draft.reference()
        for subtask in SUBTASKS
        for file in sorted((*place.glob(f"{subtask}/*.txt"), *place.glob(f"{subtask}/questions_answers_YN/*.txt")))
        for draft in pair(file, subtask)
    }
    if not items:
        raise HoldfastError("the folder has no <subtask>/<image>.txt of MME", file=place)
    known = {(item.image, item.question): key for key, item in items.items()}
    present = {one.image.partition("/")[0] for one in said}
    kept = {key: item for key, item in items.items() if item.extra["subtask"] in present}
    return Gold(place, kept, [replace(one, id=_key(one, known)) for one in said])


def _key(one: Prediction, known: dict[tuple[str, str], str]) -> str:
    key = known.get((image_name(one.image), without_ending(one.question.strip().split("\n")[0])))
    if key is None:
        raise HoldfastError("image and question are not in the references", line=one.line, item=one.id)
    return key


BENCHMARK = Benchmark(
    metrics={"mme": "mme"},
    layouts=(Layout("MME results", fits, read),),
    folders=(FolderLayout("MME results", fits_folder, read_folder),),
    gold=references,
    also_for=("mme",),
)
