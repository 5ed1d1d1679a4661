"""Imports go one way, from floor to floor and from file to file; no room is too large; the page says so too."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1] / "src" / "holdfast"
FLOORS = [
    {"errors", "values"},
    {"importing", "machine", "files", "events", "stopping"},
    {"config", "registry", "launch"},
    {"data", "predictions", "ranks"},
    {"metrics", "models"},
    {"pocket", "speed"},
    {"tasks"},
    {"scoring", "methods"},
    {"verdict", "inference", "training", "planning"},
    {"results"},
    {"runs"},
    {"reports", "testing"},
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


def file_imports() -> dict[str, set[str]]:
    """The modules of the package that each of its modules imports, wherever in the file; the package itself aside."""
    modules = {}
    for file in ROOT.rglob("*.py"):
        parts = file.relative_to(ROOT.parent).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    found: dict[str, set[str]] = {}
    for module, file in modules.items():
        targets: set[str] = set()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                targets |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                targets |= {name if name in modules else node.module for name in names}
        found[module] = (targets & set(modules)) - {module, ROOT.name}
    return found


def test_no_file_imports_itself_through_others() -> None:
    left = file_imports()
    assert sum(map(len, left.values())) > 500
    while True:  # take away what imports nothing that is left, until only cycles and what leads to them remain
        done = {module for module, targets in left.items() if not targets & set(left)}
        if not done:
            break
        left = {module: targets for module, targets in left.items() if module not in done}
    while True:  # and what nobody imports, so that the cycles alone are named
        wanted = {target for targets in left.values() for target in targets}
        if wanted >= set(left):
            break
        left = {module: targets for module, targets in left.items() if module in wanted}
    assert {module: sorted(targets & set(left)) for module, targets in left.items()} == {}


WINGS = ("methods", "tasks")
"""Folders whose own folders are rooms."""

LARGEST = 0.16
"""Share of all lines that a room may hold."""


def room_of(file: Path) -> str:
    """The room of a file: a folder below the package, in a wing a folder below that."""
    parts = file.relative_to(ROOT).parts
    if parts[0] in WINGS and len(parts) > 2:
        return "/".join(parts[:2])
    return parts[0].removesuffix(".py")


def test_no_room_holds_more_than_its_share() -> None:
    lines: Counter[str] = Counter()
    for file in ROOT.rglob("*.py"):
        lines[room_of(file)] += len(file.read_text(encoding="utf-8").splitlines())
    assert len(lines) > 30
    assert {room: count for room, count in lines.items() if count > LARGEST * lines.total()} == {}


def test_the_page_prints_the_floors_and_describes_every_room() -> None:
    page = (ROOT.parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = page.split("## Floors", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| (\d+) \| `([\w.]+)` \| (.{20,}) \|$", section, flags=re.M)
    written = [(int(height), room.removesuffix(".py")) for height, room, _ in rows]
    assert sorted(written) == sorted((height, room) for room, height in HEIGHT.items())
    assert [height for height, _ in written] == sorted((height for height, _ in written), reverse=True)


def test_the_page_names_only_files_that_are_there() -> None:
    page = (ROOT.parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:[\w-]+/)*[\w-]+\.py)`", page)
    assert len(named) > 20
    repository = ROOT.parents[1]
    places = {name for name in named if not (ROOT / name).exists() and not (repository / name).exists()}
    assert places == set()


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
