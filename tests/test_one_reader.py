"""Only the file layer parses JSON, CSV, TSV, xlsx and gzip from outside; only it writes beside a name and renames."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1] / "src" / "holdfast"
PARSERS = {"csv", "gzip", "openpyxl", "zipfile", "bz2", "lzma", "tarfile", "pickle"}
RENAMES = {"rename", "renames", "replace", "move"}

ALLOWED = {
    "models/checkpoint.py: json.loads": "the header of a safetensors file, which safetensors has checked",
    "models/identity.py: json.loads": "what a tokenizer writes of itself, to leave two passing settings out",
    "reports/explorer/payload.py: import gzip": "writes: the page's data are packed, nothing is opened",
    "speed/parcel.py: import pickle": "what a process and its own workers tell each other; never a file",
    "pocket/making/build.py: json.loads": "a round trip of our own plan, so that tuples compare as lists",
}
"""What stands elsewhere, and why."""


def found_in(source: str) -> set[str]:
    """What a module does that only the file layer may do."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {f"import {a.name}" for a in node.names if a.name.split(".")[0] in PARSERS}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            if node.module.split(".")[0] in PARSERS:
                found.add(f"import {node.module}")
            if node.module in ("json", "os", "shutil"):
                names = {a.name for a in node.names}
                found |= {f"{node.module}.{n}" for n in names & ({"load", "loads", "JSONDecoder"} | RENAMES)}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name, owner = node.func.attr, node.func.value
            module = owner.id if isinstance(owner, ast.Name) else ""
            if module == "json" and name in ("load", "loads", "JSONDecoder"):
                found.add(f"json.{name}")
            elif module in ("os", "shutil") and name in RENAMES:
                found.add(f"{module}.{name}")
            # A text's replace takes two values, a path's one; dataclasses and dates take keywords.
            elif (
                name in ("rename", "replace") and len(node.args) == 1 and not node.keywords and module != "dataclasses"
            ):
                found.add(f".{name}(path)")
    return found


def test_nothing_else_parses_or_renames() -> None:
    there = {
        f"{file.relative_to(ROOT).as_posix()}: {what}"
        for file in ROOT.rglob("*.py")
        if file.relative_to(ROOT).parts[0] != "files"
        for what in found_in(file.read_text(encoding="utf-8"))
    }
    assert there == set(ALLOWED)


def test_what_it_looks_for_is_found() -> None:
    assert found_in("import csv\nfrom gzip import open\nimport openpyxl.reader") == {
        "import csv",
        "import gzip",
        "import openpyxl.reader",
    }
    assert found_in("import json\njson.loads(x)\njson.dumps(x)") == {"json.loads"}
    assert found_in("from json import load\nfrom os import replace") == {"json.load", "os.replace"}
    assert found_in("a.rename(b)\na.replace(b)\n'x'.replace('a', 'b')\nreplace(x, y=1)\nos.replace(a, b)") == {
        ".rename(path)",
        ".replace(path)",
        "os.replace",
    }
