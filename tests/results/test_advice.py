"""The front under bounds, the recipe taken from it, and what is said where none keeps to them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from holdfast.cli.advise import bytes_of
from holdfast.cli.main import run
from holdfast.config.loading import dump_config, load_config
from holdfast.errors import HoldfastError
from holdfast.files import write_text
from holdfast.results.advice import Wish, advise, front_table, read_wish
from holdfast.results.overview import Aggregate, aggregate
from tests.support.simulated import draw, write_folder

EFFECTS = {
    "full": {"digits": 0.9, "color": 0.5, "count": 0.5},
    "replay": {"digits": 0.88, "color": 0.82, "count": 0.82},
    "lora": {"digits": 0.6, "color": 0.85, "count": 0.85},
    "adapter": {"digits": 0.5, "color": 0.6, "count": 0.6},
    "ia3": {"digits": 0.2, "color": 0.9, "count": 0.9},
}


@pytest.fixture(scope="module")
def whole() -> Aggregate:
    results, changes, _ = draw(3, effects=EFFECTS, items=300, seed_spread=0.05)
    return aggregate(results, changes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    results, changes, _ = draw(3, effects=EFFECTS, items=60, seed_spread=0.05)
    folder = write_folder(tmp_path / "study", results, changes)
    for point in results.points:
        name = point.levels["method"]
        method = {"replay": {"method": "full"}, "lora": {"method": "lora", "r": 4}}.get(name, {"method": name})
        config = {
            "tune": {"llm": method},
            "target": "pocket:digits",
            "sources": ["pocket:color"],
            "seed": int(point.levels["seed"]),
        }
        write_text(folder / "points" / point.key / "config.yaml", dump_config(load_config(config)))
    return folder


def names(candidates: object) -> list[str]:
    return [candidate.standing.name for candidate in candidates]  # type: ignore[attr-defined]


def test_the_front_is_what_no_other_beats_on_both(whole: Aggregate) -> None:
    advice = advise(whole, [])
    by_hand = [
        s.name
        for s in whole.standings
        if not any(o is not s and o.E.value >= s.E.value and o.F.value >= s.F.value for o in whole.standings)  # type: ignore[union-attr]
    ]
    assert set(names(advice.front)) == set(by_hand) == {"full", "replay", "lora", "ia3"}
    assert advice.chosen is not None and advice.chosen.standing.name == "replay"  # gains no clearly less than full
    assert any("full gains" in line and "not clearly more" in line for line in advice.sentences)
    assert [row[0] for row in front_table(advice).rows][1] == "replay*"


@pytest.mark.parametrize(("bound", "taken"), [("F >= -12", "replay"), ("F >= -6", "lora"), ("F >= -2", "ia3")])
def test_the_bound_decides(whole: Aggregate, bound: str, taken: str) -> None:
    advice = advise(whole, [read_wish(bound)])
    assert advice.chosen is not None and advice.chosen.standing.name == taken
    assert advice.sentences[0].endswith(f"of 5 recipes keep to {bound}.")
    assert any(line.startswith(f"Without {bound} it would be full") for line in advice.sentences)


def test_a_mean_that_meets_is_told_from_an_interval_that_shows(whole: Aggregate) -> None:
    at = next(s for s in whole.standings if s.name == "lora").F
    assert at is not None
    for bound, shown in ((at.value - 0.2, "by the mean"), (at.value - 30, "shown")):
        advice = advise(whole, [Wish("F", True, bound)], lambda s: None if s.name == "lora" else "no")
        assert names(advice.front) == ["lora"] and front_table(advice).rows[0][-1] == shown
        assert any("interval does not show it" in line for line in advice.sentences) == (shown == "by the mean")


def test_where_none_keeps_to_it_the_nearest_is_named(whole: Aggregate) -> None:
    advice = advise(whole, [read_wish("F >= 5"), read_wish("E >= 10")])
    assert advice.chosen is None and advice.front == ()
    assert advice.sentences[0] == "None of 5 recipes keeps to F >= 5 and E >= 10."
    assert advice.sentences[1].startswith("Nearest comes ia3, which misses F >= 5 by ")
    refused = advise(whole, [read_wish("F >= -90")], lambda s: "it is too large")
    assert refused.chosen is None and "none can be taken (full: it is too large" in refused.sentences[0]


def test_bounds_are_read_strictly() -> None:
    assert read_wish("F>=-2") == Wish("F", True, -2.0)
    assert read_wish(" seconds <= 60.5 ") == Wish("seconds", False, 60.5)
    assert read_wish("train % <= 5") == Wish("trainable_percent", False, 5.0)
    assert read_wish("my-source >= -1", ["my-source"]).measure == "my-source"
    for wrong in ("F", "F = 2", "F >= two", "G >= 1", ">= 2", "F >= 1 2"):
        with pytest.raises(HoldfastError, match="--keep"):
            read_wish(wrong)
    assert [bytes_of(text) for text in ("24GB", "1.5 GiB", "512mb")] == [24e9, 1.5 * 2**30, 512e6]
    with pytest.raises(HoldfastError, match="--memory"):
        bytes_of("24")


def test_the_recipe_is_written_whole(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine.jsonl"
    mine.write_text("{}\n")
    out = tmp_path / "recipe.yaml"
    words = ["advise", "--study", str(folder), "--keep", "F >= -6", "--target", str(mine), "--source", "pocket:count"]
    assert run([*words, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "Take lora" in said and "E" in said and f"Wrote {out}" in said
    config = load_config(out)
    assert config.tune.llm.method == "lora" and config.tune.llm.model_extra == {"r": 4}
    assert config.target is not None and config.target.data == str(mine.resolve())
    assert [task.data for task in config.sources] == ["pocket:count"]
    assert out.read_text().startswith(f"# Chosen by holdfast advise from {folder} with F >= -6.\n")


def test_what_stays_beside_the_weights_or_needs_too_much_is_not_taken(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "recipe.yaml")]
    assert run(["advise", "--study", str(folder), "--mergeable", "--json", *out]) == 0
    told = json.loads(capsys.readouterr().out)
    refused = {row["recipe"]["method"]: row["refused"] for row in told["candidates"]}
    assert refused["adapter"] == "adapter cannot be merged" and refused["lora"] is None
    assert run(["advise", "--study", str(folder), "--memory", "1MB", *out, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    refused = {row["recipe"]["method"]: row["refused"] for row in told["candidates"]}
    assert refused["lora"].startswith("a step needs about")
    assert refused["adapter"].startswith("it cannot be planned: tune.llm: adapter bottleneck 256")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--keep", "G >= 1"], "there is no measure 'G'"),
        (["--target", "no/such.jsonl"], "no/such.jsonl: the file does not exist"),
        (["--memory", "lots"], "'--memory lots' is no size"),
    ],
)
def test_mistakes_are_one_sentence(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert run(["advise", "--study", str(folder), "--out", str(tmp_path / "r.yaml"), *words]) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "r.yaml").exists()
