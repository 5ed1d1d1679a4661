"""A study folder is read whole, whatever became of its index and of single points."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.errors import HoldfastError
from holdfast.files import read_json, write_json
from holdfast.results.points import append_result, complete_index, read_results

LEVELS = [{"method": method, "target": "digits", "seed": str(seed)} for method in ("lora", "ia3") for seed in (1, 2)]


def entry(number: int) -> dict[str, object]:
    return {"name": "run", "E": 10.0 + number, "F": -1.0, "target": {"digits": {}}, "sources": {"color": {}}}


def write_scores(folder: Path, number: int) -> None:
    write_json(folder / "points" / key(number) / "scores.json", {"recipes": {"run": entry(number)}})


def key(number: int) -> str:
    return f"{number:016x}"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Four points: two finished, one failed, one not begun."""
    for number in (0, 1):
        write_scores(tmp_path, number)
    write_json(tmp_path / "failed" / f"{key(2)}.json", {"reason": "the loss is not a number", "when": "now"})
    write_json(
        tmp_path / "study.json",
        {
            "title": "Two methods",
            "about": "",
            "axes": {"method": ["lora", "ia3"], "target": ["digits"], "seed": ["1", "2"]},
            "points": [{"key": key(n), "levels": levels, "config": {}} for n, levels in enumerate(LEVELS)],
            "claims": ["h1"],
            "published": {"table": 1},
        },
    )
    return tmp_path


def test_every_point_has_its_state(study: Path) -> None:
    results = read_results(study)
    assert [point.state for point in results.points] == ["finished", "finished", "failed", "waiting"]
    assert [point.scores.get("E") for point in results.points] == [10.0, 11.0, None, None]
    assert results.points[2].reason == "the loss is not a number"
    assert results.points[1].levels == LEVELS[1]
    assert (results.title, results.claims, results.published) == ("Two methods", ("h1",), {"table": 1})
    assert results.axes == {"method": ("lora", "ia3"), "target": ("digits",), "seed": ("1", "2")}
    assert (results.factors, results.conditions) == (("method",), ("target",))


@pytest.mark.parametrize(
    ("training", "peak"),
    [
        ({"seconds": 1.0, "peak_memory": 123}, 123),
        ({"peak_memory": None}, None),
        ({"peak_memory": "much"}, None),
        ([], None),
    ],
)
def test_the_measured_peak_comes_from_beside_the_scores(study: Path, training: object, peak: int | None) -> None:
    """It is another in every training, and what a run scored must not be."""
    write_json(study / "points" / key(0) / "training.json", training)
    assert read_results(study).points[0].scores.get("peak_memory") == peak
    append_result(study, key(0))
    assert read_results(study).points[0].scores.get("peak_memory") == peak  # of the index, too
    (study / "points" / key(1) / "training.json").write_text("{cut", encoding="utf-8")
    assert read_results(study).points[1].state == "finished"


def test_the_index_is_believed_only_while_it_is_true(study: Path) -> None:
    without = read_results(study)
    for number in (0, 1):
        append_result(study, key(number))
    assert read_results(study) == without
    index = study / "results.jsonl"
    index.write_text(index.read_text().replace('"E": 10.0', '"E": 77.0'))
    assert read_results(study).points[0].scores["E"] == 77.0  # so it was the index that was read
    write_scores(study, 0)
    (study / "points" / key(0) / "scores.json").write_text(
        '{"recipes": {"run": {"E":1,"F":2,"target":{},"sources":{}}}}'
    )
    assert read_results(study).points[0].scores["E"] == 1  # the point was made anew since


@pytest.mark.parametrize("damage", ["", '{"key": "00', "\x00\x01", "[1]\n", '{"key": "0"}\n'])
def test_a_damaged_index_changes_nothing(study: Path, damage: str) -> None:
    without = read_results(study)
    append_result(study, key(0))
    with (study / "results.jsonl").open("a") as stream:
        stream.write(damage)
    append_result(study, key(1))
    assert read_results(study) == without
    (study / "results.jsonl").write_text(damage)
    assert read_results(study) == without


@pytest.mark.parametrize(
    "text", ['{"recipes": {"run": {"E": 1', '{"recipes": {}}', "[]", '{"recipes": {"a": {"E": 1}}}']
)
def test_a_point_edited_by_hand_counts_as_failed_and_says_which_file(study: Path, text: str) -> None:
    file = study / "points" / key(0) / "scores.json"
    file.write_text(text)
    first, second, *_ = read_results(study).points
    assert (first.state, second.state) == ("failed", "finished")
    assert first.reason is not None and str(file) in first.reason


def test_no_study_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(HoldfastError, match=r"study\.json is missing"):
        read_results(tmp_path)
    (tmp_path / "study.json").write_text('{"title": "x"}')
    with pytest.raises(HoldfastError, match="not the record of a study"):
        read_results(tmp_path)
    (tmp_path / "study.json").write_text('{"axes": {}, "points": [{"key": 3}]}')
    with pytest.raises(HoldfastError, match="no key or no levels"):
        read_results(tmp_path)


def test_a_point_may_stand_elsewhere_and_the_index_is_completed(study: Path) -> None:
    record = read_json(study / "study.json")
    record["points"][1]["place"] = "full"
    write_json(study / "study.json", record)
    (study / "points" / key(1)).rename(study / "full")
    complete_index(study, {key(0): f"points/{key(0)}", key(1): "full", key(3): "nowhere"})
    index = (study / "results.jsonl").read_text().splitlines()
    assert len(index) == 2
    complete_index(study, {key(0): f"points/{key(0)}", key(1): "full"})
    assert (study / "results.jsonl").read_text().splitlines() == index
    assert read_results(study).points[1].folder == study / "full"
    assert read_results(study).points[1].scores["E"] == 11.0
