"""Pixels of the nine-cell scenes: flat shapes on a flat ground, with jitter and noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from holdfast.pocket.words import CELLS, COLORS, SHAPES

SIDE = 32
"""Height and width of every image in pixels."""

Pixels = npt.NDArray[np.uint8]
"""An RGB image ``[32, 32, 3]``."""

Canvas = npt.NDArray[np.float64]
"""The same before rounding, ``[32, 32, 3]`` on the scale 0-255."""

RGB = np.array(list(COLORS.values()), dtype=np.float64)

# Chosen so that a cell's centre always falls into the same 8-pixel patch (0, 1 or 3): the tower learns one slot a cell.
CENTRES = (5, 14, 26)

PALE = frozenset(list(COLORS).index(name) for name in ("yellow", "cyan", "white"))
"""Colours that cannot be told from a light ground."""


@dataclass(frozen=True, slots=True)
class Thing:
    """One object: indices into the colours, shapes and cells."""

    color: int
    shape: int
    cell: int

    @property
    def look(self) -> tuple[int, int]:
        """What a question can name: (colour, shape)."""
        return self.color, self.shape

    @property
    def name(self) -> str:
        """Such as ``red circle``."""
        return f"{list(COLORS)[self.color]} {SHAPES[self.shape]}"

    @property
    def place(self) -> str:
        """Such as ``top left``."""
        return CELLS[self.cell]


@lru_cache(maxsize=256)
def shape_mask(shape: int, size: int) -> npt.NDArray[np.bool_]:
    """Which of ``size`` x ``size`` pixels belong to a shape."""
    axis = (np.arange(size) - (size - 1) / 2) / (size / 2)
    v, u = np.meshgrid(axis, axis, indexing="ij")
    radius = u**2 + v**2
    name = SHAPES[shape]
    if name == "circle":
        return np.asarray(radius <= 1)
    if name == "square":
        return np.asarray((abs(u) <= 0.85) & (abs(v) <= 0.85))
    if name == "triangle":
        return np.asarray((v >= -0.95) & (abs(u) <= (v + 1) / 2 + 0.05))
    if name == "cross":
        return np.asarray((abs(u) <= 0.34) | (abs(v) <= 0.34))
    if name == "diamond":
        return np.asarray(abs(u) + abs(v) <= 1.05)
    return np.asarray((radius >= 0.3) & (radius <= 1.05))


def ground(rng: np.random.Generator, *, light: bool = False) -> Canvas:
    """A flat ground; each channel uniform in 10-70, or 185-240 where it is light."""
    low, high = (185, 240) if light else (10, 70)
    return np.broadcast_to(rng.uniform(low, high, 3), (SIDE, SIDE, 3)).copy()


def stamp(canvas: Canvas, shape: int, size: int, row: int, column: int, color: npt.NDArray[np.float64]) -> None:
    """Draw a shape whose middle is at (row, column), moved inside the picture where it would stick out."""
    top = min(max(row - size // 2, 0), SIDE - size)
    left = min(max(column - size // 2, 0), SIDE - size)
    canvas[top : top + size, left : left + size][shape_mask(shape, size)] = color


def finish(canvas: Canvas, rng: np.random.Generator, noise: float = 6.0) -> Pixels:
    """Add Gaussian pixel noise and round."""
    noisy = canvas + rng.standard_normal(canvas.shape) * noise
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def draw_scene(things: Sequence[Thing], rng: np.random.Generator) -> Pixels:
    """A scene; a quarter of those without pale objects stand on a light ground."""
    light = rng.random() < 0.25 and not any(thing.color in PALE for thing in things)
    canvas = ground(rng, light=light)
    for thing in things:
        row, column = divmod(thing.cell, 3)
        jitter = rng.integers(-1, 2, 2)
        color = RGB[thing.color] + rng.standard_normal(3) * 8
        size = int(rng.integers(7, 9))
        stamp(canvas, thing.shape, size, CENTRES[row] + int(jitter[0]), CENTRES[column] + int(jitter[1]), color)
    return finish(canvas, rng)


def random_things(rng: np.random.Generator, count: int, *, repeats: bool = False) -> list[Thing]:
    """``count`` objects in distinct cells, in reading order; looks are distinct unless ``repeats``."""
    cells = np.sort(rng.permutation(len(CELLS))[:count])
    looks = rng.integers(0, len(COLORS) * len(SHAPES), count)
    if not repeats:
        looks = rng.permutation(len(COLORS) * len(SHAPES))[:count]
    return [
        Thing(int(look) // len(SHAPES), int(look) % len(SHAPES), int(cell))
        for look, cell in zip(looks, cells, strict=True)
    ]
