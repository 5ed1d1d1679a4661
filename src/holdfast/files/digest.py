"""A file's SHA-256, for records that are checked when they are read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def sha256(path: str | Path) -> str:
    """Sixty-four hexadecimal digits that stand for every byte of the file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sealed(record: Mapping[str, Any]) -> str:
    """The SHA-256 of a JSON record without its own ``sha256``, whatever the order and the spaces in its file."""
    plain = {key: value for key, value in record.items() if key != "sha256"}
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
