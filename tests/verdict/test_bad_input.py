import json

import pytest

from holdfast.errors import HoldfastError
from holdfast.predictions.file import PredictionWriter, read_predictions, write_predictions
from holdfast.predictions.record import Prediction
from holdfast.verdict.compare import compare


@pytest.fixture
def good(rows):
    return rows("t", [1.0, 0.0, 1.0])


# Three good rows with (position, field, value) changed, None removing the field, and what is said about it.
CASES = {
    "nan": ([(1, "score", float("nan"))], "line 2: NaN is not a value"),
    "infinite": ([(1, "lenient", float("inf"))], "line 2: Infinity is not a value"),
    "percent": ([(2, "score", 87.0)], "line 3, item t-2: 'score' is 87, outside 0 to 1.*--scale"),
    "word": ([(0, "score", "right")], "line 1, item t-0: 'score' is 'right', not a number"),
    "duplicate": ([(2, "id", "t-0")], "line 3, item t-0: the id stands twice in the file, first on line 1"),
    "mixed": ([(1, "task", "u")], "line 2, item t-1: the file mixes the tasks 't' and 'u'"),
    "no id": ([(1, "id", None)], "line 2: the item has no 'id'"),
    "no prediction": ([(1, "prediction", None)], "line 2, item t-1: the item has no 'prediction'"),
    "list": ([(1, "prediction", ["a", "b"])], "line 2, item t-1: 'prediction' is list, not text"),
    "no score": ([(1, "score", None)], "line 2, item t-1: task 't': the item has no score.*--metric"),
    "unknown id": (
        [(1, "id", "t-9")],
        "item t-1: task 't': 1 items only in .*base.jsonl, 1 only in .*--intersect",
    ),
    "other split": ([(1, "references", ["maybe"])], "item t-1: task 't': the item has other references"),
    "other metric": ([(i, "metric", "anls") for i in range(3)], "scored with 'exact_match' in .* and 'anls'"),
}


@pytest.mark.parametrize("case", CASES)
def test_one_sentence_with_file_line_and_item(case, write, good) -> None:
    changes, message = CASES[case]
    base = write("base.jsonl", good)
    for position, field, value in changes:
        good[position] |= {field: value}
        if value is None:
            del good[position][field]
    path = write("tuned.jsonl", good)
    with pytest.raises(HoldfastError, match=message) as caught:
        compare(base, path)
    assert "tuned.jsonl" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_cut_empty_missing_and_foreign_files(tmp_path, write, good) -> None:
    good = write("base.jsonl", good)
    content = good.read_text(encoding="utf-8")
    cut = tmp_path / "cut.jsonl"
    cut.write_text(content[:-30], encoding="utf-8")
    with pytest.raises(HoldfastError, match=r"cut.jsonl, line 3: the last line is cut off"):
        compare(good, cut)
    cut.write_text(content.replace("{", "", 1), encoding="utf-8")
    with pytest.raises(HoldfastError, match="not valid JSON"):
        compare(good, cut)
    cut.write_bytes(content.encode().replace(b"question 1", b"\xff\xfe", 1))
    with pytest.raises(HoldfastError, match="line 2: the text is not UTF-8"):
        compare(good, cut)
    cut.write_text("", encoding="utf-8")
    with pytest.raises(HoldfastError, match="empty"):
        compare(good, cut)
    with pytest.raises(HoldfastError, match="does not exist"):
        compare(good, tmp_path / "nowhere.jsonl")
    with pytest.raises(HoldfastError, match="holds no prediction files"):
        (tmp_path / "hollow").mkdir()
        compare(good, tmp_path / "hollow")


def test_intersect_compares_what_is_shared_and_says_so(write, rows) -> None:
    base = write("base.jsonl", rows("t", [1.0] * 5))
    tuned = write("tuned.jsonl", rows("t", [0.0, 1.0, 1.0]))
    with pytest.raises(HoldfastError, match=r"2 items only in .*base.jsonl, 0 only in"):
        compare(base, tuned)
    comparison = compare(base, tuned, intersect=True)
    assert comparison.tasks["t"].n == 3
    assert "3 shared items compared" in comparison.notes[0]


def test_different_tasks_are_refused(write, rows, good) -> None:
    write("a/t.jsonl", good)
    base = write("a/u.jsonl", rows("u", [1.0])).parent
    tuned = write("b/t.jsonl", good).parent
    with pytest.raises(HoldfastError, match="different tasks: 'u' only in"):
        compare(base, tuned)
    assert list(compare(base, tuned, intersect=True).tasks) == ["t"]


def test_silly_settings(write, good) -> None:
    good = write("base.jsonl", good)
    for settings in ({"confidence": 1.0}, {"margin": -1.0}, {"resamples": 3}):
        with pytest.raises(HoldfastError):
            compare(good, good, **settings)


def test_writer_resumes_after_a_cut_line_and_refuses_a_second_id(tmp_path) -> None:
    path = tmp_path / "deep" / "t.jsonl"
    made = [Prediction(id=f"q{i}", prediction="ä\u2028b", task="t", score=0.5, references=("x",)) for i in range(4)]
    write_predictions(path, made)
    assert [p.to_json() for p in read_predictions(path)] == [p.to_json() for p in made]
    path.write_bytes(path.read_bytes()[:-20])
    with PredictionWriter(path, resume=True) as writer:
        assert list(writer.done) == ["q0", "q1", "q2"]
        writer.write(made[3])
        with pytest.raises(HoldfastError, match="written twice"):
            writer.write(made[3])
    assert [p.to_json() for p in read_predictions(path)] == [p.to_json() for p in made]
    assert json.loads(path.read_text(encoding="utf-8").split("\n")[3])["id"] == "q3"
