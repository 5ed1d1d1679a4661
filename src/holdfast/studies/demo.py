"""The study behind ``holdfast demo``."""

from __future__ import annotations

from pathlib import Path

from holdfast.studies.study import Study, read_study
from holdfast.values import JSON

FILE = Path(__file__).with_name("demo.yaml")


def demo_study(*, steps: int | None = None, seed: int = 0, items: int | None = None) -> Study:
    """The shipped study, possibly with fewer steps or items."""
    changes: JSON = {"seed": seed}
    if steps is not None:
        changes["train"] = {"steps": steps}
    if items is not None:
        changes["evaluate"] = {"source_limit": items}
        changes["target"] = {"test_limit": items}
    return read_study(FILE, changes)
