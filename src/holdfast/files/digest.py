"""A file's SHA-256, for records that are checked when they are read."""

from __future__ import annotations

import hashlib
from pathlib import Path


def sha256(path: str | Path) -> str:
    """Sixty-four hexadecimal digits that stand for every byte of the file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
