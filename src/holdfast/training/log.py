"""The lines of ``train.jsonl``: cut back to a checkpoint when a run goes on, whatever a killed process left there."""

from __future__ import annotations

import math
from pathlib import Path

from holdfast import files
from holdfast.errors import HoldfastError


def cut_back(log: Path, step: int) -> None:
    """Keep what the log says up to ``step``, so that no step stands in it twice; lines that were cut go too."""
    if log.exists():
        rows = files.read_bytes(log).splitlines(keepends=True)
        files.write_bytes(log, b"".join(row for row in rows if _step_of(row) <= step))


def _step_of(row: bytes) -> float:
    """The step that a line tells of; infinite where it cannot be read, which leaves it out like a later one."""
    try:
        record = files.parse_json(row.decode("utf-8"), nan_is_none=True)
    except (HoldfastError, UnicodeDecodeError):
        return math.inf
    step = record.get("step") if isinstance(record, dict) and row.endswith(b"\n") else None
    return step if isinstance(step, (int, float)) else math.inf
