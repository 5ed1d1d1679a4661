"""What a layout is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from holdfast.errors import HoldfastError


@dataclass(frozen=True, slots=True)
class Request:
    """The task, the two places, and whether differing item sets are cut to what they share."""

    task: str
    predictions: Path
    references: Path | None = None
    intersect: bool = False

    @property
    def needed(self) -> Path:
        """The references.

        Raises:
            HoldfastError: Where none were given.
        """
        if self.references is None:
            raise HoldfastError(f"the task {self.task} needs its references", remedy="add --references FILE")
        if not self.references.exists():
            raise HoldfastError("the references do not exist", file=self.references)
        return self.references


def inside(folder: Path, *patterns: str) -> Path:
    """The one file of a folder that fits the first pattern that fits any; the folder itself if it is a file.

    Raises:
        HoldfastError: Where none fits, or several.
    """
    if folder.is_file():
        return folder
    for pattern in patterns:
        found = sorted(folder.glob(pattern))
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(path.name for path in found[:4])
            raise HoldfastError(f"several files could be the references: {names}", file=folder, remedy="name one")
    raise HoldfastError(f"the folder has no {' or '.join(patterns)}", file=folder, remedy="name the file")
