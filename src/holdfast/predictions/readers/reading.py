"""What a reader gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from holdfast.predictions.record import Prediction


@dataclass
class Reading:
    """Predictions by task, with what the source was taken for.

    Attributes:
        name: The source, for messages.
        recognised: The format in words.
        tasks: Predictions by task.
        named: Whether the source itself names its task; otherwise the name is the file's.
        targets: The tasks the source says were tuned for.
        roots: Folders in which image keys may be looked up.
        notes: What the reader had to decide.
    """

    name: str
    recognised: str
    tasks: dict[str, list[Prediction]]
    named: bool = True
    targets: tuple[str, ...] = ()
    roots: tuple[Path, ...] = ()
    notes: list[str] = field(default_factory=list)
