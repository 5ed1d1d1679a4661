"""Text-only exercises of the pre-training mix: copying makes every word an output; option letters become a skill."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np

from holdfast.pocket.words import CELLS, CHARACTERS, LETTERS, NUMBERS, PATTERNS, TISSUES, all_words

Pair = tuple[str, str]
"""A question and its answer."""

_PRINTABLE = "".join(chr(code) for code in range(33, 127))

# Option sets of the letter exercises; colours and shapes, which the mcq target offers, are left out.
_OPTIONS = (*NUMBERS, *PATTERNS, *(cell for cell in CELLS if " " not in cell), *CHARACTERS)


@lru_cache(maxsize=1)
def _target_pairings() -> frozenset[tuple[str, str]]:
    """Neighbouring words of target answers; no exercise may put them side by side."""
    pairs = {("code", number) for number in NUMBERS} | {(number, "units") for number in NUMBERS}
    pairs |= {(tissue, "tissue") for tissue in TISSUES} | {("total", "="), ("=", "total"), ("<", "total")}
    return frozenset(pairs | {("units", ">"), ("step", ":")} | {("=", number) for number in NUMBERS})


def copy_exercise(rng: np.random.Generator) -> Pair:
    """Repeat one to four random words; one exercise in six has words made of random printable characters."""
    words = all_words()
    while True:
        chosen = [words[int(index)] for index in rng.integers(len(words), size=int(rng.integers(1, 5)))]
        if not _target_pairings().intersection(pairwise(chosen)):
            break
    if rng.random() < 1 / 6:
        letters = rng.integers(len(_PRINTABLE), size=int(rng.integers(2, 7)))
        chosen = ["".join(_PRINTABLE[int(index)] for index in letters)]
    text = " ".join(chosen)
    return f"copy {text}", text


def letter_exercise(rng: np.random.Generator) -> Pair:
    """Which word a letter stands for, or which letter a word has: two to four options in a template of their own."""
    number = int(rng.integers(2, 5))
    options = [_OPTIONS[int(index)] for index in rng.permutation(len(_OPTIONS))[:number]]
    letters = list(LETTERS[:number])
    if rng.random() < 0.3:
        letters = [LETTERS[int(index)] for index in rng.permutation(len(LETTERS))[:number]]
    chosen = int(rng.integers(number))
    listed = listed_choices(options, letters)
    if rng.random() < 0.5:
        return f"{listed} what stands for {letters[chosen]}?", options[chosen]
    return f"{listed} which letter stands for {options[chosen]}?", letters[chosen]


def listed_choices(options: Sequence[str], letters: Sequence[str]) -> str:
    """Such as ``choices A dots, B rays.``"""
    return "choices " + ", ".join(f"{letter} {option}" for letter, option in zip(letters, options, strict=True)) + "."


def choose(about: str, answer: str, words: Sequence[str], rng: np.random.Generator) -> Pair:
    """A question about the picture that is answered with the letter of one of two to four options."""
    number = int(rng.integers(2, 5))
    others = [word for word in words if word != answer]
    options = [answer, *(others[int(index)] for index in rng.permutation(len(others))[: number - 1])]
    options = [options[int(index)] for index in rng.permutation(number)]
    listed = listed_choices(options, LETTERS[:number])
    return f"{listed} which letter stands for the {about}?", LETTERS[options.index(answer)]
