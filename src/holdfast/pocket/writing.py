"""Characters in pictures: a 5x7 bitmap font for lines of text, and pen strokes for single drawn characters."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from holdfast.pocket.drawing import RGB, SIDE, Canvas, Pixels, finish, ground
from holdfast.pocket.words import CHARACTERS

Floats = npt.NDArray[np.float64]

_BITMAPS = {
    "0": "01110 10001 10011 10101 11001 10001 01110",
    "1": "00100 01100 00100 00100 00100 00100 01110",
    "2": "01110 10001 00001 00110 01000 10000 11111",
    "3": "11110 00001 00001 01110 00001 00001 11110",
    "4": "00010 00110 01010 10010 11111 00010 00010",
    "5": "11111 10000 11110 00001 00001 10001 01110",
    "6": "00110 01000 10000 11110 10001 10001 01110",
    "7": "11111 00001 00010 00100 01000 01000 01000",
    "8": "01110 10001 10001 01110 10001 10001 01110",
    "9": "01110 10001 10001 01111 00001 00010 01100",
    "a": "00000 00000 01110 00001 01111 10001 01111",
    "c": "00000 00000 01110 10000 10000 10001 01110",
    "e": "00000 00000 01110 10001 11111 10000 01110",
    "h": "10000 10000 10110 11001 10001 10001 10001",
    "k": "10000 10000 10010 10100 11000 10100 10010",
    "l": "01100 00100 00100 00100 00100 00100 01110",
    "m": "00000 00000 11010 10101 10101 10001 10001",
    "t": "01000 01000 11100 01000 01000 01001 00110",
    "u": "00000 00000 10001 10001 10001 10011 01101",
    "x": "00000 00000 10001 01010 00100 01010 10001",
}

# Control points "x,y" on a 10x10 field, y downwards; "~" opens a smooth stroke, "-" a straight one. Several ways of
# writing a character are separated by "|".
_STROKES = {
    "0": "~5,0 1,3 1,7 5,10 9,7 9,3 5,0 | ~6,0 2,3 2,7 4,10 8,7 8,3 5,0",
    "1": "-5,0 5,10 | -3,2 5,0 5,10 | -3,3 6,0 5,10 -2,10 8,10",
    "2": "~1,3 3,0 8,1 8,4 1,10 -1,10 9,10 | ~1,2 5,0 8,3 5,6 1,10 4,9 9,10",
    "3": "~1,1 6,0 8,2 4,5 -4,5 5,5 ~5,5 9,7 6,10 1,9 | -1,0 8,0 4,4 ~4,4 9,7 6,10 1,9 | ~2,1 7,0 7,4 4,5 9,7 7,10 1,9",
    "4": "-7,10 7,0 1,7 9,7 | -2,0 1,6 9,6 -7,2 7,10 | -3,0 2,5 8,5 -8,0 6,10",
    "5": "-8,0 2,0 2,4 ~2,4 7,4 9,7 6,10 1,9 | ~8,0 3,0 2,4 6,4 8,7 5,10 1,9",
    "6": "~7,0 3,3 1,7 4,10 8,8 7,5 2,6 | ~6,0 2,5 3,9 6,10 8,7 5,5 2,7",
    "7": "-1,0 9,0 4,10 | -1,1 8,0 4,10 -3,5 8,5 | ~1,1 5,0 8,1 5,5 4,10",
    "8": "~5,5 1,3 5,0 9,3 5,5 1,8 5,10 9,8 5,5 | ~8,1 4,0 2,3 8,7 5,10 2,8 7,4 8,1",
    "9": "~8,3 5,0 2,2 4,5 8,3 -8,3 8,10 | ~8,3 4,0 2,3 5,5 8,2 8,7 4,10 2,9 | ~8,2 4,0 2,4 7,4 8,2 -8,2 5,10",
    "a": "~8,4 4,3 2,6 4,10 8,8 -8,3 8,10 | ~2,4 6,3 8,6 8,10 ~8,6 3,6 3,10 8,9",
    "c": "~8,2 5,0 1,4 2,8 6,10 9,8 | ~7,3 3,3 2,7 5,10 8,8",
    "e": "-2,5 8,5 ~8,5 6,1 2,4 3,9 8,9 | ~2,6 8,4 5,1 1,5 4,10 9,8",
    "h": "-2,0 2,10 ~2,6 5,4 8,6 8,10 | -2,0 2,10 -8,0 8,10 -2,5 8,5",
    "k": "-2,0 2,10 -8,3 2,6 8,10 | -2,0 2,10 -8,0 2,5 8,10",
    "l": "~4,0 4,8 5,10 8,9 | -3,0 3,10 9,10",
    "m": "-1,10 1,3 5,8 9,3 9,10 | ~1,10 2,3 5,4 5,10 ~5,5 8,3 9,6 9,10",
    "t": "-5,0 5,10 -1,3 9,3 | ~5,0 5,8 8,9 -2,3 8,3",
    "u": "~2,1 2,8 5,10 8,8 8,1 | ~2,2 2,8 6,9 8,6 -8,2 8,10",
    "x": "-1,0 9,10 -9,0 1,10 | ~1,1 5,5 9,9 ~9,1 5,5 1,9",
}


@lru_cache(maxsize=32)
def _bitmap(character: str) -> npt.NDArray[np.bool_]:
    rows = [[digit == "1" for digit in row] for row in _BITMAPS[character].split()]
    return np.repeat(np.array(rows), 2, axis=0)


def draw_text(characters: str, rng: np.random.Generator) -> Pixels:
    """One to three bitmap characters, 5x14 pixels each, in one colour, placed at random in height."""
    canvas = ground(rng)
    color = RGB[rng.integers(len(RGB))] + rng.standard_normal(3) * 8
    left, top = int(rng.integers(1, 5)), int(rng.integers(2, 16))
    for index, character in enumerate(characters):
        x = left + 9 * index
        canvas[top : top + 14, x : x + 5][_bitmap(character)] = color
    return finish(canvas, rng)


@lru_cache(maxsize=32)
def _variants(character: str) -> tuple[tuple[tuple[bool, Floats], ...], ...]:
    """Per way of writing: strokes as (smooth, points ``[n, 2]`` in 0-1)."""
    variants = []
    for variant in _STROKES[character].split(" | "):
        strokes: list[tuple[bool, list[tuple[float, float]]]] = []
        for word in variant.split():
            if word[0] in "~-":
                strokes.append((word[0] == "~", []))
                word = word[1:]
            x, y = word.split(",")
            strokes[-1][1].append((float(x) / 10, float(y) / 10))
        variants.append(tuple((smooth, np.array(points)) for smooth, points in strokes))
    return tuple(variants)


def _curve(points: Floats, smooth: bool, per_segment: int = 10) -> Floats:
    """Dense points ``[m, 2]`` along a polyline, or along the Catmull-Rom spline through its points."""
    t = np.linspace(0, 1, per_segment)[None, :, None]
    start, end = points[:-1, None], points[1:, None]
    if not smooth or len(points) < 3:
        return np.asarray((start + (end - start) * t).reshape(-1, 2))
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    before, after = padded[:-3, None], padded[3:, None]
    value = (
        2 * start
        + (end - before) * t
        + (2 * before - 5 * start + 4 * end - after) * t**2
        + (3 * start - 3 * end + after - before) * t**3
    )
    return np.asarray(value.reshape(-1, 2) / 2)


def _ink(strokes: list[Floats], size: int, width: float, softness: float) -> Floats:
    """Coverage 0-1 ``[size, size]`` of pen lines ``width`` pixels thick whose edge fades over ``softness`` pixels."""
    points = np.concatenate(strokes)
    axis = np.arange(size) + 0.5
    gap_x = (axis[None, :] - points[:, :1]) ** 2
    gap_y = (axis[None, :] - points[:, 1:]) ** 2
    nearest = np.sqrt((gap_y[:, :, None] + gap_x[:, None, :]).min(axis=0))
    return np.asarray(np.clip((width / 2 - nearest) / softness + 0.5, 0, 1))


def _pen_character(character: str, rng: np.random.Generator, size: int) -> list[Floats]:
    """Strokes in pixels: a way of writing with shaken points under a random affine map."""
    variants = _variants(character)
    strokes = variants[rng.integers(len(variants))]
    turn, shear = rng.normal(0, 0.16), rng.normal(0, 0.18)
    scale = rng.uniform(0.6, 0.88, 2) * np.array([rng.uniform(0.6, 1.0), 1.0])
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ np.array([[1, shear], [0, 1]])
    shift = size / 2 + rng.normal(0, 0.03, 2) * size
    curves = []
    for smooth, points in strokes:
        shaken = points - 0.5 + rng.normal(0, 0.035, points.shape)
        curves.append(_curve((shaken * scale) @ matrix.T * size + shift, smooth))
    return curves


def _scanned(ink: Floats) -> Floats:
    """The look of a coarse scan: 24x24 coverage averaged to 8x8, sixteen grey levels, enlarged again."""
    coarse = np.rint(ink.reshape(8, 3, 8, 3).mean(axis=(1, 3)) * 16) / 16
    return enlarge(coarse, 24)


def enlarge(grey: Floats, size: int) -> Floats:
    """Bilinear enlargement of a grey picture with values 0-1 to ``size`` x ``size``."""
    picture = Image.fromarray((grey * 255).astype(np.uint8)).resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(picture, dtype=np.float64) / 255


def draw_character(character: str, rng: np.random.Generator) -> Pixels:
    """One character as if drawn by a pen; half look like coarse scans, a quarter are dark on light."""
    if rng.random() < 0.5:
        ink = _scanned(_ink(_pen_character(character, rng, 24), 24, rng.uniform(1.6, 4.0), rng.uniform(1, 2)))
    else:
        ink = _ink(_pen_character(character, rng, 28), 28, rng.uniform(1.4, 4.5), rng.uniform(0.8, 2.5))
    return finish(place_ink(ink, rng), rng, noise=rng.uniform(0, 8))


def place_ink(ink: Floats, rng: np.random.Generator) -> Canvas:
    """Put coverage ``[n, n]`` somewhere on a ground, bright on dark or (a quarter) dark on light."""
    paper, pen = rng.uniform(0, 60, 3), rng.uniform(130, 255)
    if rng.random() < 0.25:
        paper, pen = rng.uniform(180, 255, 3), rng.uniform(0, 80)
    pen_color = pen + rng.normal(0, 12, 3)
    if rng.random() < 0.4:
        paper[:], pen_color[:] = paper[0], pen
    full = np.zeros((SIDE, SIDE))
    row, column = rng.integers(0, SIDE - len(ink) + 1, 2)
    full[row : row + len(ink), column : column + len(ink)] = ink
    return np.asarray(paper + (pen_color - paper) * full[:, :, None])


def random_text(rng: np.random.Generator) -> str:
    """One to three characters; longer ones are likelier."""
    count = int(rng.choice(3, p=[0.2, 0.4, 0.4])) + 1
    return "".join(CHARACTERS[index] for index in rng.integers(len(CHARACTERS), size=count))
