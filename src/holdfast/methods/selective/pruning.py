"""What methods that prune while they train share: the part of the run over which they do."""

from __future__ import annotations

from typing import Any, TypeVar

T = TypeVar("T")


def progress(step: int, steps: int | None, options: Any) -> float:
    """How far pruning has come after a step: 0 up to ``options.begin`` of the run, 1 from ``options.end`` on."""
    assert steps is not None, "the loop says how many steps there are"
    done: float = ((step + 1) / steps - options.begin) / (options.end - options.begin)
    return min(1.0, max(0.0, done))


def in_order(options: T) -> T:
    """Refuse an end that does not come after the beginning."""
    settings: Any = options
    if settings.end <= settings.begin:
        raise ValueError(f"end {settings.end:g} should be above begin {settings.begin:g}")
    return options
