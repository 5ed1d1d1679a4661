"""A room imports only from floors below it (docs/architecture.md)."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1] / "src" / "holdfast"
FLOORS = [
    {"errors"},
    {"importing", "machine", "files", "events"},
    {"config", "registry"},
    {"data", "predictions"},
    {"metrics", "models"},
    {"pocket", "speed"},
    {"tasks"},
    {"scoring", "methods"},
    {"verdict", "inference", "training", "planning"},
    {"runs"},
    {"reports"},
    {"studies"},
    {"api"},
    {"cli"},
]
"""From the ground up; rooms in one set do not import each other."""

HEIGHT = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}


def imports() -> list[tuple[str, str, str]]:
    """(file, its room, imported room) for every import of the package by itself."""
    found = []
    for file in sorted(ROOT.rglob("*.py")):
        place = file.relative_to(ROOT).with_suffix("").parts
        if place[0] in ("__init__", "__main__"):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module] if node.module != "holdfast" else [f"holdfast.{a.name}" for a in node.names]
            for name in names:
                if name.startswith("holdfast.") and name.split(".")[1] != "__version__":
                    found.append((str(file.relative_to(ROOT)), place[0], name.split(".")[1]))
    return found


def test_no_import_points_upwards() -> None:
    found = imports()
    assert len(found) > 100
    wrong = [row for row in found if row[1] != row[2] and HEIGHT[row[2]] >= HEIGHT[row[1]]]
    assert wrong == []


def test_files_keep_to_one_job() -> None:
    long = {
        str(f.relative_to(ROOT)): n for f in ROOT.rglob("*.py") if (n := len(f.read_text("utf-8").split("\n"))) > 500
    }
    assert long == {}
