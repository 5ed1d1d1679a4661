"""Files of the shapes that other tools write, each with the number that is right; shapes read off their writers in
2026, in several versions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from holdfast.errors import HoldfastError
from holdfast.scoring.read import read
from holdfast.scoring.score import score, score_reading, write_scored
from holdfast.verdict.compare import compare
from tests.predictions.test_in_the_wild import lines, only, table


def document(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


# records without an id


def rows_of(*said: str, gold: str = "cat", asked: str = "<|image_pad|>Which?") -> list[dict[str, Any]]:
    return [{"prompt": asked, "predict": one, "label": gold} for one in said]


def test_records_without_ids_are_known_by_their_row(tmp_path: Path) -> None:
    base = lines(tmp_path / "base" / "generated_predictions.jsonl", *rows_of("cat", "dog", "dog", "dog"))
    tuned = lines(tmp_path / "tuned" / "generated_predictions.jsonl", *rows_of("cat", "cat", "cat", "dog"))
    assert score("exact_match", tuned).score == 75.0
    (task,) = compare(base, tuned, metric="exact_match").tasks.values()
    assert (task.before, task.after, task.learned, task.forgot) == (0.25, 0.75, 2, 0)
    # the folders as they are left, with logs and totals beside
    for folder in (base.parent, tuned.parent):
        lines(folder / "trainer_log.jsonl", {"current_steps": 10, "total_steps": 20, "lr": 1e-5})
        document(folder / "predict_results.json", {"predict_bleu-4": 4.3})
    (task,) = compare(base.parent, tuned.parent, metric="exact_match").tasks.values()
    assert (task.before, task.after) == (0.25, 0.75)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (rows_of("cat", "cat", asked="Which one?"), "row 1: task 'items': the row has another question"),
        ([*rows_of("cat"), *rows_of("cat", gold="dog")], "other references"),
        (rows_of("cat"), "1 items only in"),
    ],
)
def test_rows_that_ask_other_things_are_not_paired(tmp_path: Path, other: list[dict[str, Any]], said: str) -> None:
    base, tuned = lines(tmp_path / "a.jsonl", *rows_of("cat", "dog")), lines(tmp_path / "b.jsonl", *other)
    with pytest.raises(HoldfastError) as caught:
        compare(base, tuned, metric="exact_match")
    assert said in str(caught.value)


def test_rows_stay_guarded_once_they_are_scored(tmp_path: Path) -> None:
    for name, asked in (("a", "Which?"), ("b", "What?")):
        file = lines(tmp_path / f"{name}.jsonl", *rows_of("cat", asked=asked))
        write_scored(tmp_path / f"{name}_scored.jsonl", score_reading("exact_match", file))
    with pytest.raises(HoldfastError, match="another question"):
        compare(tmp_path / "a_scored.jsonl", tmp_path / "b_scored.jsonl")


def test_references_of_their_own_file_need_ids(tmp_path: Path) -> None:
    gold = lines(tmp_path / "gold.jsonl", {"id": "1", "answer": "cat"})
    with pytest.raises(HoldfastError, match="no column looks like the id"):
        score("exact_match", lines(tmp_path / "p.jsonl", *rows_of("cat")), gold)
    bare = lines(tmp_path / "q.jsonl", {"generated_text": "cat", "input_text": "q"})
    with pytest.raises(HoldfastError, match="no column looks like the id"):
        read(bare)


def test_a_picture_with_several_questions_is_no_id(tmp_path: Path) -> None:
    rows = [{"image": "1.png", "question": f"{i}?", "prediction": "a", "label": "a" if i else "b"} for i in range(4)]
    task = only(table(tmp_path / "p.csv", *rows), metric="exact_match")
    assert (task.n, task.clusters, task.before) == (4, 1, 0.75)


# lmms-eval


def likely(*numbers: Any) -> list[list[Any]]:
    return [[number, str(number == max(numbers))] for number in numbers]


@pytest.mark.parametrize(
    ("options", "target", "metric"),
    [(["a", "b", "c"], 1, "exact_match"), (["a", "b", "c"], "1", "multiple_choice"), (None, "1", "exact_match")],
)
def test_log_likelihoods_choose_an_option(tmp_path: Path, options: Any, target: Any, metric: str) -> None:
    doc = {} if options is None else {"doc": {"question": "q", "choices": options}}
    rows = [
        {"doc_id": i, "target": target, "filtered_resps": likely(-3.5, -0.5 if i else -4.0, -9.0), "acc": float(i > 0)}
        | doc
        for i in range(4)
    ]
    file = lines(tmp_path / "1_samples_task.jsonl", *rows)
    assert score(metric, file).score == 75.0
    assert only(file).before == 0.75


def test_log_likelihoods_without_their_options_are_judged_by_nothing(tmp_path: Path) -> None:
    row = {"doc_id": 0, "target": "yes", "filtered_resps": likely(-3.5, -0.5), "acc": 1.0}
    file = lines(tmp_path / "1_samples_task.jsonl", row)
    with pytest.raises(HoldfastError, match="line 1, item 0: the sample holds log-likelihoods"):
        score("exact_match", file)
    assert only(file).before == 1.0


def test_samples_of_a_test_split_have_no_gold(tmp_path: Path) -> None:
    rows = [{"doc_id": i, "target": "None", "filtered_resps": "yes"} for i in range(3)]
    with pytest.raises(HoldfastError, match="needs its references"):
        score("exact_match", lines(tmp_path / "1_samples_vqav2_test.jsonl", *rows))
    some = [{"doc_id": i, "target": "None" if i else "yes", "filtered_resps": "None"} for i in range(3)]
    assert score("exact_match", lines(tmp_path / "1_samples_t.jsonl", *some)).score == pytest.approx(200 / 3)


def test_mme_samples_without_their_documents(tmp_path: Path) -> None:
    logged = [{"question_id": f"existence/{i // 2}.png", "category": "existence", "score": 1.0} for i in range(4)]
    rows = [
        {"doc_id": i, "target": "Yes", "filtered_resps": "No" if i == 3 else "Yes", "mme_perception_score": logged[i]}
        for i in range(4)
    ]
    assert score("mme", lines(tmp_path / "1_samples_mme.jsonl", *rows)).score == 75.0 + 50.0


# VLMEvalKit


def kit(said: str, **more: Any) -> dict[str, Any]:
    return {"index": 1, "question": "q", "A": "cat", "B": "dog", "answer": "A", "prediction": said, **more}


def test_json_of_pandas_holds_nan(tmp_path: Path) -> None:
    rows = [kit("A" if i else "B", index=i, hint=float("nan"), C=float("nan")) for i in range(4)]
    file = document(tmp_path / "m_RealWorldQA.json", rows)
    assert score("realworldqa", file).score == 75.0


def test_workings_beside_a_table_are_no_tasks(tmp_path: Path) -> None:
    rows = [{"index": i, "question": "q", "answer": "Yes", "prediction": "Yes" if i else "No"} for i in range(4)]
    judged = [{**row, "extracted": row["prediction"], "score": row["prediction"] == "Yes"} for row in rows]
    for name, content in (("", rows), ("_auxmatch", judged), ("_results", judged), ("_detailed_results", rows)):
        table(tmp_path / "m" / f"m_POPE{name}.tsv", *content)
    table(tmp_path / "m" / "m_POPE_score.csv", {"Overall": 75})
    (task,) = compare(tmp_path / "m", tmp_path / "m").tasks.values()
    assert (task.name, task.before) == ("POPE", 0.75)
    (task,) = compare(tmp_path / "m", tmp_path / "m", metric="exact_match").tasks.values()
    assert (task.name, task.before) == ("POPE", 0.75)


# others


def test_opencompass_details_hold_verdicts(tmp_path: Path) -> None:
    of = {str(i): {"predictions": "A", "references": "A", "correct": i > 0} for i in range(4)}
    listed = [{"pred": "A", "answer": "A", "correct": i > 0} for i in range(4)]
    for details in ({"type": "GEN", **of}, listed):
        file = document(tmp_path / "mmbench.json", {"accuracy": 75.0, "details": details})
        assert only(file).before == 0.75 and score("exact_match", file).score == 100.0


def test_completions_are_answers_and_no_ratings(tmp_path: Path) -> None:
    """They were taken for ratings of MMHAL-Bench, whose text is nothing: 0.00 without a word."""
    gold = lines(tmp_path / "gold.jsonl", *({"id": f"q{i}", "answer": "cat"} for i in range(4)))

    def body(said: Any, why: str = "stop") -> dict[str, Any]:
        return {"choices": [{"message": {"role": "assistant", "content": said}, "finish_reason": why}]}

    texts: list[Any] = ["cat", [{"type": "text", "text": "cat"}], "a cat that", None]
    rows = [{"id": f"q{i}", **body(text, "length" if i == 2 else "stop")} for i, text in enumerate(texts)]
    result = score("exact_match", lines(tmp_path / "said.jsonl", *rows), gold)
    assert (result.score, result.missing, result.truncated) == (50.0, 1, 1)
    assert [row.truncated for row in next(iter(read(tmp_path / "said.jsonl").tasks.values()))] == [0, 0, 1, 0]
    failed: dict[str, Any] = {"status_code": 500, "body": {"error": {"message": "overloaded"}}}
    responses = [
        {"status_code": 200, "body": body("cat")},
        {"status_code": 200, "body": {"output": [{"type": "reasoning"}, {"content": [{"text": "cat"}]}]}},
        failed,
        None,
    ]
    batch = [{"id": "b", "custom_id": f"q{i}", "response": one, "error": None} for i, one in enumerate(responses)]
    result = score("exact_match", lines(tmp_path / "batch.jsonl", *batch), gold)
    assert (result.score, result.missing) == (50.0, 2)


def test_a_judgement_that_cannot_be_read_stays_a_judgement(tmp_path: Path) -> None:
    """It counts as 0 as in MMHAL-Bench's script; an answer that has the word rating without a number is an answer."""
    texts = ["I cannot say.", "Explanation: fine.\nRating: 6", "Rating: 3", "rating: 3"]
    judged = [{"id": f"j{i}", "choices": [{"message": {"content": text}}]} for i, text in enumerate(texts)]
    for file in (document(tmp_path / "judged.json", judged), lines(tmp_path / "judged.jsonl", *judged)):
        assert score("mmhal", file).score == (0 + 6 + 3 + 3) / 4
    gold = lines(tmp_path / "gold.jsonl", *({"id": f"q{i}", "answer": "the star rating"} for i in range(2)))
    rows = [{"id": f"q{i}", "choices": [{"message": {"content": "the star rating"}}]} for i in range(2)]
    assert score("exact_match", lines(tmp_path / "said.jsonl", *rows), gold).score == 100.0


def test_conversations_as_predictions(tmp_path: Path) -> None:
    said = [{"role": "user", "content": "q"}, {"role": "assistant", "content": [{"type": "text", "text": "cat"}]}]
    file = lines(tmp_path / "p.jsonl", {"id": 1, "generated_text": said, "answer": "cat"})
    assert score("exact_match", file).score == 100.0


@pytest.mark.parametrize("separator", [";", "\t"])
def test_tables_divided_otherwise(tmp_path: Path, separator: str) -> None:
    file = tmp_path / "p.csv"
    file.write_text(f"id{separator}prediction{separator}answer\n1{separator}a, b{separator}a, b\n", encoding="utf-8")
    assert score("exact_match", file).score == 100.0


def test_a_metrics_refusal_names_file_and_line(tmp_path: Path) -> None:
    file = lines(tmp_path / "p.jsonl", *({"id": i, "prediction": "a", "answers": ["a"] * (10 - i)} for i in range(2)))
    with pytest.raises(HoldfastError, match=r"p\.jsonl, line 2, item 1: 10 answers expected and 9 found"):
        score("vqa_accuracy", file)


def test_internvl_and_swift_name_the_gold(tmp_path: Path) -> None:
    rows = [{"question": "q", "answer": "A" if i else "B", "gt_answers": "A", "data_id": f"v_{i}"} for i in range(4)]
    assert score("exact_match", lines(tmp_path / "mmmu_val_260301120000.jsonl", *rows)).score == 75.0
    assert list(read(tmp_path / "mmmu_val_260301120000.jsonl").tasks) == ["mmmu_val"]
    old = {"query": "q", "response": "cat", "label": "dog", "history": [], "images": ["1.png"]}
    (row,) = next(iter(read(lines(tmp_path / "old.jsonl", old)).tasks.values()))
    assert (row.id, row.question, row.prediction, row.references, row.image) == ("row 1", "q", "cat", ("dog",), "1.png")


def test_what_a_person_tries_is_answered_with_what_to_do(tmp_path: Path) -> None:
    row = {"id": 1, "prediction": "a", "answer": "a", "hint": float("nan")}
    (tmp_path / "m.pkl").write_bytes(b"\x80\x04K\x01.")
    lines(tmp_path / "out" / "model" / "1_samples_gqa.jsonl", row)
    lines(tmp_path / "two" / "1_samples_gqa.jsonl", {"doc_id": 1, "resps": ["a"], "target": "a"})
    lines(tmp_path / "two" / "2_samples_gqa.jsonl", {"doc_id": 1, "resps": ["a"], "target": "a"})
    totals = {"results": {"gqa": {"exact_match,none": 0.5}}}
    tries = {
        document(tmp_path / "nan.json", [row]): "NaN is not a value; it stands in 'hint'. Mend the entry: write null",
        lines(tmp_path / "nan.jsonl", row): "it stands in 'hint'. Mend the line: write null",
        tmp_path / "m.pkl": "A pickle may run code",
        tmp_path / "out": f"Did you mean {tmp_path / 'out' / 'model'}?",
        tmp_path / "two": "Name one of the two files, or keep one run",
        document(tmp_path / "1_results.json", totals): "writes it with --log_samples",
    }
    for path, said in tries.items():
        with pytest.raises(HoldfastError) as caught:
            compare(path, path, metric="exact_match")
        assert said in str(caught.value)


def test_verdicts_in_words(tmp_path: Path) -> None:
    words = ("yes", "no", "Correct", "incorrect", "TRUE")
    file = lines(tmp_path / "p.jsonl", *({"id": word, "prediction": "a", "correct": word} for word in words))
    assert only(file).before == pytest.approx(0.6)


def test_captions_by_the_names_of_their_files(tmp_path: Path) -> None:
    texts = ("a cat on a mat", "a dog in the park", "two birds on a wire")
    name = "COCO_val2014_{:012}.jpg"
    gold = document(
        tmp_path / "captions_val2014.json",
        {
            "images": [{"id": i, "file_name": name.format(i)} for i in range(3)],
            "annotations": [{"image_id": i, "caption": text} for i, text in enumerate(texts)],
        },
    )
    for called in (name, name.removesuffix(".jpg"), "{}"):
        rows = [{"image_id": called.format(i), "caption": text} for i, text in enumerate(texts)]
        assert score("coco_captions", document(tmp_path / "said.json", rows), gold).score == pytest.approx(1000)


def test_captions_in_lists_of_one(tmp_path: Path) -> None:
    texts = ("a cat on a mat", "a dog in the park", "two birds on a wire")
    said = document(tmp_path / "said.json", {str(i): [text] for i, text in enumerate(texts)})
    gold = document(tmp_path / "gold.json", {str(i): [text, f"{text} today"] for i, text in enumerate(texts)})
    plain = document(tmp_path / "plain.json", {str(i): text for i, text in enumerate(texts)})
    assert score("coco_captions", said, gold).score == score("coco_captions", plain, gold).score > 100
