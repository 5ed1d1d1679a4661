"""One thing, one name: no two classes of one name, and none of the words that the house has given up."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1] / "src" / "holdfast"

GIVEN_UP = {
    "seam": "tap",
    "taker": "extractor",
    "taking": "extract",
    "begun": "fingerprint",
    "gate": "supports",
    "memo": "expansion cache",
    "said": "decision",
    "asking": "generate",
    "proved": "verified",
    "refusal": "decision",
}
"""Words that stood for inner things, and the field's words that stand there now."""


def definitions() -> Iterator[tuple[str, str, bool]]:
    """(file, name, whether it is a class) of every class and function of the package."""
    for file in sorted(ROOT.rglob("*.py")):
        place = str(file.relative_to(ROOT))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                yield place, node.name, isinstance(node, ast.ClassDef)


def test_one_class_one_name() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for file, name, is_class in definitions():
        if is_class:
            places[name].append(file)
    assert len(places) > 100
    assert {name: files for name, files in places.items() if len(files) > 1} == {}


def test_given_up_words_name_no_file_class_or_function() -> None:
    found = [(file, name) for file, name, _ in definitions() if name.lower() in GIVEN_UP]
    found += [(str(file.relative_to(ROOT)), file.stem) for file in ROOT.rglob("*.py") if file.stem in GIVEN_UP]
    assert found == []


def test_the_formatter_is_never_asked_to_look_away() -> None:
    assert [str(f.relative_to(ROOT)) for f in ROOT.rglob("*.py") if "fmt: " in f.read_text(encoding="utf-8")] == []


UNTYPED = {
    "values.py": ("JSON = ", "Keywords = "),  # the two names that all others write
    "methods/contract.py": ("ParameterGroup = ",),  # as torch.optim's own annotations say it
}
"""File -> the lines that may write ``dict[str, Any]``, by their beginnings."""


def test_any_mapping_of_anything_says_why() -> None:
    """JSON begins at a file, a card or a recipe; within the house values are dataclasses or typed mappings."""
    bare = "dict[str, Any]"
    found = {
        (str(file.relative_to(ROOT)), line)
        for file in ROOT.rglob("*.py")
        for line in file.read_text(encoding="utf-8").splitlines()
        if bare in line
    }
    assert found == {(file, beginning + bare) for file, lines in UNTYPED.items() for beginning in lines}
