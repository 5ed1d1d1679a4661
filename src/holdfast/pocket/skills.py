"""The source skills: how a picture and a question about it are drawn for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from holdfast.pocket.drawing import Pixels, Thing, draw_scene, random_things
from holdfast.pocket.making.exercises import Pair, choose
from holdfast.pocket.textures import draw_pattern
from holdfast.pocket.words import CHARACTERS, COLORS, NUMBERS, PATTERNS, SHAPES
from holdfast.pocket.writing import draw_character, draw_text, random_text

COLOR_NAMES = tuple(COLORS)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture with one question; ``rivals`` are the answers that other objects of the same picture would give."""

    image: Pixels
    question: str
    answer: str
    rivals: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()


def article(color: int) -> str:
    """The indefinite article before a colour."""
    return "an" if COLOR_NAMES[color] == "orange" else "a"


def ask_color(things: Sequence[Thing]) -> list[Pair]:
    """One question for each shape that occurs once."""
    shapes = [thing.shape for thing in things]
    return [
        (f"what color is the {SHAPES[thing.shape]}?", COLOR_NAMES[thing.color])
        for thing in things
        if shapes.count(thing.shape) == 1
    ]


def ask_shape(things: Sequence[Thing]) -> list[Pair]:
    """One question for each colour that occurs once."""
    colors = [thing.color for thing in things]
    return [
        (f"what shape is the {COLOR_NAMES[thing.color]} object?", SHAPES[thing.shape])
        for thing in things
        if colors.count(thing.color) == 1
    ]


def choose_shape(things: Sequence[Thing], rng: np.random.Generator) -> list[Pair]:
    """As :func:`ask_shape`, answered with the letter of an option."""
    colors = [thing.color for thing in things]
    return [
        choose(f"{COLOR_NAMES[thing.color]} object", SHAPES[thing.shape], SHAPES, rng)
        for thing in things
        if colors.count(thing.color) == 1
    ]


def ask_place(things: Sequence[Thing]) -> list[Pair]:
    """One question for each object whose look occurs once."""
    looks = [thing.look for thing in things]
    return [(f"where is the {thing.name}?", thing.place) for thing in things if looks.count(thing.look) == 1]


def ask_total(things: Sequence[Thing]) -> Pair:
    """How many objects there are."""
    return "how many objects are there?", NUMBERS[len(things)]


def ask_count(things: Sequence[Thing], color: int) -> Pair:
    """How many objects have a colour."""
    number = sum(thing.color == color for thing in things)
    return f"how many {COLOR_NAMES[color]} objects are there?", NUMBERS[number]


def ask_exist(look: tuple[int, int], things: Sequence[Thing]) -> Pair:
    """Whether a look occurs."""
    there = look in [thing.look for thing in things]
    return f"is there {article(look[0])} {COLOR_NAMES[look[0]]} {SHAPES[look[1]]}?", "yes" if there else "no"


def absent_look(things: Sequence[Thing], rng: np.random.Generator) -> tuple[int, int]:
    """A look that does not occur: 40% have a colour that does, 40% a shape that does, 20% are random."""
    looks = {thing.look for thing in things}
    while True:
        thing = things[int(rng.integers(len(things)))]
        color, shape = int(rng.integers(len(COLOR_NAMES))), int(rng.integers(len(SHAPES)))
        kind = rng.random()
        look = (thing.color, shape) if kind < 0.4 else (color, thing.shape) if kind < 0.8 else (color, shape)
        if look not in looks:
            return look


def tell_caption(things: Sequence[Thing]) -> Pair:
    """All objects in reading order."""
    return "describe the image.", " and ".join(f"{article(thing.color)} {thing.name}" for thing in things)


def counted_things(rng: np.random.Generator, color: int, number: int) -> list[Thing]:
    """One to six objects of which exactly ``number`` have ``color``."""
    total = max(1, number + int(rng.integers(0, 7 - max(number, 1))))
    things = random_things(rng, total, repeats=True)
    chosen = set(rng.permutation(total)[:number].tolist())
    others = [(color + 1 + int(shift)) % len(COLOR_NAMES) for shift in rng.integers(len(COLOR_NAMES) - 1, size=total)]
    return [
        Thing(color if index in chosen else others[index], thing.shape, thing.cell)
        for index, thing in enumerate(things)
    ]


def _pick(pairs: Sequence[Pair], rng: np.random.Generator) -> Pair:
    return pairs[int(rng.integers(len(pairs)))]


def _looked_up(
    rng: np.random.Generator, ask: Callable[[Sequence[Thing]], list[Pair]], name: Callable[[Thing], str]
) -> Drawn:
    # Two objects or more: in a picture of one, naming any object is right.
    things: list[Thing] = []
    pairs: list[Pair] = []
    while not pairs:
        things = random_things(rng, int(rng.integers(2, 5)))
        pairs = ask(things)
    question, answer = _pick(pairs, rng)
    return Drawn(draw_scene(things, rng), question, answer, tuple(name(thing) for thing in things))


def draw_color(rng: np.random.Generator) -> Drawn:
    """What colour a shape has, among two to four objects."""
    return _looked_up(rng, ask_color, lambda thing: COLOR_NAMES[thing.color])


def draw_shape(rng: np.random.Generator) -> Drawn:
    """What shape a colour has, among two to four objects."""
    return _looked_up(rng, ask_shape, lambda thing: SHAPES[thing.shape])


def draw_place(rng: np.random.Generator) -> Drawn:
    """In which of nine places an object is, among two to four objects."""
    return _looked_up(rng, ask_place, lambda thing: thing.place)


def draw_count(rng: np.random.Generator) -> Drawn:
    """Half all objects (1-6), half those of a colour (0-4); numbers are equally likely."""
    color, number = int(rng.integers(len(COLOR_NAMES))), int(rng.integers(5))
    if rng.random() < 0.5:
        things = random_things(rng, int(rng.integers(1, 7)), repeats=True)
        return Drawn(draw_scene(things, rng), *ask_total(things))
    things = counted_things(rng, color, number)
    return Drawn(draw_scene(things, rng), *ask_count(things, color))


def draw_exist(rng: np.random.Generator) -> Drawn:
    """Whether a look occurs among two to four objects; half do."""
    things = random_things(rng, int(rng.integers(2, 5)))
    look = things[int(rng.integers(len(things)))].look if rng.random() < 0.5 else absent_look(things, rng)
    return Drawn(draw_scene(things, rng), *ask_exist(look, things))


def draw_caption(rng: np.random.Generator) -> Drawn:
    """One to three objects to describe."""
    things = random_things(rng, int(rng.integers(1, 4)))
    return Drawn(draw_scene(things, rng), *tell_caption(things))


def draw_read(rng: np.random.Generator) -> Drawn:
    """One to three printed characters."""
    text = random_text(rng)
    return Drawn(draw_text(text, rng), "what does the text say?", " ".join(text))


def draw_sketch(rng: np.random.Generator) -> Drawn:
    """One character drawn by a pen."""
    character = CHARACTERS[int(rng.integers(len(CHARACTERS)))]
    return Drawn(draw_character(character, rng), "which character is drawn?", character)


def draw_texture(rng: np.random.Generator) -> Drawn:
    """One of six patterns."""
    pattern = int(rng.integers(len(PATTERNS)))
    return Drawn(draw_pattern(pattern, rng), "what pattern is this?", PATTERNS[pattern])


SKILLS: dict[str, Callable[[np.random.Generator], Drawn]] = {
    "color": draw_color,
    "shape": draw_shape,
    "count": draw_count,
    "exist": draw_exist,
    "place": draw_place,
    "caption": draw_caption,
    "read": draw_read,
    "sketch": draw_sketch,
    "pattern": draw_texture,
}
"""Source task to how one item of it is drawn."""
