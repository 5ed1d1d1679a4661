"""One language for every speed-up: it is on, it is off, or it is not possible, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from holdfast.errors import HoldfastError
from holdfast.events import Event
from holdfast.values import JSON

Switch = Literal["auto", "on", "off"]


@dataclass(frozen=True)
class Decision:
    """Whether a speed-up engages, and why or why not, as a clause for people without its full stop."""

    on: bool
    why: str

    def __bool__(self) -> bool:
        """So that ``one and other`` is the first no of the two, and the last yes where there is none."""
        return self.on

    def to_json(self) -> dict[str, bool | str]:
        """One line of ``engaged`` in ``environment.json``."""
        return {"on": self.on, "why": self.why}


OFF = Decision(False, "switched off")

Report = dict[str, Decision | str]
"""What was decided, by the name of the speed-up; a setting that is no switch (the precision) stands as its value."""


@dataclass(frozen=True)
class Engaged(Event):
    """What was decided before the first step, or has changed since."""

    report: Report


class NotPossible(HoldfastError):  # noqa: N818 - an answer, not a fault
    """Carries a no out of the depth of a model's own code, up to whoever decides.

    Attributes:
        reason: Why, as a clause for people without its full stop.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)

    @property
    def decision(self) -> Decision:
        """The no that it carries."""
        return Decision(False, self.reason)


def insist(setting: str, switch: Switch, decision: Decision) -> Decision:
    """The decision, if it may stand: a speed-up that was switched on has to engage.

    Args:
        setting: Full name of the switch.
        switch: What is wanted.
        decision: What came of it.

    Raises:
        HoldfastError: It was switched on and does not engage.
    """
    if switch == "on" and not decision:
        raise HoldfastError(f"{setting} is on, and {decision.why}", remedy=f"set {setting}: auto", key=setting)
    return decision


def to_json(report: Mapping[str, Decision | str]) -> JSON:
    """Plain values for ``environment.json``."""
    return {name: fact.to_json() if isinstance(fact, Decision) else fact for name, fact in report.items()}
