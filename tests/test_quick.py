"""``make quick`` touches every room: each has tests in its list, its own or such as import something of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.quick import QUICK

ROOT = Path(__file__).resolve().parents[1]
HOUSE = ROOT / "src" / "holdfast"
FOUND = ("holdfast.methods.registry", "holdfast.methods.recipe")
"""How the tests of a method come by it."""


def rooms() -> set[str]:
    """Folders directly below holdfast/, and those of the wing of methods."""
    inside = [*HOUSE.iterdir(), *(HOUSE / "methods").iterdir()]
    return {place.relative_to(HOUSE).as_posix() for place in inside if any(place.glob("*.py"))}


def modules(file: Path) -> Iterator[str]:
    """What a test file imports, and what the helpers that it imports do; inside functions too."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            if node.module.startswith("tests.support."):
                yield from modules(ROOT / f"{node.module.replace('.', '/')}.py")


def test_every_room_has_quick_tests() -> None:
    assert set(QUICK) == rooms(), "give a new room a line in tests/quick.py"


@pytest.mark.parametrize("room", sorted(QUICK))
def test_the_quick_tests_of_a_room_are_about_it(room: str) -> None:
    for test in QUICK[room]:
        file, _, function = test.partition("::")
        text = (ROOT / file).read_text(encoding="utf-8")
        assert f"def {function or 'test_'}" in text, test
        places = ("holdfast." + room.replace("/", "."), *(FOUND if "/" in room else ()))
        own = file.startswith(f"tests/{room}/")  # tests of a room's command go through the command line
        assert own or any(name.startswith(places) for name in modules(ROOT / file)), f"{file} is not about {room}"
