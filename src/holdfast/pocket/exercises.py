"""Text-only exercises of the pre-training mix: copying makes every word an output; option letters become a skill."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from holdfast.pocket.skills import Pair
from holdfast.pocket.words import CELLS, CHARACTERS, LETTERS, NUMBERS, PATTERNS, TISSUES, all_words

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
        if not _target_pairings().intersection(zip(chosen[:-1], chosen[1:], strict=True)):
            break
    if rng.random() < 1 / 6:
        letters = rng.integers(len(_PRINTABLE), size=int(rng.integers(2, 7)))
        chosen = ["".join(_PRINTABLE[int(index)] for index in letters)]
    text = " ".join(chosen)
    return f"copy {text}", text


def letter_exercise(rng: np.random.Generator) -> Pair:
    """Which word a letter stands for, or which letter a word has: three to five options in a template of their own."""
    number = int(rng.integers(3, 6))
    options = [_OPTIONS[int(index)] for index in rng.permutation(len(_OPTIONS))[:number]]
    letters = [LETTERS[int(index)] for index in rng.permutation(len(LETTERS))[:number]]
    if rng.random() < 0.5:
        letters.sort()
    chosen = int(rng.integers(number))
    listed = ", ".join(f"{letter} {option}" for letter, option in zip(letters, options, strict=True))
    if rng.random() < 0.5:
        return f"choices {listed}. what stands for {letters[chosen]}?", options[chosen]
    return f"choices {listed}. which letter stands for {options[chosen]}?", letters[chosen]
