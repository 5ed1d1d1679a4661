"""CIDEr-D (Vedantam, Zitnick, Parikh 2015) as pycocoevalcap computes it, in plain Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import repeat
from math import exp, fsum, log, sqrt

from holdfast.metrics.ngrams import ORDERS, Gram, Grams, ngrams

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
    seen: list[Counter[Gram]] = [Counter() for _ in range(ORDERS)]
    for group in cooked:
        for n, counts in enumerate(seen):
            counts.update(set().union(*(grams[n] for grams in group)))
    everything = log(len(references))
    squares = [{gram: (everything - log(count)) ** 2 for gram, count in counts.items()} for counts in seen]
    pairs = zip(hypotheses, references, cooked, strict=True)
    return [_image(said, group, grams, squares, everything**2) for said, group, grams in pairs]


def _image(
    words: Sequence[str],
    references: Sequence[Sequence[str]],
    cooked: list[list[Grams]],
    squares: list[dict[Gram, float]],
    rare: float,
) -> float:
    """Mean over references and orders of the clipped cosine, times the length penalty, times 10.

    With raw counts as term frequency, the clipped product of two entries is w^2 min(h, r) r.
    """
    said = ngrams(words)
    own = [_norm(counts, square, rare) for counts, square in zip(said, squares, strict=True)]
    total = 0.0
    for reference, grams in zip(references, cooked, strict=True):
        cosine = 0.0
        for here, there, square, norm in zip(said, grams, squares, own, strict=True):
            shared = here.keys() & there.keys()
            if shared and norm:
                length = _norm(there, square, rare)
                dot = _dot(shared, here, there, square)
                cosine += dot / (norm * length) if length else 0.0
        # The official length is the number of bigrams.
        difference = max(0, len(words) - 1) - max(0, len(reference) - 1)
        total += cosine / ORDERS * exp(-(difference**2) / (2 * SIGMA**2))
    return 10.0 * total / len(references)


def _dot(shared: set[Gram], here: Grams, there: Grams, square: dict[Gram, float]) -> float:
    # fsum rounds once, so the order of a set, which differs from process to process, cannot show.
    if isinstance(here, Counter) or isinstance(there, Counter):
        return fsum(square[gram] * min(here[gram], there[gram]) * there[gram] for gram in shared)
    return fsum(map(square.__getitem__, shared))


def _norm(counts: Grams, square: dict[Gram, float], rare: float) -> float:
    if isinstance(counts, Counter):
        return sqrt(fsum(square.get(gram, rare) * count * count for gram, count in counts.items()))
    return sqrt(fsum(map(square.get, counts, repeat(rare))))
