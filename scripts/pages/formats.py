"""The tables of ``docs/formats.md``: which prediction files are read, from the layouts that read them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

from holdfast.predictions.layout import Benchmark, FolderLayout, Layout

ROOT = Path(__file__).resolve().parents[2] / "src" / "holdfast"
MARK = "<!-- made from the readers -->"


def tables() -> str:
    """Tools that hold many tasks, then benchmarks with their own files."""
    return "\n".join(
        [
            "### Tools that hold many tasks\n",
            "| recognised as | what |",
            "|---|---|",
            *tools(),
            "\n### Benchmarks\n",
            "Result files of their own are recognised by their content.",
            "`holdfast score TASK FILE --references GOLD` scores them, or any file with the same ids, by the metric.\n",
            "| task and its metric | result files of its own | references |",
            "|---|---|---|",
            *benchmarks(),
        ]
    )


def tools() -> Iterator[str]:
    """One line a tool."""
    for module in modules("predictions/readers/*.py"):
        names = ", ".join(layout.name for layout in getattr(module, "LAYOUTS", ()))
        if names:
            yield f"| {names} | {cell(module.__doc__)} |"


def benchmarks() -> Iterator[str]:
    """One line a folder below ``tasks`` that reads results."""
    for module in modules("tasks/*/results.py"):
        found: Benchmark = module.BENCHMARK
        tasks = "<br>".join(f"`{task}`: {metric}" for task, metric in found.metrics.items())
        layouts: tuple[Layout | FolderLayout, ...] = (*found.layouts, *found.folders)
        own = ";<br>".join(dict.fromkeys(layout.name for layout in layouts))
        gold = cell(found.gold.__doc__) if found.gold is not None else "in the result files"
        yield f"| {tasks} | {own} | {gold} |"


def modules(pattern: str) -> Iterator[ModuleType]:
    """The modules of the package whose files fit."""
    for file in sorted(ROOT.glob(pattern)):
        if file.name != "__init__.py":
            yield import_module("holdfast." + file.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."))


def cell(text: str | None) -> str:
    """The first paragraph of a docstring as a table's cell."""
    first = inspect.cleandoc(text or "").split("\n\n")[0]
    return " ".join(first.split()).replace("``", "`").replace("|", "\\|")
