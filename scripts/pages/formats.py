"""The tables of ``docs/formats.md``: which files are read, in the words of the modules that read them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2] / "src" / "holdfast"
MARK = "<!-- made from the readers -->"


def tables() -> str:
    """Tools that hold many tasks, then benchmarks: what each module says of itself and of what it reads."""
    tools = sorted((ROOT / "predictions" / "readers").glob("*.py"))
    benchmarks = sorted((ROOT / "tasks").glob("*/results.py"))
    return "\n".join(
        [
            "### Tools that hold many tasks\n",
            *rows(file for file in tools if file.name != "__init__.py"),
            "\n### Benchmarks\n",
            *rows(benchmarks),
        ]
    )


def rows(files: Iterator[Path] | list[Path]) -> Iterator[str]:
    """A table line a module: where it stands, and its docstrings."""
    yield "| read by | what |"
    yield "|---|---|"
    for file in files:
        place = file.relative_to(ROOT).as_posix()
        yield f"| `{place}` | {' '.join(said(file))} |"


def said(file: Path) -> Iterator[str]:
    """The module's docstring, then those of its public functions that read something."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    yield cell(ast.get_docstring(tree) or "")
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            text = (ast.get_docstring(node) or "").split("\n\n")[0]
            if text:
                yield f"<br>`{node.name}`: {cell(text)}"


def cell(text: str) -> str:
    """One paragraph of a docstring as a table's cell."""
    return " ".join(text.split()).replace("``", "`").replace("|", "\\|")
