"""From a path to a reading: look at the content, say what it is, hand it to its reader."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.predictions.readers.layouts import recognise_layout
from holdfast.predictions.readers.lmms_eval import is_samples_row, read_samples
from holdfast.predictions.readers.reading import Reading
from holdfast.predictions.readers.results import read_results
from holdfast.predictions.readers.rows import kind_of, rows_of, whole_json
from holdfast.predictions.readers.runfolder import read_folder as read_run_folder
from holdfast.predictions.readers.table import predictions_of
from holdfast.predictions.readers.vlmevalkit import is_table_row, read_table
from holdfast.tasks.mme.folder import read_mme

READABLE = (".jsonl", ".json", ".csv", ".tsv", ".xlsx", ".txt")


def read(
    path: str | Path, *, task: str | None = None, columns: Mapping[str, str] | None = None, scale: float = 1.0
) -> Reading:
    """Recognise and read predictions.

    Args:
        path: A file or folder of any known format.
        task: Name of the task, for a file that holds one and does not name it.
        columns: Field -> column, for plain tables whose columns have unusual names.
        scale: Value of a perfect score in the file.

    Raises:
        HoldfastError: Missing, broken or unrecognised input.
    """
    source = Path(path)
    if scale <= 0:
        raise HoldfastError(f"the scale {scale:g} is not positive")
    reading = (
        _read_folder(source, columns or {}, scale) if source.is_dir() else _read_file(source, columns or {}, scale)
    )
    if task is not None:
        if len(reading.tasks) > 1:
            raise HoldfastError(f"the source holds {len(reading.tasks)} tasks, so --task cannot name it", file=source)
        (predictions,) = reading.tasks.values()
        reading.tasks, reading.named = {task: predictions}, True
    return reading


def _read_file(path: Path, columns: Mapping[str, str], scale: float) -> Reading:
    kind = kind_of(path)
    if kind == "text":
        return read_mme([path], path)
    if kind == "json" or (kind == "jsonl" and _lone_object(path)):
        content = whole_json(path)
        if isinstance(content, dict):
            reading = read_results(content, path)
            if reading is not None:
                return reading
            if kind == "json":
                raise HoldfastError(
                    "the JSON object is no result file that is known",
                    file=path,
                    remedy="known: ScienceQA and IconQA results, a map of ids to answers, or a list of items",
                )
    rows = rows_of(path, kind)
    first = next(rows)
    everything = itertools.chain([first], rows)
    keys = first[1].keys()
    if not columns or set(columns) == {"score"}:
        if is_samples_row(first[1]):
            return read_samples(everything, path, score=columns.get("score"), scale=scale)
        if not columns and is_table_row(first[1]):
            return read_table(everything, path, scale=scale)
    layout = recognise_layout(set(keys), columns, path)
    predictions = predictions_of(everything, layout, path, scale=scale)
    name = predictions[0].task
    return Reading(
        name=str(path),
        recognised=layout.name,
        tasks={name or path.stem: predictions},
        named=name is not None,
        roots=(path.parent, path.parent / "images", path.parent.parent / "images"),
    )


def _lone_object(path: Path) -> bool:
    """Whether a ``.jsonl`` file is one JSON object on one line that looks like a result file, as LLaVA writes it."""
    with path.open("rb") as stream:
        first = stream.readline()
        return b'"results"' in first[:2000] or b'"correct"' in first[:2000] if not stream.read(1) else False


def _read_folder(path: Path, columns: Mapping[str, str], scale: float) -> Reading:
    if (path / "predictions").is_dir():
        return read_run_folder(path)
    texts = sorted(path.glob("*.txt"))
    if texts and not any(path.glob("*.jsonl")):
        return read_mme([file for file in texts if "\t" in file.read_text(encoding="utf-8", errors="replace")], path)
    files = sorted(file for file in path.iterdir() if file.suffix in READABLE and _holds_predictions(file))
    if not files:
        return read_run_folder(path)  # explains what is missing
    merged = Reading(name=str(path), recognised="", tasks={}, roots=(path, path / "images"))
    told = []
    for file in files:
        reading = _read_file(file, columns, scale)
        told.append(reading.recognised)
        merged.notes += reading.notes
        for name, predictions in reading.tasks.items():
            if name in merged.tasks:
                raise HoldfastError(f"the task '{name}' stands in two files of the folder", file=file)
            merged.tasks[name] = predictions
    kinds = ", ".join(dict.fromkeys(told)) if len(set(told)) < 4 else f"{len(told)} files of known formats"
    merged.recognised = f"folder of {len(files)} {'file' if len(files) == 1 else 'files'}: {kinds}"
    return merged


def _holds_predictions(file: Path) -> bool:
    """Settings and totals that tools leave beside their predictions are passed over."""
    name = file.name.lower()
    return not (name.endswith(("results.json", "config.json", "scores.json", "_acc.csv")) or name.startswith("."))
