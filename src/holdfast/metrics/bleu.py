"""Corpus BLEU as the COCO caption tools compute it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp

from holdfast.metrics.ngrams import ORDERS, Gram, ngrams

# The official constants that keep a division by nothing finite; they are part of the printed digits.
_TINY, _SMALL = 1e-15, 1e-9


@dataclass(frozen=True, slots=True)
class Statistics:
    """What BLEU needs of one caption; corpora add these up."""

    length: int
    reference_length: int
    guess: tuple[int, ...]
    correct: tuple[int, ...]


def statistics(hypothesis: Sequence[str], references: Sequence[Sequence[str]]) -> Statistics:
    """Clipped n-gram matches and the closest reference length (the shorter one in a tie)."""
    most: list[dict[Gram, int]] = [{} for _ in range(ORDERS)]
    for reference in references:
        for best, counts in zip(most, ngrams(reference), strict=True):
            for gram, count in counts.items():
                if count > best.get(gram, 0):
                    best[gram] = count
    correct = tuple(
        sum(min(count, best.get(gram, 0)) for gram, count in counts.items())
        for counts, best in zip(ngrams(hypothesis), most, strict=True)
    )
    size = len(hypothesis)
    closest = min((abs(len(reference) - size), len(reference)) for reference in references)[1]
    return Statistics(size, closest, tuple(max(0, size - n) for n in range(ORDERS)), correct)


def bleu(parts: Iterable[Statistics]) -> tuple[float, ...]:
    """BLEU-1 to BLEU-4, each 0 to 1, of the captions together."""
    rows = list(parts)
    length, wanted = sum(r.length for r in rows), sum(r.reference_length for r in rows)
    ratio = (length + _TINY) / (wanted + _SMALL)
    penalty = exp(1 - 1 / ratio) if ratio < 1 else 1.0
    scores, product = [], 1.0
    for n in range(ORDERS):
        correct, guess = sum(r.correct[n] for r in rows), sum(r.guess[n] for r in rows)
        product *= (correct + _TINY) / (guess + _SMALL)
        scores.append(product ** (1 / (n + 1)) * penalty)
    return tuple(scores)
