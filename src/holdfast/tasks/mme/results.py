"""MME: one text file a subtask, four tab-separated columns, two lines an image."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from holdfast.errors import HoldfastError, nearest
from holdfast.predictions.official_files import read_text
from holdfast.predictions.record import Prediction
from holdfast.predictions.request import Request
from holdfast.tasks.mme.metric import SUBTASKS


def items(request: Request) -> list[Prediction]:
    """Lines ``image, question, gold, prediction`` of ``<subtask>.txt``, from one file or a folder of them."""
    place = request.predictions
    if not place.exists():
        raise HoldfastError("the results do not exist", file=place)
    files = [place] if place.is_file() else sorted(place.glob("*.txt"))
    known = [file for file in files if file.stem in SUBTASKS]
    if not known:
        names = files[0].stem if files else ""
        raise HoldfastError("there is no MME subtask file here", file=place, remedy=nearest(names, SUBTASKS))
    return [item for file in known for item in _subtask(file)]


def _subtask(file: Path) -> list[Prediction]:
    rows = []
    for number, line in enumerate(read_text(file).split("\n"), start=1):
        if not line:
            continue
        cells = line.rstrip("\r").split("\t")
        if len(cells) != 4:
            raise HoldfastError(f"the line has {len(cells)} columns, not four", file=file, line=number)
        if cells[2].lower() not in ("yes", "no"):
            raise HoldfastError(f"the label is '{cells[2]}', not yes or no", file=file, line=number, item=cells[0])
        rows.append((number, cells))
    if len(rows) % 2:
        raise HoldfastError("the number of lines is odd, and every image has two", file=file, line=rows[-1][0])
    counts = Counter(cells[0] for _, cells in rows)
    # The official tool ties consecutive lines; that agrees with the image's name wherever each name comes twice.
    by_name = all(count == 2 for count in counts.values())
    seen: Counter[str] = Counter()
    made = []
    for at, (_, (image, question, gold, prediction)) in enumerate(rows):
        seen[image] += 1
        pair = image if by_name else f"lines {2 * (at // 2) + 1} and {2 * (at // 2) + 2}"
        extra = {"subtask": file.stem, "pair": pair}
        key = f"{file.stem}/{image}/{seen[image]}"
        made.append(
            Prediction(
                key, prediction, references=(gold,), question=question, image=f"{file.stem}/{image}", extra=extra
            )
        )
    return made
