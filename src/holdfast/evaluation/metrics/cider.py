"""CIDEr-D (Vedantam, Zitnick, Parikh 2015) as pycocoevalcap computes it, in plain Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import exp, log, sqrt

from holdfast.evaluation.metrics.ngrams import ORDERS, Grams, ngrams

SIGMA = 6.0


def cider(hypotheses: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]) -> list[float]:
    """CIDEr-D of every image, 0 to 10; their mean is the corpus score.

    Document frequencies come from the references *given*, so scores on a subset do not compare with the whole set, and
    a single image scores 0 whatever is said.

    Args:
        hypotheses: Tokens of one caption an image.
        references: For each image, the tokens of its references.
    """
    cooked = [[ngrams(reference) for reference in group] for group in references]
    seen: list[Grams] = [Counter() for _ in range(ORDERS)]
    for group in cooked:
        for n, counts in enumerate(seen):
            counts.update(set().union(*(grams[n] for grams in group)))
    everything = log(len(references))
    weights = [{gram: everything - log(count) for gram, count in counts.items()} for counts in seen]
    return [_image(ngrams(said), group, weights, everything) for said, group in zip(hypotheses, cooked, strict=True)]


def _image(
    said: list[Grams], group: list[list[Grams]], weights: list[dict[tuple[str, ...], float]], rare: float
) -> float:
    """Mean over references and orders of the clipped cosine, times the length penalty, times 10."""
    # With raw counts as term frequency the clipped product of two entries is w^2 min(h, r) r.
    squares = [{g: w.get(g, rare) ** 2 for g in counts} for counts, w in zip(said, weights, strict=True)]
    own = [_norm(counts, w, rare) for counts, w in zip(said, weights, strict=True)]
    words = said[1].total()
    total = 0.0
    for reference in group:
        cosine = 0.0
        for n in range(ORDERS):
            there = reference[n]
            norm = own[n] * _norm(there, weights[n], rare)
            if norm:
                here, square = said[n], squares[n]
                shared = here.keys() & there.keys()
                cosine += sum(sorted(square[g] * min(here[g], there[g]) * there[g] for g in shared)) / norm
        difference = words - reference[1].total()
        total += cosine / ORDERS * exp(-(difference**2) / (2 * SIGMA**2))
    return 10.0 * total / len(group)


def _norm(counts: Grams, weights: dict[tuple[str, ...], float], rare: float) -> float:
    return sqrt(sum((weights.get(gram, rare) * count) ** 2 for gram, count in counts.items()))
