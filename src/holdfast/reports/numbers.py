"""How figures are written on a page: one decimal, a true minus sign, a dash where there is none."""

from __future__ import annotations


def number(value: float | None, *, sign: bool = False) -> str:
    """One decimal with a true minus sign; a dash when undefined."""
    if value is None:
        return "–"
    text = f"{value:{'+' if sign else ''}.1f}"
    if float(text) == 0:
        text = "0.0"
    return text.replace("-", "−")


def between(interval: tuple[float, float] | None, *, sign: bool = True) -> str:
    """An interval in words; nothing where there is none."""
    return "" if interval is None else " to ".join(number(limit, sign=sign) for limit in interval)


def in_bytes(count: object) -> str:
    """A size in the unit that suits it; a dash for what is no number."""
    if not isinstance(count, int | float):
        return "–"
    size = float(count)
    for unit in ("B", "KB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.1f} GB"
