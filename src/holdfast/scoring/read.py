"""From a path to a reading: look at the content, ask every layout whether it knows it, read it by the one that does."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.predictions import readers
from holdfast.predictions.layout import Benchmark, FolderLayout, Layout
from holdfast.predictions.readers.own import nothing_in
from holdfast.predictions.readers.plain import RECORDS
from holdfast.predictions.reading import Ask, Look, Reading
from holdfast.scoring.benchmarks import all_benchmarks, benchmark_for, find_benchmark

READABLE = (".jsonl", ".jsonlines", ".ndjson", ".json", ".csv", ".tsv", ".xlsx")


def read(path: str | Path, ask: Ask | None = None) -> Reading:
    """Recognise and read predictions.

    Args:
        path: A file or folder of any known layout.
        ask: What is wanted of it.

    Raises:
        HoldfastError: Missing, broken or unrecognised input, or input that could be two things.
    """
    source, ask = Path(path), Ask() if ask is None else ask
    reading = _read_folder(source, ask) if source.is_dir() else _read_file(source, ask)
    if ask.task is not None:
        if len(reading.tasks) > 1:
            raise HoldfastError(f"the source holds {len(reading.tasks)} tasks, so --task cannot name it", file=source)
        return reading.called(ask.task)
    return reading


def _read_file(path: Path, ask: Ask) -> Reading:
    look = Look(path)
    layout = _recognise(look, ask)
    if look.had_nan is not None and not layout.nan:
        raise look.had_nan
    return layout.read(look, ask)


def _recognise(look: Look, ask: Ask) -> Layout:
    """The layout that claims a file; those of the benchmark asked for go first, then those of tools, then all others.

    Raises:
        HoldfastError: Two claim it, or none does and it holds no records.
    """
    named = _asked(ask)
    own = [] if named is None else named.layouts
    tools = [one for one in tool_layouts() if not one.last]
    claims = [one for one in own if one.fits(look)] or [one for one in tools if one.fits(look)]
    if ask.columns and not (claims and ask.columns.keys() <= {"score"} and claims[0].many_scores):
        claims = [RECORDS] if look.head else claims  # what the user says of columns wins over everything
    if not claims and find_benchmark(ask.task) is None:
        layouts = [layout for each in all_benchmarks() for layout in each.layouts]
        claims = [one for one in layouts if not one.only_named and one.fits(look)]
    claims = claims or [one for one in tool_layouts() if one.last and one.fits(look)]
    if len(claims) > 1:
        raise HoldfastError(
            f"the file could be {claims[0].name} or {claims[1].name}",
            file=look.path,
            remedy="name its task with --task, or its columns with --column",
        )
    if not claims and any(one.passes_over(look.path.name, (), ask.judges) for one in tool_layouts()):
        raise HoldfastError(
            "the file holds settings, a log or totals, and no answers",
            file=look.path,
            remedy="name the file of answers (lmms-eval writes it with --log_samples), or the folder",
        )
    if not claims:
        raise HoldfastError(
            "the file is no result file that is known",
            file=look.path,
            remedy="known: records with named columns, maps of ids to answers, and official result files",
        )
    return claims[0]


def _asked(ask: Ask) -> Benchmark | None:
    """The benchmark of the task, or else of the metric, that the user named."""
    named = find_benchmark(ask.task)
    if named is None and ask.metric is not None:
        named = benchmark_for(ask.metric.partition(":")[0])
    return named


@cache
def _readers() -> tuple[Layout | FolderLayout, ...]:
    folder = Path(readers.__path__[0])
    names = sorted(file.stem for file in folder.glob("*.py") if file.stem != "__init__")
    return tuple(one for name in names for one in import_module(f"{readers.__name__}.{name}").LAYOUTS)


def tool_layouts() -> list[Layout]:
    """Layouts of tools that hold many tasks."""
    return [one for one in _readers() if isinstance(one, Layout)]


def _read_folder(path: Path, ask: Ask) -> Reading:
    named = _asked(ask)
    own = [] if named is None else [one for one in named.folders if one.fits(path)]
    claims = own or [one for one in _readers() if isinstance(one, FolderLayout) and one.fits(path)]
    if not claims and find_benchmark(ask.task) is None:
        claims = [one for each in all_benchmarks() for one in each.folders if one.fits(path)]
    if len(claims) > 1:
        raise HoldfastError(f"the folder could be {claims[0].name} or {claims[1].name}", file=path)
    return claims[0].read(path, ask) if claims else _read_files(path, ask)


def _read_files(path: Path, ask: Ask) -> Reading:
    """Every file of a folder that holds predictions."""
    found = [file for file in sorted(path.iterdir()) if file.is_file() and _is_readable(file.name)]
    names = {file.name for file in found}
    files = [file for file in found if not any(one.passes_over(file.name, names, ask.judges) for one in tool_layouts())]
    if not files:
        raise nothing_in(path)
    readings = [_read_file(file, ask) for file in files]
    merged = Reading(name=str(path), recognised="", tasks={}, roots=(path, path / "images"))
    short = _without_model([name for one in readings if one.after_model for name in one.tasks], path)
    short |= _without_folder(
        [name for one in readings if not one.named for name in one.tasks if name not in short], path
    )
    for file, reading in zip(files, readings, strict=True):
        merged.notes += reading.notes
        for name, predictions in reading.tasks.items():
            task = name if reading.named else short.get(name, name)
            if task in merged.tasks:
                raise HoldfastError(
                    f"the task '{task}' stands in two files of the folder",
                    file=file,
                    remedy="name one of the two files, or keep one run of the task in the folder",
                )
            merged.tasks[task] = predictions
    metrics = {reading.metric for reading in readings}
    merged.metric = metrics.pop() if len(metrics) == 1 else None
    told = list(dict.fromkeys(reading.recognised for reading in readings))
    kinds = ", ".join(told) if len(told) < 4 else f"{len(files)} files of known layouts"
    merged.recognised = f"folder of {len(files)} {'file' if len(files) == 1 else 'files'}: {kinds}"
    return merged


def _is_readable(name: str) -> bool:
    return not name.startswith(".") and name.lower().removesuffix(".gz").endswith(READABLE)


def _without_model(names: Sequence[str], folder: Path) -> dict[str, str]:
    """Task names without the model's, which stands in front of every one: the folder is called so, or all begin so."""
    for model in (folder.name, folder.resolve().parent.name):
        if names and all(name.startswith(f"{model}_") and len(name) > len(model) + 1 for name in names):
            return {name: name[len(model) + 1 :] for name in names}
    words = [name.split("_") for name in names]
    most = min((len(one) - 1 for one in words), default=0) if len(names) > 1 else 0
    shared = next((at for at in range(most) if len({one[at] for one in words}) > 1), most)
    return {name: "_".join(one[shared:]) for name, one in zip(names, words, strict=True)}


def _without_folder(names: Sequence[str], folder: Path) -> dict[str, str]:
    """Names of files that do not say their task, without the folder's name before or behind, which is the model's."""
    bare = {name: name.removeprefix(f"{folder.name}_").removesuffix(f"_{folder.name}") for name in names}
    return bare if all(bare[name] not in ("", name) for name in names) else {}
