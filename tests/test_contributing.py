"""What CONTRIBUTING and the docs promise to authors: a new method and a new benchmark work as their templates stand."""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from scripts import new
from scripts.pages import templates

from holdfast.methods.registry import METHODS
from holdfast.predictions.reading import Ask, Look
from holdfast.registry import ours
from holdfast.tasks import cards

ROOT = Path(__file__).resolve().parents[1]


def load(file: Path, name: str) -> ModuleType:
    """The module in a file that stands in no package."""
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_new_method_passes_its_test(tiny_llava: Path, tmp_path: Path) -> None:
    code, test = new.write("method", "my_largest", root=tmp_path)
    assert code == tmp_path / "src/holdfast/methods/selective/my_largest.py"
    METHODS.enter(load(code, "my_largest").MyLargest)
    try:
        load(test, "test_my_largest").test_my_largest_chooses_the_largest_weights(tiny_llava)
    finally:
        METHODS.leave("my_largest")


@pytest.fixture
def finches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A new benchmark from the template, found as if its folder stood among ours; its test module."""
    card, download, _, test = new.write("benchmark", "finches", root=tmp_path)
    home = cards.Home(card, "finches", ours())
    sys.modules["finches"] = load(card.parent / "__init__.py", "finches")
    sys.modules["finches.download"] = load(download, "finches.download")
    found = cards.home_of, cards.card_names, cards.find_card
    for cached in found:
        cached.cache_clear()
    known = cards._ours()
    monkeypatch.setattr(cards, "_ours", lambda: {**known, "finches": home})
    yield test
    monkeypatch.undo()
    for cached in found:
        cached.cache_clear()
    del sys.modules["finches"], sys.modules["finches.download"]


def test_a_new_benchmark_passes_its_tests(finches: Path, tmp_path: Path) -> None:
    module = load(finches, "test_finches")
    tests = [test for name, test in inspect.getmembers(module, inspect.isfunction) if name.startswith("test_")]
    assert len(tests) == 2
    for test in tests:
        test(tmp_path / test.__name__)


def test_a_new_benchmark_reads_its_results(finches: Path, tmp_path: Path) -> None:
    benchmark = load(tmp_path / "src/holdfast/tasks/finches/results.py", "finches_results").BENCHMARK
    (layout,) = benchmark.layouts
    results, gold = tmp_path / "results.json", tmp_path / "gold.json"
    results.write_text('[{"bird_id": 1, "guess": "wren"}, {"bird_id": 2, "guess": "rook"}]', encoding="utf-8")
    gold.write_text('[{"id": 1, "answer": "wren"}, {"id": 2, "answer": "crow"}]', encoding="utf-8")
    look, ask = Look(results), Ask(references=gold)
    assert layout.fits(look) and set(benchmark.metrics) == {"finches"}
    (said,) = layout.read(look, ask).tasks.values()
    assert [one.prediction for one in said] == ["wren", "rook"]
    assert {key: one.references for key, one in benchmark.gold(gold, said, ask).items.items()} == {
        "1": ("wren",),
        "2": ("crow",),
    }


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    new.write("method", "mine", root=tmp_path)
    with pytest.raises(SystemExit, match="exists already"):
        new.write("method", "mine", root=tmp_path)
    with pytest.raises(SystemExit, match="is no name"):
        new.write("method", "../mine", root=tmp_path)


def test_the_docs_show_the_templates() -> None:
    for page, kind in (("new-method.md", "method"), ("new-benchmark.md", "benchmark")):
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        assert f"scripts/new.py {kind}" in text
        shown = templates.shown(text)
        assert "TEMPLATE" in text and not re.search(r"^TEMPLATE", shown, flags=re.MULTILINE)


def test_contributing_is_one_page() -> None:
    assert len((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()) <= 70
