"""Where the names of a picture's marks stand: beside them, on no other name or mark, across no line if it can be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Segment = tuple[float, float, float, float]
"""A straight line from ``(x, y)`` to ``(x, y)``."""

NAME, OUTSIDE, MARK, STRANGER = 1000.0, 400.0, 300.0, 40.0
"""What a place costs that hits a name, leaves the picture, hits a mark, or is nearer to a mark that is not its own."""

AIR = 2.0
"""Between a name and a line."""

LINE, BAR, FARTHER = 20.0, 2.0, 1.0
"""What a place costs that is crossed by a line, by an interval, or stands a step away; earlier sides are preferred."""


def text_width(text: str, size: float = 12.0) -> float:
    """About how wide a text of a plain sans-serif is."""
    wide = sum(1.35 if letter in "mwMW@%—" else 0.5 if letter in "iljtfrI.,:;'|! ()[]" else 1.0 for letter in text)
    return 0.56 * size * wide


@dataclass(frozen=True)
class Box:
    """A rectangle that a text or a mark takes."""

    left: float
    top: float
    right: float
    bottom: float

    def hits(self, other: Box) -> bool:
        """Whether both share some place."""
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )

    def crossed(self, line: Segment) -> bool:
        """Whether some of a line lies inside."""
        x, y, to_x, to_y = line
        first, last = 0.0, 1.0
        for at, step, low, high in ((x, to_x - x, self.left, self.right), (y, to_y - y, self.top, self.bottom)):
            if step == 0:
                if not low < at < high:
                    return False
                continue
            ends = sorted(((low - at) / step, (high - at) / step))
            first, last = max(first, ends[0]), min(last, ends[1])
        return first < last

    def far(self, x: float, y: float) -> float:
        """How far a point is from the rectangle."""
        across = max(self.left - x, 0.0, x - self.right)
        return float((across**2 + max(self.top - y, 0.0, y - self.bottom) ** 2) ** 0.5)


def place_labels(
    marks: Sequence[tuple[str, float, float]],
    within: Box,
    *,
    size: float = 12.0,
    reach: float = 11.0,
    around: bool = True,
    lines: Sequence[Segment] = (),
    bars: Sequence[Segment] = (),
    every: bool = False,
) -> list[tuple[str, float, float, str]]:
    """A place for each name beside its mark, the best of some.

    Args:
        marks: ``(name, x, y)``, the most important first.
        within: Where texts may stand.
        size: Of the letters.
        reach: From the mark's centre to the text.
        around: Whether a name may stand on any side; else to the right only.
        lines: What should strike no name through.
        bars: The same, where it can be done without crossing a line or standing farther away.
        every: Whether a name without a free place is written all the same, where it does least harm.

    Returns:
        ``(name, x, y, text-anchor)`` of the names that found a place.
    """
    taken: list[Box] = []
    placed = []
    for name, x, y in marks:
        own = (x, y)
        others = [(a, b) for _, a, b in marks if (a, b) != own]
        best: tuple[float, float, float, str, Box] | None = None
        for number, (left, base, anchor, box) in enumerate(_sides(name, x, y, size, reach, around)):
            farther, side = divmod(number, _SIDES)
            cost = FARTHER * farther + 0.01 * side
            if best is not None and best[0] <= cost:
                break  # no later one is better
            cost += NAME * sum(box.hits(other) for other in taken)
            cost += MARK * sum(box.hits(Box(a - 6, b - 6, a + 6, b + 6)) for a, b in [own, *others])
            inside = within.left <= box.left and box.right <= within.right and within.top <= box.top
            cost += 0.0 if inside and box.bottom <= within.bottom else OUTSIDE
            around_it = Box(box.left - AIR, box.top - AIR, box.right + AIR, box.bottom + AIR)
            cost += LINE * sum(map(around_it.crossed, lines)) + BAR * sum(map(box.crossed, bars))
            cost += STRANGER if farther and any(box.far(a, b) < box.far(x, y) for a, b in others) else 0.0
            if best is None or cost < best[0]:
                best = cost, left, base, anchor, box
        if best is not None and (every or best[0] < MARK):
            placed.append((name, *best[1:4]))
            taken.append(best[4])
    return placed


_SIDES = 10


def _sides(
    name: str, x: float, y: float, size: float, reach: float, around: bool
) -> list[tuple[float, float, str, Box]]:
    """The places beside a mark, ten close to it and then ten and ten a step farther away."""
    width, half, found = text_width(name, size), size / 2, []
    for away in (0.0, 7.0, 14.0) if around else (0.0,):
        corner, straight = 7 + away, reach + away
        sides = [_beside(x + corner, y + dy, half, width, "start") for dy in (-6 - away, 14 + away)]
        sides += [_beside(x - corner, y + dy, half, width, "end") for dy in (-6 - away, 14 + away)]
        sides += [_beside(x + straight, y + 4 + dy, half, width, "start") for dy in (0, -10, 10)]
        sides.append(_beside(x - straight, y + 4, half, width, "end"))
        sides += [_beside(x, y + dy, half, width, "middle") for dy in (-straight - 3, straight + 9)]
        found += sides if around else sides[4:7]
    return found


def _beside(x: float, base: float, half: float, width: float, anchor: str) -> tuple[float, float, str, Box]:
    """A text's place and the box it takes."""
    left = x if anchor == "start" else x - width if anchor == "end" else x - width / 2
    middle = base - 4
    return x, base, anchor, Box(left, middle - half, left + width, middle + half)
