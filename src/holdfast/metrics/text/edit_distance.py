"""Levenshtein distance by Myers' bit-parallel recurrence, one Python integer a column."""

from __future__ import annotations


def edit_distance(a: str, b: str) -> int:
    """Fewest insertions, deletions and substitutions of code points that turn ``a`` into ``b``.

    Myers, J. ACM 46(3), 1999, in Hyyro's form. Python's integers hold a whole column, so there is no length limit.
    """
    if a == b:
        return 0
    if not a or not b:
        return len(a) + len(b)
    where: dict[str, int] = {}
    for at, char in enumerate(a):
        where[char] = where.get(char, 0) | 1 << at
    full, last = (1 << len(a)) - 1, 1 << (len(a) - 1)
    rises, falls, distance = full, 0, len(a)
    for char in b:
        same = where.get(char, 0)
        straight = same | falls
        across = (((same & rises) + rises) ^ rises) | same
        up = falls | ~(across | rises) & full
        down = rises & across
        distance += bool(up & last) - bool(down & last)
        up = (up << 1 | 1) & full
        down = down << 1 & full
        rises = down | ~(straight | up) & full
        falls = up & straight
    return distance
