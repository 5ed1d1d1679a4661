"""Claims as data: one sentence, its source, the comparisons that test it, the margin that counts, the published figure.

A file of the folder holds ``claims`` by name. A claim has ``tests``; all of them must hold. A test says on which
``measure`` the recipes on some ``levels`` are ``more``, ``less``, ``no more``, ``no less`` or ``steadier`` than those
``against`` them, ``within`` which levels of other axes, and for ``each`` level of which axis. An axis or a level may
be written with alternatives (``steps|epochs``), of which the first that the study has counts; a list is a group whose
mean is meant. ``first`` and ``last`` are the ends of an axis of numbers, ``next`` and ``previous`` its neighbours,
``others`` all other levels, ``base`` the untouched model; ``seen`` and ``unseen`` are groups of targets that the study
names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast, get_args

from holdfast.config.documents import read_mapping
from holdfast.errors import HoldfastError, nearest

FOLDER = Path(__file__).parent
Says = Literal["more", "less", "no more", "no less", "steadier", "follows"]
Levels = Mapping[str, tuple[str, ...]]
"""Axis (with alternatives) -> levels whose mean is meant (each with alternatives)."""


@dataclass(frozen=True)
class ClaimTest:
    """One comparison.

    Attributes:
        measure: ``E``, ``F``, ``O``, ``H``, ``target_after``, or another number among the scores.
        says: What the first side is.
        levels: The first side.
        against: The second side; ``others`` or ``base``.
        within: Levels of other axes that are looked at.
        each: An axis of which every level must agree; empty: none.
        margin: In points; for ``steadier`` the ratio of the spreads, for ``follows`` the rank correlation.
        of: For ``follows``: the number among the scores that the measure follows.
        sign: For ``follows``: +1 or -1.
    """

    measure: str
    says: Says
    levels: Levels
    against: Levels | Literal["others", "base"]
    within: Levels
    each: str
    margin: float
    of: str
    sign: int


@dataclass(frozen=True)
class StudyClaim:
    """One claim.

    Attributes:
        name: As a study calls it.
        sentence: What is claimed.
        paper: Who claims it.
        where: The place in the paper, or what kind of statement it is.
        tests: All must hold.
        published: The figures behind it.
        differs: How the test departs from the paper's; empty: not knowingly.
    """

    name: str
    sentence: str
    paper: str
    where: str
    tests: tuple[ClaimTest, ...]
    published: str
    differs: str


@cache
def all_claims() -> Mapping[str, StudyClaim]:
    """Every claim that comes with Holdfast, by name."""
    found: dict[str, StudyClaim] = {}
    for file in sorted(FOLDER.glob("*.yaml")):
        found |= read_claims(file)
    return found


def find_claim(name: str) -> StudyClaim:
    """A claim by its name.

    Raises:
        HoldfastError: There is none.
    """
    claims = all_claims()
    if name not in claims:
        raise HoldfastError(f"there is no claim '{name}'", remedy=nearest(name, claims))
    return claims[name]


def read_claims(file: Path) -> dict[str, StudyClaim]:
    """The claims of a YAML file.

    Raises:
        HoldfastError: Something in it is no claim.
    """
    record = read_mapping(file)
    found: dict[str, StudyClaim] = {}
    for name, row in dict(record.get("claims") or {}).items():
        try:
            margin = float(row["margin"])
            found[str(name)] = StudyClaim(
                name=str(name),
                sentence=str(row["sentence"]),
                paper=str(row.get("paper") or record["paper"]),
                where=str(row["where"]),
                tests=tuple(_test(test, margin) for test in row["tests"]),
                published=" ".join(str(row["published"]).split()),
                differs=str(row.get("differs", "")),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise HoldfastError(
                f"the claim '{name}' cannot be read ({type(error).__name__}: {error})",
                file=file,
                remedy="a claim has sentence, where, margin, tests and published; see docs/studies-reading.md",
            ) from error
    return found


def _test(row: Mapping[str, Any], margin: float) -> ClaimTest:
    known = {"measure", "says", "levels", "against", "within", "each", "margin", "of", "sign"}
    if unknown := set(row) - known:
        raise ValueError(f"unknown key {sorted(unknown)[0]}")
    says = str(row["says"])
    if says not in get_args(Says):
        raise ValueError(f"says is '{says}'")
    against = row.get("against", "base")
    if says != "follows" and not row["levels"]:
        raise ValueError("no levels")
    return ClaimTest(
        measure=str(row["measure"]),
        says=cast("Says", says),
        levels=_levels(row.get("levels") or {}),
        against=against if against in ("others", "base") else _levels(against),
        within=_levels(row.get("within") or {}),
        each=str(row.get("each", "")),
        margin=float(row.get("margin", margin)),
        of=str(row.get("of", "")),
        sign=int(row.get("sign", 1)),
    )


def _levels(row: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    return {str(axis): tuple(map(str, v)) if isinstance(v, list) else (str(v),) for axis, v in row.items()}
