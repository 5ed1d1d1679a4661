"""Print how long the files of methods, stabilisers and fusions are. ``python scripts/lengths.py``"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from holdfast.methods.registry import FUSIONS, METHODS, STABILISERS


@dataclass(frozen=True)
class Lengths:
    """Lines of files that hold something registered, docstrings and imports included.

    Attributes:
        lines: File -> its lines.
        names: File -> the methods, stabilisers and fusions that stand in it.
    """

    lines: dict[Path, int]
    names: dict[Path, list[str]]

    @property
    def single(self) -> float:
        """The median file that holds one of them."""
        return median(self.lines[file] for file, names in self.names.items() if len(names) == 1)

    @property
    def share(self) -> float:
        """The median over all of them of their files' lines, each divided by how many stand in it."""
        return median(self.lines[file] / len(names) for file, names in self.names.items() for _ in names)


def lengths() -> Lengths:
    """Count what Holdfast brings itself."""
    names: dict[Path, list[str]] = {}
    for registry in (METHODS, STABILISERS, FUSIONS):
        for name, thing in registry.all().items():  # type: ignore[attr-defined]
            if thing.__module__.startswith("holdfast."):
                names.setdefault(Path(str(sys.modules[thing.__module__].__file__)), []).append(name)
    return Lengths({file: len(file.read_text(encoding="utf-8").splitlines()) for file in names}, names)


if __name__ == "__main__":
    found = lengths()
    for file, count in sorted(found.lines.items(), key=lambda row: row[1]):
        print(f"{count:4d}  {file.parent.name}/{file.name}  {', '.join(found.names[file])}")
    print(f"{sum(map(len, found.names.values()))} of them in {len(found.names)} files")
    print(f"median of files that hold one: {found.single:g} lines; median share of one: {found.share:g} lines")
