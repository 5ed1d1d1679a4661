"""Print the file tree for the README: every file with the first sentence of its docstring.

python scripts/tree.py          # print
python scripts/tree.py --write  # put it into README.md between its markers
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- tree -->", "<!-- /tree -->"


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


def main() -> None:
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    made = f"{BEGIN}\n```text\n{tree()}\n```\n{END}"
    if "--write" not in sys.argv:
        print(tree())
        return
    before, _, rest = text.partition(BEGIN)
    readme.write_text(before + made + rest.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    main()
