"""How long each stage of the build runs: the numbers that decide what the pocket model becomes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage's budget; ``pictures`` is the size of its pool, ``batch`` counts pictures in a step."""

    pictures: int
    steps: int
    batch: int
    lr: float


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """The three stages and the number of test items behind each line of the final table."""

    eye: Stage
    connector: Stage
    language: tuple[Stage, ...]
    scored: int


FULL = BuildPlan(
    eye=Stage(pictures=60_000, steps=4500, batch=64, lr=2e-3),
    connector=Stage(pictures=20_000, steps=600, batch=64, lr=3e-3),
    language=(
        Stage(pictures=24_000, steps=1500, batch=16, lr=2e-3),
        Stage(pictures=40_000, steps=2500, batch=16, lr=2e-3),
    ),
    scored=500,
)
"""The shipped weights' plan."""

SECOND = BuildPlan(
    eye=Stage(pictures=0, steps=0, batch=0, lr=0.0),
    connector=FULL.connector,
    language=(FULL.language[0], Stage(pictures=20_000, steps=1250, batch=16, lr=2e-3)),
    scored=500,
)
"""The plan of ``pocket-2``, which takes over its eye and sees each picture of the last stage once."""

QUICK = BuildPlan(
    eye=Stage(pictures=96, steps=4, batch=8, lr=2e-3),
    connector=Stage(pictures=64, steps=4, batch=8, lr=3e-3),
    language=(Stage(pictures=64, steps=4, batch=4, lr=2e-3), Stage(pictures=64, steps=2, batch=4, lr=1e-3)),
    scored=8,
)
"""A few steps of everything, for tests."""
