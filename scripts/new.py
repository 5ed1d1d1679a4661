"""Begin a method or a benchmark from its template: ``python scripts/new.py method NAME``, ``... benchmark NAME``."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEMPLATES = Path(__file__).parent / "templates"

PLACES = {
    "method": {
        "method.py": "src/holdfast/methods/{paradigm}/{name}.py",
        "test_method.py": "tests/methods/test_{name}.py",
    },
    "benchmark": {
        "benchmark/card.yaml": "src/holdfast/tasks/{name}/{name}.yaml",
        "benchmark/download.py": "src/holdfast/tasks/{name}/download.py",
        "benchmark/results.py": "src/holdfast/tasks/{name}/results.py",
        "benchmark/test_benchmark.py": "tests/tasks/test_{name}.py",
    },
}
"""Template -> where it goes."""

EXAMPLES = {"method": "biggest", "benchmark": "birds"}
"""What the templates are called inside, and nothing else there is."""


def filled(kind: str, template: str, name: str) -> str:
    """The template with the example's name replaced, as a word and as a class."""
    text = (TEMPLATES / template).read_text(encoding="utf-8")
    example = EXAMPLES[kind]
    title = "".join(part.capitalize() for part in name.split("_"))
    return text.replace(example, name).replace(example.capitalize(), title)


def write(kind: str, name: str, *, paradigm: str = "selective", root: Path = ROOT) -> list[Path]:
    """Write the files of a new method or benchmark; nothing that stands there is touched.

    Raises:
        SystemExit: The name is no name, or a file exists.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise SystemExit(f"'{name}' is no name: small letters, digits and _")
    places = {t: root / place.format(name=name, paradigm=paradigm) for t, place in PLACES[kind].items()}
    there = [str(place) for place in places.values() if place.exists()]
    if there:
        raise SystemExit(f"{there[0]} exists already")
    for template, place in places.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(filled(kind, template, name), encoding="utf-8")
    if kind == "benchmark":
        home = places["benchmark/card.yaml"].parent / "__init__.py"
        home.write_text(f'"""{name}"""\n', encoding="utf-8")
    return list(places.values())


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=sorted(PLACES))
    parser.add_argument("name")
    parser.add_argument("--paradigm", default="selective", choices=["selective", "additive", "reparameterization"])
    given = parser.parse_args()
    *code, test = write(given.kind, given.name, paradigm=given.paradigm)
    for place in [*code, test]:
        print(place.relative_to(ROOT))
    print(f"now: {Path(sys.executable).name} -m pytest -q -n 0 {test.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
