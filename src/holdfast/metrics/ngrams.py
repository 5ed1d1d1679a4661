"""Counting n-grams, for BLEU and CIDEr."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

ORDERS = 4
Gram = tuple[str, ...]
Grams = Mapping[Gram, int]


def ngrams(words: Sequence[str]) -> list[Grams]:
    """Counts of the n-grams of orders 1 to 4; the n-th entry holds order n + 1.

    An entry is a ``Counter`` only where some count is above one.
    """
    return [_count(words, n) for n in range(1, ORDERS + 1)]


def _count(words: Sequence[str], n: int) -> Grams:
    # Captions rarely repeat themselves, and a dictionary of ones is built several times faster than a Counter.
    ones = dict.fromkeys(zip(*(words[k:] for k in range(n)), strict=False), 1)
    if len(ones) == max(0, len(words) - n + 1):
        return ones
    return Counter(zip(*(words[k:] for k in range(n)), strict=False))
