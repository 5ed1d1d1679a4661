"""Official layouts on small self-made files, and one clear sentence for every kind of bad input."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from holdfast.errors import HoldfastError
from holdfast.scoring.benchmarks import find_benchmark
from holdfast.scoring.benchmarks import task_names as official_names
from holdfast.scoring.judge import metric_of
from holdfast.scoring.score import load_items, score, score_reading, task_names, write_scored
from holdfast.tasks.textvqa.results import question_of


def put(path: Path, value: Any) -> Path:
    """Write JSON; a list into ``.jsonl`` goes line by line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jsonl":
        text = "".join(json.dumps(record) + "\n" for record in value)
    else:
        text = value if isinstance(value, str) else json.dumps(value)
    path.write_text(text, encoding="utf-8")
    return path


def annotations(**answers: str) -> dict[str, Any]:
    records = [
        {
            "question_id": int(key[1:]),
            "image_id": 1,
            "answer_type": "other",
            "question_type": "what",
            "answers": [{"answer": said, "answer_id": n, "answer_confidence": "yes"} for n in range(10)],
        }
        for key, said in answers.items()
    ]
    return {"annotations": records}


# layouts


def test_vqa_gzip_and_question_file(tmp_path: Path) -> None:
    references = tmp_path / "annotations_val.json.gz"
    references.write_bytes(gzip.compress(json.dumps(annotations(q1="red", q2="blue")).encode()))
    questions = {"questions": [{"question_id": 1, "question": "What colour?"}]}
    (tmp_path / "questions_val.json.gz").write_bytes(gzip.compress(json.dumps(questions).encode()))
    said = put(tmp_path / "said.json", [{"question_id": 2, "answer": "green"}, {"question_id": 1, "answer": "Red."}])
    items = load_items("okvqa", said, references)
    assert [(i.id, i.question, i.prediction) for i in items] == [("1", "What colour?", "Red."), ("2", "", "green")]
    assert score("okvqa", said, references).score == 50.0


def test_vizwiz_by_image_with_unanswerability(tmp_path: Path) -> None:
    answers = [{"answer": "unanswerable", "answer_confidence": "yes"}] * 10
    references = [
        {"image": "a.jpg", "question": "q", "answers": answers, "answer_type": "unanswerable", "answerable": 0},
        {
            "image": "b.jpg",
            "question": "q",
            "answers": [{"answer": "red"}] * 10,
            "answer_type": "other",
            "answerable": 1,
        },
    ]
    said = [{"image": "a.jpg", "answer": "unanswerable"}, {"image": "b.jpg", "answer": "red"}]
    result = score("vizwiz", put(tmp_path / "p.json", said), put(tmp_path / "val.json", references))
    assert result.score == 100.0
    assert result.details["unanswerability"]["average_precision"] == 100.0
    sure = [{**row, "answerable": p} for row, p in zip(said, (0.9, 0.2), strict=True)]
    result = score("vizwiz_unanswerability", put(tmp_path / "s.json", sure), tmp_path / "val.json")
    assert (result.score, result.details["f1"]) == (50.0, 0.0)


def test_textvqa_by_image_and_question(tmp_path: Path) -> None:
    data = [
        {"question_id": 1, "image_id": "x", "question": "What Brand?", "answers": ["nike"] * 10},
        {"question_id": 2, "image_id": "x", "question": "what year?", "answers": ["1990"] * 10},
    ]
    references = put(tmp_path / "TextVQA_0.5.1_val.json", {"data": data})
    tail = "\nAnswer the question using a single word or phrase."
    said = [
        {"question_id": "x", "prompt": "what year?\nReference OCR token: a, b" + tail, "text": "1991"},
        {"question_id": "x", "prompt": "What Brand?" + tail, "text": "Nike"},
    ]
    result = score("textvqa", put(tmp_path / "a.jsonl", said), references)
    assert {i.id: i.score for i in result.items} == {"1": 1.0, "2": 0.0}
    direct = [{"question_id": 2, "answer": "1990"}, {"question_id": 1, "answer": "nike"}]
    assert score("textvqa", put(tmp_path / "b.json", direct), references).score == 100.0


@pytest.mark.parametrize(
    ("prompt", "question"),
    [
        ("OCR tokens: a. Question: What Is it? Short answer:", "what is it?"),
        ("What?\nReference OCR token: a\nAnswer", "what?"),
        ("Reference OCR token: a\nWhat?\nAnswer", "what?"),
        ("What?\nAnswer", "what?"),
        ("What?", None),
    ],
)
def test_textvqa_prompts(prompt: str, question: str | None) -> None:
    assert question_of(prompt) == question


def test_scienceqa_layouts_agree(tmp_path: Path) -> None:
    problems = {
        "3": {"question": "q", "choices": ["x", "y"], "answer": 1, "hint": "h", "image": "image.png",
              "grade": "grade7", "subject": "natural science"},
        "9": {"question": "q", "choices": ["x", "y", "z"], "answer": 0, "hint": "", "image": None,
              "grade": "grade2", "subject": "language science"},
        "10": {"question": "train", "choices": ["x"], "answer": 0},
    }  # fmt: skip
    references = put(tmp_path / "problems.json", problems)
    put(tmp_path / "pid_splits.json", {"train": ["10"], "test": ["3", "9"]})
    rows = [
        {"question_id": "3", "prompt": "<image>\nq", "text": "The answer is B."},
        {"question_id": "9", "prompt": "q", "text": "maybe"},
    ]
    result = score("scienceqa", put(tmp_path / "a.jsonl", rows), references)
    assert (result.score, result.unparsed, result.details["image"]["score"]) == (50.0, 1, 100.0)
    assert result.details["by_subject"] == {"LAN": {"score": 0.0, "n": 1}, "NAT": {"score": 100.0, "n": 1}}
    recorded = {"acc": 1, "results": {"3": 1, "9": 0}, "outputs": {"3": "B", "9": "?"}}
    file = put(tmp_path / "r.json", recorded)
    assert score("scienceqa", file, references).score == 50.0
    assert score("scienceqa", file, references, variant="recorded").score == 100.0
    analysis = {"correct": [{"question_id": "3", "pred": "B", "question": "<image> q"}],
                "incorrect": [{"question_id": "9", "pred": "?", "question": "q"}]}  # fmt: skip
    (tmp_path / "o_output.jsonl").write_text(json.dumps(analysis, indent=2), encoding="utf-8")
    assert score("scienceqa", tmp_path / "o_output.jsonl", references).score == 50.0


def test_scienceqa_counts_an_unanswered_question_as_wrong(tmp_path: Path) -> None:
    def record(key: str) -> dict[str, Any]:
        turns = [{"from": "human", "value": "<image>\nq\nA. x\nB. y"}, {"from": "gpt", "value": "A"}]
        return {"id": key, "image": f"{key}/image.png", "conversations": turns}

    references = put(tmp_path / "llava_test_CQM-A.json", [record("1"), record("2")])
    rows = [{"question_id": "1", "prompt": "<image>\nq", "text": "A"}]
    result = score("scienceqa", put(tmp_path / "a.jsonl", rows), references)
    assert (result.n, result.missing, result.score) == (2, 1, 50.0)
    # as in LLaVA's script, an unanswered question is not in the image subset
    assert result.details["image"] == {"score": 100.0, "n": 1, "correct": 1}


def test_iconqa_problems_with_skills_and_splits(tmp_path: Path) -> None:
    problems = {
        "1": {"question": "q", "choices": ["x", "y"], "answer": 1, "ques_type": "choose_txt", "grade": "prek"},
        "2": {"question": "q", "answer": "7", "ques_type": "fill_in_blank", "grade": "prek"},
        "3": {"question": "q", "answer": "7", "ques_type": "fill_in_blank", "grade": "prek"},
    }
    references = put(tmp_path / "problems.json", problems)
    put(tmp_path / "pid_splits.json", {"test": ["1", "2"], "train": ["3"]})
    put(tmp_path / "pid2skills.json", {"1": ["counting", "time"], "2": ["counting"]})
    said = put(tmp_path / "r.json", {"accuracy": 50, "results": {"1": 1, "2": "8"}})
    result = score("iconqa", said, references)
    assert result.details["by_subtask"] == {
        "choose_txt": {"score": 100.0, "n": 1},
        "fill_in_blank": {"score": 0.0, "n": 1},
    }
    assert result.details["by_skill"]["counting"] == {"score": 50.0, "n": 2}
    only = put(tmp_path / "t.jsonl", [{"question_id": "1", "text": "y"}])
    assert score("iconqa_txt", only, tmp_path).score == 100.0


def pope_label(n: int, label: str) -> dict[str, Any]:
    return {"question_id": n, "image": f"{n}.jpg", "text": f"Is there a thing {n}?", "label": label}


def test_pope_pairs_by_id_never_by_line(tmp_path: Path) -> None:
    labels = put(tmp_path / "coco_pope_random.json", "\n".join(json.dumps(pope_label(n, "yes")) for n in (1, 2)))
    said = [
        {"question_id": n, "prompt": f"Is there a thing {n}?\nAnswer", "text": t} for n, t in ((2, "No"), (1, "Yes"))
    ]
    result = score("pope", put(tmp_path / "a.jsonl", said), labels)
    assert {i.id: i.score for i in result.items} == {"random/1": 1.0, "random/2": 0.0}
    official = [{"question": f"is there a thing {n}?", "answer": "yes"} for n in (1, 2)]
    assert score("pope", put(tmp_path / "b.jsonl", official), labels).score == 100.0
    with pytest.raises(HoldfastError, match=r"the question is .* here and") as caught:
        score("pope", put(tmp_path / "c.jsonl", official[::-1]), labels)
    assert caught.value.line == 1


def test_pope_refuses_another_copy_of_the_questions(tmp_path: Path) -> None:
    labels = put(tmp_path / "coco_pope_random.json", json.dumps(pope_label(1, "yes")) + "\n")
    said = put(tmp_path / "a.jsonl", [{"question_id": 1, "prompt": "Is there a cat?\nAnswer", "text": "Yes"}])
    with pytest.raises(HoldfastError, match="same copy of POPE"):
        score("pope", said, labels)


def test_mme_folder(tmp_path: Path) -> None:
    put(tmp_path / "count.txt", "a.png\tIs it?\tYes\tYes, it is.\na.png\tIs it not?\tNo\tno\n")
    put(tmp_path / "OCR.txt", "b.png\tIs it?\tYes\tno\nb.png\tIs it not?\tNo\tNo\n")
    result = score("mme", tmp_path)
    assert (result.details["perception"], result.n) == (250.0, 4)
    put(tmp_path / "count.txt", "a.png\tIs it?\tYes\n")
    with pytest.raises(HoldfastError, match="the row has 3 columns") as caught:
        score("mme", tmp_path)
    assert caught.value.line == 1


def test_mmbench_table_and_llava_rounds(tmp_path: Path) -> None:
    head = "index\tquestion\tA\tB\tC\tanswer\tcategory\tl2-category\tsplit\n"
    table = put(tmp_path / "dev.tsv", head + "7\tq\tcat\tdog\t\tA\tx\ty\tdev\n1000007\tq\tdog\tcat\t\tB\tx\ty\tdev\n")
    said = put(tmp_path / "p.jsonl", [{"index": 1000007, "prediction": "B"}, {"index": 7, "prediction": "a cat"}])
    result = score("mmbench", said, table)
    assert (result.n, result.score, result.details["by_category"]["x"]["n"]) == (1, 100.0, 1)
    single = put(tmp_path / "one.tsv", head + "7\tq\tcat\tdog\t\tA\tx\ty\tdev\n")
    rounds = [
        {"question_id": 7, "round_id": 0, "text": "A", "options": ["cat", "dog"], "option_char": ["A", "B"]},
        {"question_id": 7, "round_id": 1, "text": "A", "options": ["dog", "cat"], "option_char": ["B", "A"]},
    ]
    assert score("mmbench", put(tmp_path / "r.jsonl", rounds), single).score == 0.0
    rounds[1]["text"] = "B"
    assert score("mmbench", put(tmp_path / "r.jsonl", rounds), single).score == 100.0


def test_gqa_questions(tmp_path: Path) -> None:
    def question(answer: str, structural: str) -> dict[str, Any]:
        steps = [{"operation": "select", "argument": "x"}, {"operation": "query", "argument": "name"}]
        types = {"structural": structural, "semantic": "obj"}
        return {"question": "what is it?", "answer": answer, "imageId": "i", "isBalanced": True, "types": types,
                "groups": {"global": "g"}, "semantic": steps, "entailed": []}  # fmt: skip

    questions = {"01": question("dog", "query"), "02": question("yes", "verify")}
    references = put(tmp_path / "testdev_balanced_questions.json", questions)
    said = [{"questionId": "02", "prediction": "no"}, {"questionId": "01", "prediction": "dog"}]
    result = score("gqa", put(tmp_path / "p.json", said), references)
    assert (result.details["open"]["score"], result.details["binary"]["score"]) == (100.0, 0.0)
    assert result.details["by_steps"] == {"1": {"score": 50.0, "n": 2}}
    merged = [{"question_id": "01", "prompt": "p", "text": "Dog."}, {"question_id": "02", "prompt": "p", "text": "Yes"}]
    assert score("gqa", put(tmp_path / "m.jsonl", merged), references).score == 100.0


def test_caption_references_in_three_layouts(tmp_path: Path) -> None:
    said = put(tmp_path / "r.json", [{"image_id": "1", "caption": "a dog"}, {"image_id": "2", "caption": "two cats"}])
    coco = {"images": [], "annotations": [{"image_id": k, "caption": c} for k, c in ((1, "a dog"), (2, "two cats"))]}
    karpathy = {
        "images": [
            {"imgid": 1, "filename": "1.jpg", "split": "test", "sentences": [{"raw": "a dog"}]},
            {"imgid": 2, "filename": "2.jpg", "split": "test", "sentences": [{"raw": "two cats"}]},
            {"imgid": 3, "filename": "3.jpg", "split": "train", "sentences": [{"raw": "none"}]},
        ]
    }
    token = put(tmp_path / "results_20130124.token", "1.jpg#0\ta dog\n2.jpg#0\ttwo cats\n")
    files = [put(tmp_path / "captions_x.json", coco), put(tmp_path / "dataset_flickr30k.json", karpathy), token]
    scores = [score("flickr30k", said, file).details["CIDEr"] for file in files]
    assert scores[0] == scores[1] == scores[2] > 0


def test_chartqa_and_docvqa(tmp_path: Path) -> None:
    chart = put(tmp_path / "test_human.json", [{"imgname": "1.png", "query": "how many?", "label": "10"}])
    said = put(tmp_path / "p.json", [{"imgname": "1.png", "query": "how many?", "answer": "10.4"}])
    result = score("chartqa", said, chart)
    assert result.score == 100.0 and "human" in result.details["by_split"]


def test_rsvqa_two_files(tmp_path: Path) -> None:
    questions = [
        {"id": k, "type": t, "img_id": 5, "question": "q", "active": True} for k, t in ((0, "count"), (1, "presence"))
    ]
    references = put(tmp_path / "LR_split_test_questions.json", {"questions": questions})
    answers = [{"id": 9, "question_id": k, "answer": a, "active": True} for k, a in ((0, "3"), (1, "yes"))]
    put(tmp_path / "LR_split_test_answers.json", {"answers": answers})
    said = put(tmp_path / "p.jsonl", [{"question_id": 0, "text": "4"}, {"question_id": 1, "text": "Yes"}])
    result = score("rsvqa", said, references)
    assert result.details["by_question_type"]["presence"]["score"] == 100.0
    assert (result.score, result.details["mean_over_question_types"]) == (50.0, 50.0)


def test_ocrvqa_dataset(tmp_path: Path) -> None:
    books = {"b1": {"questions": ["who?", "what?"], "answers": ["Ann", "Art"], "split": 3},
             "b2": {"questions": ["who?"], "answers": ["Bo"], "split": 1}}  # fmt: skip
    said = put(tmp_path / "p.json", {"b1_0": " ann ", "b1_1": "art"})
    result = score("ocrvqa", said, put(tmp_path / "dataset.json", books))
    assert (result.variant, result.score) == ("stripped", 100.0)
    assert score("ocrvqa", said, tmp_path / "dataset.json", variant="lower").score == 50.0


def test_judged_files(tmp_path: Path) -> None:
    completions = [{"model": "judge-1", "choices": [{"message": {"content": f"... Rating: {r}"}}]} for r in (6, 0)]
    result = score("mmhal", put(tmp_path / "eval.json", completions))
    assert (result.score, result.details["hallucination_rate"], result.details["judge"]) == (3.0, 50.0, "judge-1")
    sentences = [{"image_id": 1, "caption": "c", "mscoco_hallucinated_words": [["a", "b"]],
                  "mscoco_generated_words": ["a", "c"]}]  # fmt: skip
    result = score("chair", put(tmp_path / "chair.json", {"overall_metrics": {}, "sentences": sentences}))
    assert (result.details["CHAIRs"], result.details["CHAIRi"]) == (100.0, 50.0)


def test_plain_records_in_one_file_and_in_csv(tmp_path: Path) -> None:
    rows = [{"id": "a", "prediction": "Cat", "answer": "cat"}, {"id": "b", "prediction": "x", "answer": "dog"}]
    assert score("exact_match", put(tmp_path / "p.jsonl", rows)).score == 50.0
    table = put(tmp_path / "p.csv", 'id,prediction\na,"cat, grey"\nb,dog\n')
    references = put(tmp_path / "r.tsv", "id\treference\tquestion\na\tcat, grey\twhich?\nb\tdog\t\n")
    assert score("exact_match", table, references).score == 100.0
    options = [{"id": "1", "text": "dog", "choices": ["cat", "dog"], "label": "B"}]
    assert score("multiple_choice", put(tmp_path / "c.jsonl", options)).score == 100.0


def test_scored_file_is_complete_or_absent(tmp_path: Path) -> None:
    rows = [{"id": "a", "prediction": "The cat", "answer": "cat", "finish_reason": "length", "image": "1.png"}]
    file = put(tmp_path / "p.jsonl", rows)
    out = tmp_path / "deep" / "scored.jsonl"
    write_scored(out, score_reading("exact_match", file))
    (line,) = out.read_text(encoding="utf-8").splitlines()
    record = json.loads(line)
    assert (record["score"], record["lenient"], record["truncated"], record["image"]) == (0.0, 1.0, True, "1.png")
    assert [path.name for path in out.parent.iterdir()] == ["scored.jsonl"]


# bad input


GOOD = [{"question_id": 1, "answer": "red"}, {"question_id": 2, "answer": "blue"}]


def refused(
    tmp_path: Path, predictions: Any, *, name: str = "p.json", task: str = "vqav2", references: Any = None
) -> HoldfastError:
    truth = references if references is not None else annotations(q1="red", q2="blue")
    with pytest.raises(HoldfastError) as caught:
        score(task, put(tmp_path / name, predictions), put(tmp_path / "annotations.json", truth))
    return caught.value


def test_truncated_jsonl(tmp_path: Path) -> None:
    text = json.dumps(GOOD[0]) + "\n" + json.dumps(GOOD[1])[:-9]
    error = refused(tmp_path, text, name="cut.json")
    assert error.line == 2 and "cut off" in error.problem and str(error.file).endswith("cut.json")


def test_truncated_json(tmp_path: Path) -> None:
    error = refused(tmp_path, json.dumps(GOOD)[:-4])
    assert "not valid JSON" in error.problem


def test_nan(tmp_path: Path) -> None:
    error = refused(tmp_path, '[{"question_id": 1, "answer": "red"},\n {"question_id": 2, "answer": NaN}]')
    assert error.line == 2 and "NaN is not a value" in error.problem
    error = refused(tmp_path, '{"question_id": 1, "answer": "x"}\n{"question_id": 2, "answer": NaN}\n')
    assert error.line == 2


@pytest.mark.parametrize(
    ("predictions", "words", "item"),
    [
        ([*GOOD, GOOD[0]], "the id stands twice", "1"),
        ([*GOOD, {"question_id": 3, "answer": "x"}], "not in the references", "3"),
        (GOOD[:1], "1 of 2 items of annotations.json have no prediction", "2"),
        ([{"question_id": 77, "answer": "x"}], "no id is shared", None),
        ([GOOD[0], {"question_id": 2}], "has no 'answer'", "2"),
        ([GOOD[0], {"answer": "x"}], "has no 'question_id'", None),
        ([GOOD[0], {"question_id": 2, "answer": ["x", "y"]}], "list, not text", "2"),
        ([GOOD[0], {"question_id": 2, "answer": True}], "bool, not text", "2"),
        ([{**GOOD[0], "task": "a"}, {**GOOD[1], "task": "b"}], "mixes the tasks 'a' and 'b'", "2"),
        ([1, 2], "not a JSON object", None),
        ([], "the list in the file is empty", None),
        ({"1": "red", "2": "blue", "3": "x"}, "not in the references", "3"),
        ('{"1": "red", "1": "blue"}', "comes twice in one object", "1"),
        ("", "the file is empty", None),
    ],
)
def test_bad_predictions(tmp_path: Path, predictions: Any, words: str, item: str | None) -> None:
    error = refused(tmp_path, predictions)
    assert words in str(error) and str(tmp_path / "p.json") in str(error)
    assert error.item == item
    assert "\n" not in str(error)


def test_duplicates_name_both_lines(tmp_path: Path) -> None:
    error = refused(tmp_path, "".join(json.dumps(r) + "\n" for r in (*GOOD, GOOD[0])), name="x.json")
    assert (error.line, "first on line 1" in error.problem) == (3, True)


def test_intersect_scores_what_both_have(tmp_path: Path) -> None:
    said = put(tmp_path / "p.json", [GOOD[0], {"question_id": 3, "answer": "x"}])
    references = put(tmp_path / "annotations.json", annotations(q1="red", q2="blue"))
    result = score("vqav2", said, references, intersect=True)
    assert (result.n, result.score) == (1, 100.0)


def test_nine_answers(tmp_path: Path) -> None:
    truth = annotations(q1="red", q2="blue")
    truth["annotations"][1]["answers"].pop()
    error = refused(tmp_path, GOOD, references=truth)
    assert "10 answers expected and 9 found" in str(error) and error.item == "2"


def test_missing_prediction_is_counted(tmp_path: Path) -> None:
    said = put(tmp_path / "p.json", [GOOD[0], {"question_id": 2, "answer": None}])
    result = score("vqav2", said, put(tmp_path / "annotations.json", annotations(q1="red", q2="blue")))
    assert (result.n, result.missing, result.score) == (2, 1, 50.0)


def test_not_utf8_and_broken_gzip_and_absent(tmp_path: Path) -> None:
    (tmp_path / "latin.json").write_bytes(b'[\n{"question_id": 1, "answer": "caf\xe9"}]')
    with pytest.raises(HoldfastError, match="not UTF-8") as caught:
        score("exact_match", tmp_path / "latin.json")
    assert caught.value.line == 2
    (tmp_path / "x.json.gz").write_bytes(gzip.compress(b"[]" * 400)[:-12])
    with pytest.raises(HoldfastError, match="cut short"):
        score("exact_match", tmp_path / "x.json.gz")
    with pytest.raises(HoldfastError, match="does not exist"):
        score("exact_match", tmp_path / "absent.json")
    with pytest.raises(HoldfastError, match="needs its references"):
        score("vqav2", put(tmp_path / "p.json", GOOD))


def test_a_table_with_cut_cells(tmp_path: Path) -> None:
    table = put(tmp_path / "p.csv", "id,prediction,reference\na," + "x" * 32767 + ",x\n")
    with pytest.raises(HoldfastError, match="32,767 characters, where Excel cuts") as caught:
        score("exact_match", table)
    assert caught.value.line == 2
    ragged = put(tmp_path / "r.csv", "id,prediction,reference\na,b\n")
    with pytest.raises(HoldfastError, match="fewer cells"):
        score("exact_match", ragged)


def test_unknown_task_and_variant_are_told_before_files_are_read(tmp_path: Path) -> None:
    with pytest.raises(HoldfastError, match="Did you mean 'scienceqa'"):
        score("sciencqa", tmp_path / "absent")
    with pytest.raises(HoldfastError, match="Did you mean 'legacy'"):
        score("vqav2", tmp_path / "absent", variant="legasy")


def test_every_task_names_a_metric_and_a_layout() -> None:
    for name in official_names():
        benchmark = find_benchmark(name)
        assert benchmark is not None and metric_of(benchmark.metrics[name]).name
        with pytest.raises(HoldfastError):
            score(name, Path("/no/such/file"))
    assert {"scienceqa", "iconqa_txt", "exact_match", "anls"} <= set(task_names())


def test_a_file_with_its_own_references_needs_no_others(tmp_path: Path) -> None:
    rows = [{"id": "1", "prediction": "Red.", "references": ["red"] * 10, "answer_type": "other"}]
    result = score("vqav2", put(tmp_path / "p.jsonl", rows))
    assert (result.metric, result.score, result.details["by_answer_type"]["other"]["n"]) == ("vqa_accuracy", 100.0, 1)
    captions = [{"image_id": k, "caption": c, "references": [c]} for k, c in ((1, "a dog"), (2, "two cats"))]
    assert score("coco_captions", put(tmp_path / "c.json", captions)).details["ROUGE_L"] == 1.0


def test_scienceqa_without_a_known_split_refuses_partial_answers(tmp_path: Path) -> None:
    problems = {k: {"question": "q", "choices": ["x", "y"], "answer": 0} for k in ("1", "2")}
    rows = [{"question_id": "1", "prompt": "q", "text": "A"}]
    with pytest.raises(HoldfastError, match="1 of 2 items"):
        score("scienceqa", put(tmp_path / "a.jsonl", rows), put(tmp_path / "problems.json", problems))
