"""From a path to a reading."""

from __future__ import annotations

from pathlib import Path

from holdfast.evaluation.readers.reading import Reading
from holdfast.evaluation.readers.runfolder import read_file, read_folder


def read(
    path: str | Path,
    *,
    task: str | None = None,
    references: str | Path | None = None,
    metric: str | None = None,
    scale: float = 1.0,
) -> Reading:
    """Recognise and read a prediction file or folder."""
    file = Path(path)
    return read_folder(file) if file.is_dir() else read_file(file)
