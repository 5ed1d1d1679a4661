"""Every word of the pocket world; each is one token with its leading space."""

from __future__ import annotations

COLORS: dict[str, tuple[int, int, int]] = {
    "red": (220, 40, 40),
    "green": (40, 180, 60),
    "blue": (50, 80, 230),
    "yellow": (235, 215, 50),
    "purple": (150, 50, 190),
    "cyan": (60, 210, 220),
    "orange": (245, 140, 30),
    "white": (245, 245, 245),
}
"""Name to RGB, 0-255."""

SHAPES = ("circle", "square", "triangle", "cross", "diamond", "ring")

CELLS = ("top left", "top", "top right", "left", "center", "right", "bottom left", "bottom", "bottom right")
"""The nine places in reading order."""

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

CHARACTERS = "0123456789acehklmtux"
"""What can be written in a picture."""

PATTERNS = ("stripes", "dots", "checks", "grid", "rays", "zigzag")

LETTERS = "ABCDEF"

TISSUES = ("stroma", "tumor", "mucosa", "lymph", "adipose", "necrosis")
"""Words of a target task: the base writes them in copying exercises only."""

_SOURCE_WORDS = """
what color is the shape object how many objects are there a an and where describe image does text say which character
drawn pattern this yes no choices letter copy stands for
"""

_TARGET_WORDS = """
transcribe handwritten numeral code report item total as tag five units < > = in flowchart , step follows : slide
shown tissue
"""


def source_words() -> tuple[str, ...]:
    """Words that occur in questions or answers of the source tasks, in a fixed order without repeats."""
    words = [*COLORS, *SHAPES, *" ".join(CELLS).split(), *NUMBERS, *CHARACTERS, *PATTERNS, *_SOURCE_WORDS.split()]
    return tuple(dict.fromkeys(words))


def target_words() -> tuple[str, ...]:
    """Words that only target tasks add."""
    known = set(source_words())
    words = [*_TARGET_WORDS.split(), *TISSUES, *LETTERS]
    return tuple(dict.fromkeys(word for word in words if word not in known))


def all_words() -> tuple[str, ...]:
    """The whole list, sources first: its order is the order of token ids."""
    return source_words() + target_words()
