"""Pre-training pictures with many questions each; drawn from streams that no evaluation draw uses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from holdfast.pocket.drawing import Pixels, Thing, draw_scene, random_things
from holdfast.pocket.making.exercises import Pair, choose, copy_exercise, letter_exercise
from holdfast.pocket.skills import (
    absent_look,
    ask_color,
    ask_count,
    ask_exist,
    ask_place,
    ask_shape,
    ask_total,
    choose_shape,
    counted_things,
    tell_caption,
)
from holdfast.pocket.textures import draw_pattern
from holdfast.pocket.words import CHARACTERS, COLORS, PATTERNS, SHAPES
from holdfast.pocket.writing import draw_character, draw_text, random_text

POOL_STREAM = 20_011
"""First number of every pool's seed; evaluation draws begin with a task's own number and a split."""


@dataclass(slots=True)
class Picture:
    """A picture, what is in it (for the tower) and what can be asked about it (for the language model)."""

    image: Pixels
    things: tuple[Thing, ...] = ()
    text: str = ""
    pattern: int = -1
    sketch: int = -1
    pairs: tuple[Pair, ...] = ()


LANGUAGE_MIX = (0.58, 0.14, 0.12, 0.10, 0.06)
"""Shares of scenes, counting scenes, text, drawn characters and patterns when the language model learns."""

TOWER_MIX = (0.20, 0.20, 0.28, 0.22, 0.10)
"""The same when the tower learns: letters and patterns take it longer than colours."""


def draw_picture(
    rng: np.random.Generator,
    asking: np.random.Generator,
    most: int,
    per_picture: int,
    mix: tuple[float, ...] = LANGUAGE_MIX,
) -> Picture:
    """One pool picture.

    Args:
        rng: Source of the picture.
        asking: Source of the questions; a stream of its own, so that other questions leave the pictures as they are.
        most: Largest number of objects of a scene (curriculum).
        per_picture: Questions in a row; what a picture cannot fill is filled with exercises.
        mix: Shares of the five kinds of picture.
    """
    kind = int(rng.choice(len(mix), p=mix))
    if kind < 2:
        picture = _scene(rng, asking, most, counting=kind == 1, pairs=per_picture)
    elif kind == 2:
        text = random_text(rng)
        picture = Picture(draw_text(text, rng), text=text, pairs=(("what does the text say?", " ".join(text)),))
    elif kind == 3:
        index = int(rng.integers(len(CHARACTERS)))
        image = draw_character(CHARACTERS[index], rng)
        asked = ("which character is drawn?", CHARACTERS[index])
        lettered = choose("character", CHARACTERS[index], CHARACTERS, asking)
        picture = Picture(image, sketch=index, pairs=(asked, lettered))
    else:
        index = int(rng.integers(len(PATTERNS)))
        image = draw_pattern(index, rng)
        asked = ("what pattern is this?", PATTERNS[index])
        picture = Picture(image, pattern=index, pairs=(asked, choose("pattern", PATTERNS[index], PATTERNS, asking)))
    missing = max(per_picture - len(picture.pairs), 1)
    exercises = (copy_exercise if asking.random() < 0.4 else letter_exercise for _ in range(missing))
    picture.pairs += tuple(exercise(asking) for exercise in exercises)
    return picture


def _scene(rng: np.random.Generator, asking: np.random.Generator, most: int, *, counting: bool, pairs: int) -> Picture:
    if counting:
        color = int(rng.integers(len(COLORS)))
        things = counted_things(rng, color, min(int(rng.integers(5)), most))[: max(most, 1) + 2]
        chosen = [ask_total(things)]
        present = {thing.color for thing in things}
        absent = int(asking.integers(len(COLORS)))
        chosen += [ask_count(things, one) for one in sorted(present | {color, absent})]
        chosen = [chosen[int(index)] for index in asking.permutation(len(chosen))]
    else:
        things = random_things(rng, int(rng.integers(1, most + 1)))
        chosen = _questions(things, asking)
    return Picture(draw_scene(things, rng), things=tuple(things), pairs=tuple(chosen[: pairs - 1]))


def _questions(things: list[Thing], rng: np.random.Generator) -> list[Pair]:
    """Questions of all kinds in an order that favours those that are hard to learn."""
    options: list[tuple[float, Pair]] = [(1.0, tell_caption(things))] if len(things) <= 3 else []
    options += [(1.2, pair) for pair in ask_color(things)]
    options += [(0.7, pair) for pair in ask_shape(things)]
    options += [(1.2, pair) for pair in ask_place(things)]
    options += [(0.3, pair) for pair in choose_shape(things, rng)]
    options.append((0.4, ask_total(things)))
    options.append((0.4, ask_count(things, int(rng.integers(len(COLORS))))))
    present = things[int(rng.integers(len(things)))].look
    options += [(0.8, ask_exist(present, things)), (0.8, ask_exist(absent_look(things, rng), things))]
    # Exponential clocks: an order drawn without replacement with these weights.
    clocks = [rng.exponential() / weight for weight, _ in options]
    return [options[int(index)][1] for index in np.argsort(clocks)]


def draw_pool(
    count: int,
    *,
    seed: int,
    stream: int,
    most: int = 4,
    per_picture: int = 6,
    mix: tuple[float, ...] = LANGUAGE_MIX,
) -> list[Picture]:
    """``count`` pictures of one pool; each comes from a seed of its own."""
    pool = []
    for index in range(count):
        rng, asking = (np.random.default_rng((POOL_STREAM, seed, stream, index, use)) for use in (0, 1))
        pool.append(draw_picture(rng, asking, most, per_picture, mix))
    return pool


def stack_pixels(pictures: Iterable[Picture]) -> npt.NDArray[np.uint8]:
    """``[n, 32, 32, 3]``."""
    return np.stack([picture.image for picture in pictures])


@dataclass(frozen=True, slots=True)
class Labels:
    """What the tower's heads must say. Class 0 means nothing there.

    ``shape``, ``color`` and ``character`` are ``[n, 16]``, one class a patch; ``pattern`` and ``sketch`` are ``[n]``.
    """

    shape: npt.NDArray[np.int64]
    color: npt.NDArray[np.int64]
    character: npt.NDArray[np.int64]
    pattern: npt.NDArray[np.int64]
    sketch: npt.NDArray[np.int64]


CLASSES = {
    "shape": len(SHAPES) + 1,
    "color": len(COLORS) + 1,
    "character": len(CHARACTERS) + 1,
    "pattern": len(PATTERNS) + 1,
    "sketch": len(CHARACTERS) + 1,
}
"""Head to its number of classes, class 0 included."""

_PATCH = (0, 1, 3)


def make_labels(pictures: list[Picture]) -> Labels:
    """Cells in row or column 0, 1, 2 are told by the patches in row or column 0, 1, 3; letter i by patch (1, i)."""
    count = len(pictures)
    shape, color, character = (np.zeros((count, 16), dtype=np.int64) for _ in range(3))
    for index, picture in enumerate(pictures):
        for thing in picture.things:
            row, column = divmod(thing.cell, 3)
            patch = 4 * _PATCH[row] + _PATCH[column]
            shape[index, patch], color[index, patch] = thing.shape + 1, thing.color + 1
        for slot, letter in enumerate(picture.text):
            character[index, 4 + slot] = CHARACTERS.index(letter) + 1
    pattern = np.array([picture.pattern + 1 for picture in pictures], dtype=np.int64)
    sketch = np.array([picture.sketch + 1 for picture in pictures], dtype=np.int64)
    return Labels(shape, color, character, pattern, sketch)
