"""What evaluators write when they are run: lmms-eval, lm-evaluation-harness, inspect_ai and EvalScope, each with the
number that they print for it themselves."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest

from holdfast.errors import HoldfastError
from holdfast.predictions.reading import Ask
from holdfast.scoring.read import read
from holdfast.scoring.score import score
from holdfast.verdict.compare import compare
from tests.predictions.test_in_the_wild import lines
from tests.predictions.test_other_tools import document


def before(path: Path, **options: Any) -> float | None:
    """What a comparison of a file with itself says of its one task."""
    (task,) = compare(path, path, **options).tasks.values()
    return task.before


# lmms-eval and lm-evaluation-harness


def logged(at: int, **more: Any) -> dict[str, Any]:
    return {"doc_id": at, "target": "B", "filtered_resps": "(B)", "doc_hash": "d", "input": f"Which {at}?", **more}


def test_totals_of_both_harnesses_are_no_predictions(tmp_path: Path) -> None:
    for name in ("results_2026-11-28T14-16-59.918362.json", "20261128_141500_results.json"):
        document(tmp_path / name, {"results": {"pets": {"acc,none": 0.5}}, "configs": {}})
    lines(tmp_path / "samples_pets_2026-11-28T14-16-59.918362.jsonl", logged(0, acc=1.0), logged(1, acc=0.0))
    assert before(tmp_path) == 0.5
    with pytest.raises(HoldfastError, match="totals, and no answers"):
        read(tmp_path / "results_2026-11-28T14-16-59.918362.json")


def test_a_verdict_inside_a_logged_object(tmp_path: Path) -> None:
    rows = [logged(i, cv_bench_acc={"id": i, "type": "2D", "is_correct": i == 0}) for i in range(4)]
    assert before(lines(tmp_path / "1_samples_cv_bench.jsonl", *rows)) == 0.25
    counts = [logged(i, caption={"acc": 12, "pred": "x"}) for i in range(2)]  # a number that is no verdict
    assert read(lines(tmp_path / "1_samples_c.jsonl", *counts)).recognised.endswith("without a score")


def test_a_judge_that_failed_on_the_first_sample_hides_no_score(tmp_path: Path) -> None:
    rows = [logged(i, gpt_eval_score={"id": i, "score": None if i == 0 else 1.0}, length=3) for i in range(3)]
    reading = read(lines(tmp_path / "1_samples_vet.jsonl", *rows))
    assert [row.score for row in reading.tasks["vet"]] == [None, 1.0, 1.0]


def test_a_score_of_every_category_beside_the_one_of_all(tmp_path: Path) -> None:
    rows = [
        logged(i, **{kind: {"question_id": i, "score": hit}, "average": {"question_id": i, "score": hit}})
        for i, (kind, hit) in enumerate([("math", 1.0), ("coarse perception", 0.0), ("math", 1.0), ("math", 1.0)])
    ]
    assert before(lines(tmp_path / "1_samples_mmstar.jsonl", *rows)) == 0.75


def test_the_name_of_a_field_is_no_answer(tmp_path: Path) -> None:
    rows = [logged(i, target="answer", exact_match=i / 2) for i in range(3)]
    path = lines(tmp_path / "1_samples_vqav2_val.jsonl", *rows)
    assert before(path) == 0.5
    with pytest.raises(HoldfastError, match="needs its references"):
        score("exact_match", path)
    real = lines(tmp_path / "1_samples_words.jsonl", logged(0, target="answer"), logged(1, target="question"))
    assert score("exact_match", real).score == 0.0


# inspect_ai


def inspected(at: int, said: str, epoch: int = 1, **scores: Any) -> dict[str, Any]:
    asked = [{"type": "text", "text": f"Which {at}?"}, {"type": "image", "image": f"attachment://{at // 2}"}]
    return {
        "id": at,
        "epoch": epoch,
        "input": [{"role": "user", "content": asked}],
        "target": "dog",
        "output": {"completion": said, "choices": [{"stop_reason": "stop" if said else "max_tokens"}]},
        "scores": {name: {"value": value, "answer": said, "history": []} for name, value in scores.items()},
        "metadata": {"kind": "pet", "boxes": [1]},
    }


def log(path: Path, *samples: dict[str, Any], status: str = "success") -> Path:
    content = {"version": 2, "status": status, "eval": {"task": "mine/pets"}, "plan": {"steps": []}}
    return document(path, {**content, "samples": list(samples)} if samples else content)


def test_an_inspect_log(tmp_path: Path) -> None:
    said = [("dog", "C"), ("cat", "I"), ("a dog", "P"), ("", "N")]
    path = log(tmp_path / "log.json", *(inspected(i, text, exact=value) for i, (text, value) in enumerate(said)))
    reading = read(path)
    (rows,) = reading.tasks.values()
    assert list(reading.tasks) == ["pets"] and reading.recognised == "inspect_ai log, scored by 'exact'"
    assert [row.score for row in rows] == [1.0, 0.0, 0.5, 0.0]
    assert (rows[1].question, rows[1].image, dict(rows[1].extra)) == ("Which 1?", "attachment://0", {"kind": "pet"})
    assert [row.truncated for row in rows] == [False, False, False, True]
    assert before(path) == 0.375 and score("exact_match", path).score == 25.0


def test_epochs_of_an_inspect_log_are_averaged(tmp_path: Path) -> None:
    rows = [
        inspected(i, f"{value} {epoch}", epoch, exact=value)
        for epoch, values in ((1, "CIN"), (2, "CCC"))
        for i, value in enumerate(values)
    ]
    rows[2]["scores"]["exact"]["value"] = float("nan")  # what inspect_ai writes where a verdict was not to be had
    reading = read(log(tmp_path / "log.json", *rows))
    assert [row.score for row in reading.tasks["pets"]] == [1.0, 0.5, 1.0]
    assert [row.prediction for row in reading.tasks["pets"]] == ["C 1", "I 1", "N 1"]
    assert "mean score of several epochs, and the answers of the first" in reading.notes[0]
    judged = read(tmp_path / "log.json", Ask(metric="exact_match"))
    assert "score" not in judged.notes[0] and "answers of the first" in judged.notes[0]


def test_what_is_no_epoch_of_an_item_is_refused(tmp_path: Path) -> None:
    twice = [inspected(0, "dog", exact="C"), inspected(0, "cat", exact="I")]
    with pytest.raises(HoldfastError, match="item 0: the id stands twice in one epoch"):
        read(log(tmp_path / "log.json", *twice))
    with pytest.raises(HoldfastError, match="one of the log's samples is no JSON object"):
        read(log(tmp_path / "log.json", twice[0], "cat"))  # type: ignore[arg-type]


def test_scorers_of_an_inspect_log_are_chosen_by_name(tmp_path: Path) -> None:
    path = log(
        tmp_path / "log.json", inspected(0, "dog", match="I", includes="C"), inspected(1, "x", match=0, includes=1)
    )
    with pytest.raises(HoldfastError, match=r"several scores: includes, match\. Choose one with --column score="):
        read(path)
    assert before(path, columns={"score": "includes"}) == 1.0 and before(path, columns={"score": "match"}) == 0.0


def test_a_scorer_that_says_several_things_of_an_item(tmp_path: Path) -> None:
    said = [{"correct": "C", "concise": 0}, {"correct": "I", "concise": 1}, {"correct": "I", "concise": 1}]
    path = log(tmp_path / "log.json", *(inspected(i, "dog", quality=value) for i, value in enumerate(said)))
    with pytest.raises(HoldfastError, match="several scores: quality/concise, quality/correct"):
        read(path)
    reading = read(path, Ask(columns={"score": "quality/correct"}))
    assert [row.score for row in reading.tasks["pets"]] == [1.0, 0.0, 0.0]


def test_a_log_without_samples_and_an_archive_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(HoldfastError, match="ended as 'error' holds no samples"):
        read(log(tmp_path / "log.json", status="error"))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("header.json", "{}")
    for name, said in (("log.eval", "inspect log convert"), ("answers.zip", "unpack it|Unpack it")):
        (tmp_path / name).write_bytes(packed.getvalue())
        with pytest.raises(HoldfastError, match=said):
            read(tmp_path / name)


@pytest.mark.parametrize("odd", [[["stop"]], "stop", 7, [None]])
def test_what_is_no_choice_and_no_turn_is_passed_by(odd: Any, tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "q"}, odd]
    output = {"completion": "B", "choices": odd}
    samples = [{"id": n, "input": turns, "target": "B", "output": output} for n in range(2)]
    log = {"status": "success", "eval": {"task": "mine"}, "plan": {}, "samples": samples}
    found = read(document(tmp_path / "log.json", log)).tasks["mine"]
    assert [(one.prediction, one.references) for one in found] == [("B", ("B",))] * 2


# EvalScope


def review(at: int, main: str | None = "accuracy", **scores: float) -> dict[str, Any]:
    turns = [
        {"role": "user", "content": [{"type": "text", "text": f"Which {at}?"}, {"type": "image", "image": "/d/a.png"}]},
        {"role": "assistant", "content": "ANSWER: B"},
    ]
    judged = {"value": scores, "extracted_prediction": "B", "prediction": "ANSWER: B", "main_score_name": main}
    sample = {"score": judged, "sample_id": at, "sample_metadata": {"subject": "art"}}
    return {"index": at, "target": ["B"], "messages": turns, "agent_trace": None, "sample_score": sample}


def test_evalscope_reviews(tmp_path: Path) -> None:
    rows = [review(i, accuracy=float(i > 0), format=1.0) for i in range(4)]
    reading = read(lines(tmp_path / "general_vmcq_test.jsonl", *rows))
    made = reading.tasks["general_vmcq_test"]
    assert reading.recognised == "EvalScope reviews, scored by 'accuracy'"
    assert [row.score for row in made] == [0.0, 1.0, 1.0, 1.0]
    assert (made[0].prediction, made[0].references, made[0].question) == ("ANSWER: B", ("B",), "Which 0?")
    assert (made[0].image, dict(made[0].extra)) == ("/d/a.png", {"subject": "art"})
    asked = read(lines(tmp_path / "b.jsonl", *rows), Ask(columns={"score": "format"}))
    assert [row.score for row in asked.tasks["b"]] == [1.0] * 4
    with pytest.raises(HoldfastError, match=r"several scores: accuracy, format"):
        read(lines(tmp_path / "c.jsonl", *(review(i, None, accuracy=1.0, format=1.0) for i in range(2))))


def test_answers_of_evalscope_before_they_are_reviewed(tmp_path: Path) -> None:
    row = review(0)
    del row["sample_score"], row["target"]
    path = lines(tmp_path / "general_vqa_test.jsonl", row | {"model": "m", "model_output": {"choices": []}})
    assert read(path).tasks["general_vqa_test"][0].prediction == "ANSWER: B"
    with pytest.raises(HoldfastError, match="needs its references"):
        score("exact_match", path)


# VLMEvalKit


def test_the_status_beside_a_table_is_no_task(tmp_path: Path) -> None:
    rows = [{"index": i, "question": "q", "answer": "A", "prediction": "A", "hit": i} for i in range(2)]
    document(tmp_path / "Made_MMStar.json", rows)
    document(tmp_path / "status.json", {"eval_id": "T20261128-141500", "state": "done"})
    assert before(tmp_path) == 0.5
