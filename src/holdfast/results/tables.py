"""Tables as text for a terminal, Markdown, CSV and LaTeX; numbers are formatted here and nowhere before."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from holdfast.results.variance import Effect, Interval

Format = Literal["text", "markdown", "csv", "latex"]
FORMATS: tuple[Format, ...] = ("text", "markdown", "csv", "latex")
Cell = str | int | float | Effect | None
"""What stands in a table: an effect is written with its interval, ``None`` as a dash."""

WIDTH = 80
"""Letters of a line in a terminal."""

LEAST = 24
"""Letters that a last column of words needs to stand beside the others; with fewer it stands below them."""

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "%": r"\%",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "$": r"\$",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: Its head.
        digits: Behind the point.
        signed: Whether numbers carry a plus.
        p_value: Whether they are p-values: below 0.00005 the bound is written.
    """

    name: str
    digits: int = 1
    signed: bool = False
    p_value: bool = False


@dataclass(frozen=True)
class ResultTable:
    """One table.

    Attributes:
        name: As a file is called.
        title: In words.
        columns: Its columns.
        rows: As many cells each as there are columns.
        notes: What a reader must know, one sentence each.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()

    def right(self, column: int) -> bool:
        """Whether a column holds numbers."""
        cells = [row[column] for row in self.rows if row[column] is not None]
        return bool(cells) and not any(isinstance(cell, str) for cell in cells)


def rendered(table: ResultTable, form: Format) -> str:
    """The table in one of the forms, with a line end."""
    return {"text": _text, "markdown": _markdown, "csv": _csv, "latex": _latex}[form](table)


def number(value: float, column: Column) -> str:
    """A number as its column wants it; what rounds to zero has no sign."""
    text = f"{value:.{column.digits}f}"
    if column.p_value and 0 <= value < 0.00005:
        return "<0.0001"
    if float(text) == 0:
        return text.removeprefix("-")
    return f"+{text}" if column.signed and value > 0 else text


def in_cell(cell: Cell, column: Column, form: Format = "text") -> str:
    """A cell as text: an effect as ``+1.2 ± 0.3`` in a terminal, with its two limits elsewhere."""
    if cell is None:
        return "-"
    if isinstance(cell, str | int):
        return str(cell)
    if isinstance(cell, float):
        return number(cell, column)
    interval = cell.interval()
    value = number(cell.value, column)
    if interval is None:
        return f"{value} ?" if form == "text" else f"{value} [not known]"
    if form == "text":
        return f"{value} ±{(interval[1] - interval[0]) / 2:.{column.digits}f}"
    low, high = (number(limit, column) for limit in interval)
    return f"{value} [{low}, {high}]"


def in_unit(value: float, interval: Interval | None, unit: str) -> str:
    """An effect of any unit with its interval: points carry a sign, ratios and correlations two digits."""
    column = Column("", 1, signed=True) if unit == "points" else Column("", 2)
    text = number(value, column)
    if interval is not None:
        text += f" ({number(interval[0], column)} to {number(interval[1], column)})"
    return text if unit == "points" else f"{text} {unit}"


def _cells(table: ResultTable, form: Format) -> list[list[str]]:
    rows = [[column.name for column in table.columns]]
    for row in table.rows:
        rows.append([in_cell(cell, column, form) for cell, column in zip(row, table.columns, strict=True)])
    return rows


def _text(table: ResultTable) -> str:
    """As wide as what is known: a column of dashes is left out, and a last column of words goes on below."""
    known = [n for n in range(len(table.columns)) if not table.rows or any(row[n] is not None for row in table.rows)]
    columns = tuple(table.columns[n] for n in known)
    table = replace(table, columns=columns, rows=tuple(tuple(row[n] for n in known) for row in table.rows))
    rows = _cells(table, "text")
    widths = [max(len(row[number]) for row in rows) for number in range(len(table.columns))]
    right = [table.right(number) for number in range(len(table.columns))]
    lines = [table.title] if table.title else []
    for row in rows:
        cells = [
            cell.rjust(width) if side else cell.ljust(width)
            for cell, width, side in zip(row, widths, right, strict=True)
        ]
        *others, last = cells
        before = "".join(f"{cell}  " for cell in others)
        if right[-1] or len(before) + len(last.rstrip()) <= WIDTH or not others:
            lines.append(f"{before}{last}".rstrip())
            continue
        beside = WIDTH - len(before) > LEAST
        margin = " " * (len(before) if beside else min(widths[0] + 2, WIDTH // 2))
        parts = textwrap.wrap(last, WIDTH - len(margin), break_long_words=False, break_on_hyphens=False)
        first = before + parts.pop(0) if beside else before.rstrip()
        lines += [first, *(margin + part for part in parts)]
    notes = [textwrap.fill(note, WIDTH, break_on_hyphens=False) for note in table.notes]
    return "\n".join([*lines, *notes]) + "\n"


def _markdown(table: ResultTable) -> str:
    head, *rows = ([cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in _cells(table, "markdown"))
    rule = ["---:" if table.right(number) else "---" for number in range(len(table.columns))]
    lines = [f"**{table.title}**", ""] if table.title else []
    lines += ["| " + " | ".join(row) + " |" for row in (head, rule, *rows)]
    for note in table.notes:
        lines += ["", note]
    return "\n".join(lines) + "\n"


def _csv(table: ResultTable) -> str:
    """Numbers in full; an effect fills four columns: its value, both limits, and what its error carries."""
    wide = [any(isinstance(row[n], Effect) for row in table.rows) for n in range(len(table.columns))]
    head: list[str] = []
    for column, spread in zip(table.columns, wide, strict=True):
        name = column.name
        head += [name, f"{name} low", f"{name} high", f"{name} basis"] if spread else [name]
    lines = [head]
    for row in table.rows:
        cells: list[str] = []
        for cell, spread in zip(row, wide, strict=True):
            if isinstance(cell, Effect):
                low, high = cell.interval() or ("", "")
                cells += [repr(cell.value), str(low), str(high), cell.basis]
            else:
                cells += ["" if cell is None else str(cell), *([""] * 3 if spread else [])]
        lines.append(cells)
    return "".join(",".join(map(_quoted, line)) + "\n" for line in lines)


def _quoted(cell: str) -> str:
    """As RFC 4180 wants it; a text that a spreadsheet would take for a formula is one all the same."""
    return '"' + cell.replace('"', '""') + '"' if any(mark in cell for mark in ',"\n\r') else cell


def _latex(table: ResultTable) -> str:
    """A table of the booktabs package."""
    head, *rows = ([_escaped(cell) for cell in row] for row in _cells(table, "latex"))
    sides = "".join("r" if table.right(number) else "l" for number in range(len(table.columns)))
    lines = [r"\begin{table}", r"\centering", f"\\caption{{{_escaped(table.title)}}}", f"\\label{{tab:{table.name}}}"]
    lines += [f"\\begin{{tabular}}{{{sides}}}", r"\toprule", _row(head), r"\midrule", *map(_row, rows)]
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [f"\\\\{{\\footnotesize {_escaped(note)}}}" for note in table.notes]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _escaped(text: str) -> str:
    plain = text.replace("±", "$\0pm$").replace("≥", "$\0ge$").replace("≤", "$\0le$").replace("→", "$\0to$")
    kept = {"$\0pm$": r"$\pm$", "$\0ge$": r"$\ge$", "$\0le$": r"$\le$", "$\0to$": r"$\to$"}
    parts = []
    for piece in _split(plain, tuple(kept)):
        parts.append(kept[piece] if piece in kept else "".join(_LATEX.get(letter, letter) for letter in piece))
    return "".join(parts)


def _split(text: str, marks: Sequence[str]) -> list[str]:
    """The text in pieces, each of the marks a piece of its own."""
    for mark in marks:
        text = text.replace(mark, f"\1{mark}\1")
    return [piece for piece in text.split("\1") if piece]
