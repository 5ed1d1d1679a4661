"""ROUGE-L as the COCO caption tools compute it."""

from __future__ import annotations

from collections.abc import Sequence

BETA = 1.2


def common_subsequence(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common subsequence, bit-parallel (Hyyro 2004)."""
    where: dict[str, int] = {}
    for at, word in enumerate(a):
        where[word] = where.get(word, 0) | 1 << at
    full = (1 << len(a)) - 1
    rows = full
    for word in b:
        hit = rows & where.get(word, 0)
        rows = (rows + hit | rows - hit) & full
    return len(a) - rows.bit_count()


def rouge_l(hypothesis: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """F-measure, 0 to 1, of the best precision and the best recall, which may come from different references."""
    if not hypothesis:
        return 0.0
    shared = [(common_subsequence(hypothesis, reference), len(reference)) for reference in references if reference]
    precision = max((common / len(hypothesis) for common, _ in shared), default=0.0)
    recall = max((common / size for common, size in shared), default=0.0)
    if not precision or not recall:
        return 0.0
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)
