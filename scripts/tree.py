"""Print the file tree: every file with the first sentence of its docstring. ``python scripts/tree.py``"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def clause(file: Path) -> str:
    """The first sentence of a module's docstring, without its full stop."""
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    line = " ".join(text.split("\n\n")[0].split())
    return line.split(". ")[0].rstrip(".")


def tree() -> str:
    """One line a file, indented by folder."""
    package = ROOT / "src" / "holdfast"
    lines: list[str] = []
    for folder in [package, *sorted(path for path in package.rglob("*") if path.is_dir())]:
        files = sorted(file for file in folder.glob("*.py") if file.name != "__init__.py")
        if not files:
            continue
        place = folder.relative_to(package).as_posix()
        title = clause(folder / "__init__.py") if (folder / "__init__.py").exists() else ""
        lines.append(f"{'holdfast' if place == '.' else place}/" + (f"  {title}" if title and place != "." else ""))
        width = max(len(file.name) for file in files)
        lines += [f"  {file.name:<{width}}  {clause(file)}" for file in files]
    return "\n".join(lines)


if __name__ == "__main__":
    print(tree())
