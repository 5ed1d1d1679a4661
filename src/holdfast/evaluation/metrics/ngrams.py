"""Counting n-grams, for BLEU and CIDEr."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

ORDERS = 4
Grams = Counter[tuple[str, ...]]


def ngrams(words: Sequence[str]) -> list[Grams]:
    """Counts of the n-grams of orders 1 to 4; the n-th entry holds order n + 1."""
    return [Counter(zip(*(words[k:] for k in range(n)), strict=False)) for n in range(1, ORDERS + 1)]
