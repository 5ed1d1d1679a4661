"""Which runs stand in the page whole: verdict, curves and items, the most telling first, until the page is full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.reports.explorer.payload import Payload, build_payload
from holdfast.reports.explorer.section import Section
from holdfast.reports.explorer.thumbnails import Thumbnails
from holdfast.reports.run_details import run_details
from holdfast.reports.study.figures import StudyFigures
from holdfast.reports.study.sentences import front_of
from holdfast.results.points import Point
from holdfast.verdict.compare import compare
from holdfast.verdict.records import Comparison

MOST_RUNS = 48
MOST_ITEMS = 120_000
MANY = 500
"""Finished runs from which a tenth of the items is read, so that the page of thousands is made in seconds."""
MOST_TEXT = 3_000_000
"""Characters of items in the page; pictures are counted apart."""
MOST_PICTURES, MOST_PICTURE_BYTES = 4_000, 6_000_000
COMPRESS_FROM = 4_000


@dataclass
class InlinedRuns:
    """The runs that stand in the page whole.

    Attributes:
        payload: Their items.
        comparisons: Key -> verdict.
        details: Key -> its curves, ledger, configuration and machine.
        left_out: How many finished runs stand in folders of their own only.
    """

    payload: Payload
    comparisons: dict[str, Comparison] = field(default_factory=dict)
    details: Mapping[str, Sequence[Section]] = field(default_factory=dict)
    left_out: int = 0


def inline_runs(figures: StudyFigures, images: Sequence[Path]) -> InlinedRuns:
    """Compare and describe as many runs as the page may hold; a run whose predictions are gone is passed over."""
    comparisons: dict[str, Comparison] = {}
    items = 0
    order = _order(figures)
    most = MOST_ITEMS if len(order) <= MANY else MOST_ITEMS // 10
    for point in order:
        if not (point.folder / "predictions").is_dir():
            continue
        if len(comparisons) >= MOST_RUNS or items >= most:
            break
        try:
            found = compare(point.folder / "base", point.folder, target=next(iter(point.scores["target"])))
        except (HoldfastError, OSError):
            continue
        size = sum(task.n for task in found.tasks.values())
        if comparisons and items + size > most:
            break
        comparisons[point.key] = found
        items += size
    payload = _payload(comparisons, images)
    while len(comparisons) > 1 and _size(payload) > MOST_TEXT:
        keep = max(1, int(len(comparisons) * 0.9 * MOST_TEXT / _size(payload)))
        comparisons = dict(list(comparisons.items())[:keep])
        payload = _payload(comparisons, images)
    folders: Mapping[str, Path] = {point.key: point.folder for point in order}
    details: dict[str, list[Section]] = {}
    for key in comparisons:
        with suppress(HoldfastError):  # a file of this run was edited; its own page says which
            details[key] = run_details(folders[key], name=f"-{key}")
    return InlinedRuns(payload, comparisons, details, len(order) - len(comparisons))


def _order(figures: StudyFigures) -> list[Point]:
    """First runs first: of the recipes on the front, then of the others; further seeds come after all of them."""
    front = {recipe.number: place for place, recipe in enumerate(front_of(figures.whole.placed))}
    ranked = sorted(figures.whole.recipes, key=lambda recipe: front.get(recipe.number, len(front) + recipe.number))
    rounds: list[list[Point]] = []
    for recipe in ranked:
        for at, point in enumerate(recipe.runs):
            if at == len(rounds):
                rounds.append([])
            rounds[at].append(point)
    return [point for points in rounds for point in points]


def _payload(comparisons: Mapping[str, Comparison], images: Sequence[Path]) -> Payload:
    roots = [*images, *(root for comparison in comparisons.values() for root in comparison.roots)]
    thumbnails = Thumbnails(dict.fromkeys(roots), most=MOST_PICTURES, most_bytes=MOST_PICTURE_BYTES)
    return build_payload(comparisons, thumbnails, compress_from=COMPRESS_FROM, key="run")


def _size(payload: Payload) -> int:
    pictures = payload.index["pictures"]
    return sum(len(text) for name, (text, _) in payload.blocks.items() if name != pictures)
