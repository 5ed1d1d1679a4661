"""Print the file tree: every file with the first sentence of its docstring. ``python scripts/tree.py``"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def clause(file: Path) -> str:
    """The first sentence of a module's docstring, without its full stop."""
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    line = " ".join(text.split("\n\n")[0].split())
    return line.split(". ")[0].rstrip(".")


def rooms() -> Iterator[tuple[str, str, list[tuple[str, str]]]]:
    """Every folder that holds code: its place, what it is, and its files with their clauses."""
    package = ROOT / "src" / "holdfast"
    for folder in [package, *sorted(path for path in package.rglob("*") if path.is_dir())]:
        files = sorted(file for file in folder.glob("*.py") if file.name != "__init__.py")
        if not files:
            continue
        place = folder.relative_to(package).as_posix()
        inside = folder / "__init__.py"
        title = clause(inside) if place != "." and inside.exists() else ""
        yield ("holdfast" if place == "." else place), title, [(file.name, clause(file)) for file in files]


def tree() -> str:
    """One line a file, indented by folder."""
    lines: list[str] = []
    for place, title, files in rooms():
        lines.append(f"{place}/" + (f"  {title}" if title else ""))
        width = max(len(name) for name, _ in files)
        lines += [f"  {name:<{width}}  {said}" for name, said in files]
    return "\n".join(lines)


def page() -> str:
    """The tree as a page of the docs, a table a folder."""
    lines = [
        "# Every file",
        "",
        "Each with the first sentence of its docstring; `python scripts/tree.py` prints the same.",
    ]
    for place, title, files in rooms():
        lines += ["", f"## {place}/", "", *([f"{title}.", ""] if title else []), "| file | what |", "|---|---|"]
        lines += [f"| `{name}` | {said.replace('``', '`').replace('|', chr(92) + '|')} |" for name, said in files]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(tree())
