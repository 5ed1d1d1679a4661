import json

import pytest

from holdfast.cli.main import run


@pytest.fixture
def sides(write, rows):
    base = write("run/base/predictions/t.jsonl", rows("t", [1.0] * 40 + [0.0] * 10))
    tuned = write("run/predictions/t.jsonl", rows("t", [1.0] * 25 + [0.0] * 25))
    return [str(base.parents[1]), str(tuned.parents[1])]


def test_sentences_come_first_and_lines_fit_80_columns(sides, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run(["compare", *sides]) == 0
    text = capsys.readouterr().out
    assert text.startswith("Lost 30.0 points on t (95% CI ")
    assert max(map(len, text.splitlines())) <= 80
    assert "exact McNemar" in text and "Holdfast run folder, 1 task" in text


def test_out_writes_json_and_report(sides, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    assert run(["compare", *sides, "--json", "--out", str(out), "--target", "t"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((out / "comparison.json").read_text(encoding="utf-8"))
    assert printed["E"] == pytest.approx(-30) and printed["F"] is None and printed["tasks"]["t"]["forgot"] == 15
    assert sorted(path.name for path in out.iterdir()) == ["comparison.json", "report.html"]


def test_several_runs(sides, capsys) -> None:
    assert run(["compare", *sides, sides[0], "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert len(data["runs"]) == 2 and data["sequence"] is None
    assert [run["tasks"]["t"]["forgot"] for run in data["runs"].values()] == [15, 0]


def test_bad_input_is_one_sentence_with_exit_code_2(sides, tmp_path, write, rows, capsys) -> None:
    broken = write("broken.jsonl", [*rows("t", [1.0]), {"id": "x", "score": float("nan"), "prediction": ""}])
    for words in (
        [sides[0], str(broken)],
        [sides[0], str(tmp_path / "nowhere")],
        [*sides, "--target", "u"],
        [*sides, "--column", "score"],
        [*sides, "--metric", "exact_mtch"],
        [*sides, "--images", str(tmp_path / "nowhere")],
    ):
        out = tmp_path / "never"
        assert run(["compare", *words, "--out", str(out)]) == 2
        captured = capsys.readouterr()
        assert captured.err.startswith("holdfast: ") and captured.err.count("\n") == 1
        assert "Traceback" not in captured.err and not captured.out
        assert not out.exists()


def test_a_place_where_no_folder_can_be_made(sides, capsys) -> None:
    assert run(["compare", *sides, "--out", "/proc/nothing"]) == 2
    assert capsys.readouterr().err.startswith("holdfast: /proc/nothing")


def test_a_name_longer_than_any_is_told_briefly(sides, capsys) -> None:
    assert run(["compare", "y" * 5000, sides[1]]) == 2
    said = capsys.readouterr().err
    assert "name" in said and len(said) < 2000
