"""The table in the documentation is what the code finds."""

from __future__ import annotations

from scripts.families import BEGIN, DOCUMENT, END, table


def test_the_table_of_tested_families_is_current() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert BEGIN + text.split(BEGIN)[1].split(END)[0] + END == table(), "run python -m scripts.families"
