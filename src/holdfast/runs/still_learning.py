"""Did a run end while its loss still fell? One rule, read off ``train.jsonl``.

Where there are validation losses they decide: the last is the lowest, and more than 1 % below the one before. Where
there are none, the mean training loss of the last quarter of the logged steps is more than 2 % below that of the
quarter before, and by more than two standard errors. Four logged steps a quarter are the least that a mean is taken of.
Early stopping ends runs whose validation loss no longer falls, so such runs are never still learning.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.files import scan

RULE = (
    "the last validation loss is the lowest and more than 1 % below the one before; without validation, the mean "
    "training loss of the last quarter of the logged steps is more than 2 % and two standard errors below that of the "
    "quarter before"
)
LEAST = 4


def still_learning(log: Path) -> str | None:
    """The sentence that a run was still learning when it ended; ``None`` if it was not, or if that cannot be told."""
    training, validation = _losses(log)
    if len(validation) >= 2:
        before, last = validation[-2:]
        if last <= min(validation) and last < 0.99 * before:
            return _sentence("validation", before, last)
        return None
    size = len(training) // 4
    if size < LEAST:
        return None
    earlier, later = training[-2 * size : -size], training[-size:]
    before, last = statistics.fmean(earlier), statistics.fmean(later)
    error = math.sqrt((statistics.variance(earlier) + statistics.variance(later)) / size)
    return _sentence("training", before, last) if last < 0.98 * before and before - last > 2 * error else None


def _losses(log: Path) -> tuple[Sequence[float], Sequence[float]]:
    """Training and validation losses in the order of their steps; a line that was cut off is passed over."""
    training: list[float] = []
    validation: list[float] = []
    with suppress(HoldfastError):  # the log is damaged from here on
        for _, record in scan(log, nan_is_none=True):
            if isinstance(record, dict) and isinstance(loss := record.get("loss"), (int, float)):
                (validation if record.get("event") == "validation" else training).append(float(loss))
    return training, validation


def _sentence(kind: str, before: float, last: float) -> str:
    return (
        f"Still learning: the {kind} loss fell from {before:.3g} to {last:.3g} at the end, so longer training would "
        "change these figures."
    )
