"""What a run's page adds to the verdict: its warnings, and the pictures that its configuration may show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from holdfast.reports.run_report import RULE, _warnings, picture_roots
from holdfast.reports.tables import cells, source_mean, warnings_of

LEAK = {"sentence": "Leak: of the 8 test items of other, 2 show a picture that training shows."}


def entry(name: str, **more: Any) -> dict[str, Any]:
    sources = {"a": {"before": 90.0, "after": 80.0}, "zero": {"before": 0.0, "after": 10.0}}
    figures = {"E": 20.0, "F": -10.0, "O": 10.0, "H": 50.0, "learned": 3, "forgot": 4, "seconds": 1.0}
    target = {"t": {"before": 10.0, "after": 30.0}}
    return {"name": name, "target": target, "sources": sources, "trainable_percent": 1.0, **figures, **more}


def test_a_leak_of_all_recipes_is_told_once_and_still_learning_with_its_rule() -> None:
    entries = [entry("one", leaks=[LEAK], still_learning="Still learning: the loss fell."), entry("two", leaks=[LEAK])]
    (section,) = _warnings(entries)
    assert section.lines == [f"one, two: {LEAK['sentence']}", "one: Still learning: the loss fell."]
    assert RULE in section.text
    assert _warnings([entry("one")]) == [] and warnings_of(entry("of an older run")) == []


def test_the_column_of_sources_holds_what_f_counts() -> None:
    assert source_mean(entry("one", left_out={"F": ["zero"]}), "before") == 90.0
    assert source_mean(entry("one", left_out={"F": ["zero", "a"]}), "before") == 45.0  # none is left: all are shown
    assert source_mean(entry("of an older run"), "before") == 45.0
    assert cells(entry("one", F=None, left_out={"F": ["zero"]}))[3:6] == ["90→80", "+20.0", "-"]


def test_pictures_come_from_the_folders_of_the_data(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "model: pocket\ntarget: {data: mine/cats.jsonl}\nsources: [pocket:color, {data: other.jsonl, root: shots}]\n",
        encoding="utf-8",
    )
    assert picture_roots(tmp_path, tmp_path / "base") == [tmp_path / "base" / "mine", tmp_path / "base" / "shots"]
