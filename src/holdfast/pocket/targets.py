"""The target tasks: what the base was never asked, for tuning."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from holdfast.pocket.drawing import RGB, SIDE, draw_scene, finish, ground, random_things, stamp
from holdfast.pocket.skills import COLOR_NAMES, Drawn, ask_color
from holdfast.pocket.textures import draw_tissue
from holdfast.pocket.words import LETTERS, NUMBERS, SHAPES, TISSUES
from holdfast.pocket.writing import enlarge

DIGIT_PARTS = {"train": (0, 1000), "validation": (1000, 1297), "test": (1297, 1797)}
"""Where each part of the scanned digits lies in their fixed permutation."""


@lru_cache(maxsize=1)
def scanned_digits() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """scikit-learn's 1797 scans ``[1797, 8, 8]`` in 0-1, their digits, and the fixed permutation."""
    table = _digits_table()
    order = np.random.default_rng(1797).permutation(len(table))
    return table[:, :-1].reshape(-1, 8, 8) / 16.0, table[:, -1].astype(np.int64), order


def _digits_table() -> npt.NDArray[np.float64]:
    """``[1797, 65]``: 64 pixels and the digit, as scikit-learn ships them.

    Its file is read where it lies, for importing ``sklearn.datasets`` brings SciPy and pandas along.
    """
    found = find_spec("sklearn")
    file = Path(found.origin or "").parent / "datasets" / "data" / "digits.csv.gz" if found else Path()
    if file.is_file():
        return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits

    data = load_digits()
    return np.column_stack([data.data, data.target])


def draw_digit(position: int) -> Drawn:
    """The real scan at a position of the permutation: enlarged to 24-28 pixels, on black, at a place of its own."""
    images, digits, order = scanned_digits()
    index = int(order[position])
    rng = np.random.default_rng((1797, position))
    size = int(rng.integers(24, 29))
    canvas = np.zeros((SIDE, SIDE))
    row, column = rng.integers(0, SIDE - size + 1, 2)
    canvas[row : row + size, column : column + size] = enlarge(images[index], size)
    image = np.repeat(np.rint(canvas * 255).astype(np.uint8)[:, :, None], 3, axis=2)
    return Drawn(image, "transcribe the handwritten numeral.", f"code {NUMBERS[digits[index]]}")


def draw_counttag(rng: np.random.Generator) -> Drawn:
    """One to seven dark icons on a 4x4 grid and a light ground; the answer is a tag."""
    number = int(rng.integers(1, 8))
    canvas = ground(rng, light=True)
    shape = int(rng.integers(len(SHAPES)))
    for cell in rng.permutation(16)[:number]:
        row, column = divmod(int(cell), 4)
        color = rng.uniform(20, 70) + rng.normal(0, 4, 3)
        stamp(canvas, shape, int(rng.integers(6, 8)), 8 * row + 4, 8 * column + 4, color)
    return Drawn(finish(canvas, rng), "report the item total as a tag.", f"< total = {NUMBERS[number]} units >")


def draw_mcq(rng: np.random.Generator) -> Drawn:
    """The colour of a shape among two to four objects, as one of four lettered options."""
    pairs: list[tuple[str, str]] = []
    while not pairs:
        things = random_things(rng, int(rng.integers(2, 5)))
        pairs = ask_color(things)
    question, color = pairs[int(rng.integers(len(pairs)))]
    others = [name for name in COLOR_NAMES if name != color]
    options = [color, *(others[int(index)] for index in rng.permutation(len(others))[:3])]
    options = [options[int(index)] for index in rng.permutation(4)]
    listed = " ".join(f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False))
    letter = LETTERS[options.index(color)]
    return Drawn(draw_scene(things, rng), f"{question} {listed}", letter, choices=tuple(LETTERS[:4]))


def draw_slide(rng: np.random.Generator) -> Drawn:
    """Which of six tissues a slide shows."""
    tissue = int(rng.integers(len(TISSUES)))
    return Drawn(draw_tissue(tissue, rng), "which tissue is shown in this slide?", f"{TISSUES[tissue]} tissue")


def draw_flow(rng: np.random.Generator) -> Drawn:
    """Three icons in a row joined by red arrows; which one follows another."""
    shapes = [int(index) for index in rng.permutation(len(SHAPES))[:3]]
    forward = rng.random() < 0.5
    asked = int(rng.integers(2)) if forward else int(rng.integers(2)) + 1
    follows = shapes[asked + 1] if forward else shapes[asked - 1]
    canvas = ground(rng, light=True)
    middle = int(rng.integers(8, 24))
    for index, shape in enumerate(shapes):
        stamp(canvas, shape, 7, middle, 4 + 12 * index, rng.uniform(20, 70) + rng.normal(0, 4, 3))
    for left in (8, 20):
        _arrow(canvas, middle, left, forward)
    question = f"in the flowchart, which step follows the {SHAPES[shapes[asked]]}?"
    return Drawn(finish(canvas, rng, noise=4.0), question, f"step: {SHAPES[follows]}")


def _arrow(canvas: npt.NDArray[np.float64], row: int, left: int, forward: bool) -> None:
    red = RGB[0]
    canvas[row, left : left + 4] = red
    head = left + 2 if forward else left + 1
    canvas[row - 1 : row + 2, head] = red


TARGET_DRAWS: dict[str, Callable[[np.random.Generator], Drawn]] = {
    "counttag": draw_counttag,
    "mcq": draw_mcq,
    "tissue": draw_slide,
    "flow": draw_flow,
}
"""Target task to how one item of it is drawn; the digits are not drawn but scanned."""
