"""One table in four forms: what a spreadsheet, LaTeX and Markdown read is what stands in it."""

from __future__ import annotations

import csv
import io

import pytest

from holdfast.results.tables import FORMATS, Column, ResultTable, rendered
from holdfast.results.variance import Effect

EFFECT = Effect(12.345, 1.0, 1e9, "items and seeds", 3)
TABLE = ResultTable(
    "main",
    "E & F, 95 %",
    (Column("recipe"), Column("E", signed=True), Column("s", digits=0)),
    (("lora_r8 | a", EFFECT, 12.7), ('say "x", y', None, -0.3), ("none", Effect(-0.01, None, 1, "nothing", 1), 3.0)),
    ("A note with 5 % and ±.",),
)


def test_text_stands_in_columns() -> None:
    lines = rendered(TABLE, "text").splitlines()
    assert lines[1:5] == [
        "recipe                E   s",
        "lora_r8 | a  +12.3 ±2.0  13",
        'say "x", y            -   0',
        "none              0.0 ?   3",
    ]


def test_text_keeps_to_a_terminal_and_to_what_is_known() -> None:
    """A last column of words goes on below itself, or below the line where there is no room; dashes alone are none."""
    words = "one two three four five six seven eight nine ten eleven twelve"
    columns = (Column("name"), Column("sd"), Column("why"))
    beside = rendered(ResultTable("t", "", columns, (("a" * 30, None, words), ("b", None, "short"))), "text")
    assert beside.splitlines() == [
        f"{'name':<30}  why",
        f"{'a' * 30}  one two three four five six seven eight nine ten",
        f"{'':<30}  eleven twelve",
        f"{'b':<30}  short",
    ]
    below = rendered(ResultTable("t", "", (*columns[:2], *columns), (("a", 1.0, "b" * 60, None, words),)), "text")
    assert below.splitlines()[1:] == [f"a     1.0  {'b' * 60}", f"      {words}"]
    assert "sd" in rendered(ResultTable("t", "", columns, (("a", None, "w"),)), "csv")


def test_csv_holds_full_numbers_and_both_limits() -> None:
    head, first, second, third = csv.reader(io.StringIO(rendered(TABLE, "csv")))
    assert head == ["recipe", "E", "E low", "E high", "E basis", "s"]
    assert first[0] == "lora_r8 | a" and second[0] == 'say "x", y'
    assert float(first[1]) == 12.345
    assert [float(first[2]), float(first[3])] == pytest.approx([12.345 - 1.959964, 12.345 + 1.959964])
    assert first[4:] == ["items and seeds", "12.7"]
    assert second[1:5] == ["", "", "", ""] and third[2:4] == ["", ""]


def test_markdown_has_as_many_cells_in_every_row() -> None:
    lines = [line for line in rendered(TABLE, "markdown").splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in lines} == {4}
    assert "| lora_r8 \\| a | +12.3 [+10.4, +14.3] | 13 |" in lines
    assert lines[1] == "| --- | ---: | ---: |"


def test_latex_escapes_what_latex_reads() -> None:
    text = rendered(TABLE, "latex")
    assert r"\caption{E \& F, 95 \%}" in text and r"lora\_r8 | a & +12.3 [+10.4, +14.3] & 13 \\" in text
    assert r"5 \% and $\pm$." in text and r"\begin{tabular}{lrr}" in text
    assert text.count(r"\begin") == text.count(r"\end") == 2


@pytest.mark.parametrize("form", FORMATS)
def test_an_empty_table_is_one(form: str) -> None:
    assert rendered(ResultTable("x", "", (Column("a"), Column("b")), ()), form)  # type: ignore[arg-type]
