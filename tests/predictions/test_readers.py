"""Every format in miniature, in the layout its tool writes."""

import csv
import gzip
import json
from pathlib import Path

import pytest

from holdfast.errors import HoldfastError
from holdfast.predictions.file import read_predictions
from holdfast.predictions.reading import Ask
from holdfast.scoring.read import read
from holdfast.verdict.compare import compare


def jsonl(path: Path, *rows: dict) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def document(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def xlsx(path: Path, *rows: list) -> Path:
    from openpyxl import Workbook

    book = Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)
    return path


def only(reading):
    ((name, predictions),) = reading.tasks.items()
    return name, predictions


def test_llava_answers(tmp_path) -> None:
    path = jsonl(
        tmp_path / "answers.jsonl",
        {"question_id": 7, "prompt": "what?", "text": "A dog.", "answer_id": "x", "model_id": "m", "metadata": {}},
    )
    reading = read(path, Ask(task="gqa"))
    assert reading.recognised == "LLaVA answer file"
    name, (row,) = only(reading)
    assert (name, row.id, row.prediction, row.question, row.score) == ("gqa", "7", "A dog.", "what?", None)


def test_scienceqa_result_and_output_files(tmp_path) -> None:
    result = document(
        tmp_path / "r.json",
        {"acc": 50.0, "correct": 1, "count": 2, "results": {"4": 1, "9": -1}, "outputs": {"4": "B", "9": "who knows"}},
    )
    name, rows = only(read(result))
    assert name == "scienceqa"
    assert [(row.id, row.prediction, row.status) for row in rows] == [("4", "B", None), ("9", "who knows", "unparsed")]
    entry = {"question": "q", "ground_truth": "B", "pred": "B", "parsed_ans": "B", "is_multimodal": True}
    output = document(
        tmp_path / "answers_output.jsonl",
        {
            "correct": [{"question_id": "4", **entry}],
            "incorrect": [{"question_id": "9", **entry, "parsed_ans": "FAILED"}],
        },
    )
    _, rows = only(read(output))
    assert [(row.id, row.score, row.status) for row in rows] == [("4", 1.0, None), ("9", 0.0, "unparsed")]


def test_vqa_coco_docvqa_vizwiz_results(tmp_path) -> None:
    cases = {
        "VQA results": ({"question_id": 1, "answer": "red"}, "1", "red", ""),
        "COCO caption results": ({"image_id": 3, "caption": "a cat"}, "3", "a cat", "3"),
        "DocVQA results": ({"questionId": 5, "answer": "Coke"}, "5", "Coke", ""),
        "VizWiz results": ({"image": "v.jpg", "answer": "soup"}, "v.jpg", "soup", "v.jpg"),
    }
    for name, (row, item, text, image) in cases.items():
        reading = read(document(tmp_path / "results.json", [row]))
        _, (made,) = only(reading)
        assert (reading.recognised, made.id, made.prediction, made.image) == (name, item, text, image)


def test_pope_answers(tmp_path) -> None:
    rows = [{"question": "Is there a dog?", "answer": "Yes", "image": f"{i}.jpg"} for i in range(2)]
    reading = read(jsonl(tmp_path / "pope.json", *rows))
    assert reading.recognised == "POPE answers"
    assert [row.id for row in only(reading)[1]] == ["0.jpg | Is there a dog?", "1.jpg | Is there a dog?"]
    bare = [{"question": "Is there a dog?", "answer": "Yes"}] * 2
    with pytest.raises(
        HoldfastError, match=r"line 2.*stands twice"
    ):  # no image, no id: only position would tell them apart
        read(jsonl(tmp_path / "bare.json", *bare))


def test_mme_folder(tmp_path) -> None:
    folder = tmp_path / "mme"
    folder.mkdir()
    line = "{0}\tIs this a cat? Please answer yes or no.\t{1}\tYes, it is\n"
    (folder / "existence.txt").write_text(line.format("1.jpg", "Yes") + line.format("2.jpg", "No"), encoding="utf-8")
    (folder / "OCR.txt").write_text(line.format("7.jpg", "Yes"), encoding="utf-8")
    reading = read(folder)
    assert list(reading.tasks) == ["mme_ocr", "mme_existence"] and reading.recognised == "MME results, 2 subtasks"
    row = reading.tasks["mme_existence"][1]
    assert (row.references, row.prediction, row.image) == (("No",), "Yes, it is", "existence/2")
    (folder / "OCR.txt").write_text("7.jpg\tcut", encoding="utf-8")
    with pytest.raises(HoldfastError, match=r"OCR.txt, line 1: the row has 2 columns"):
        read(folder)


def test_iconqa_results(tmp_path) -> None:
    reading = read(document(tmp_path / "p.json", {"choose_txt": {"7": 0}, "fill_in_blank": {"8": "12"}}))
    assert list(reading.tasks) == ["iconqa_choose_txt", "iconqa_fill_in_blank"]
    assert reading.tasks["iconqa_choose_txt"][0].prediction == "0"


def sample(doc_id, score, **more):
    return {
        "doc_id": doc_id,
        "target": "['red', 'crimson']",
        "filtered_resps": ["red"],
        "doc_hash": "h",
        "input": "what colour?",
        "exact_match": score,
        **more,
    }


def test_lmms_eval_samples(tmp_path) -> None:
    name = "20260101_120000_samples_okvqa_val.jsonl"
    reading = read(jsonl(tmp_path / name, sample(0, 1.0), sample(1, True), sample(2, 0.3)))
    task, rows = only(reading)
    assert task == "okvqa_val" and "lmms-eval" in reading.recognised and "'exact_match'" in reading.recognised
    assert [row.score for row in rows] == [1.0, 1.0, 0.3]
    assert rows[0].references == ("red", "crimson") and rows[0].question == "what colour?"
    nested = {"doc_id": 4, "target": "yes", "resps": [["no"]], "pope_accuracy": {"question_id": 4, "score": 0.0}}
    _, (row,) = only(read(jsonl(tmp_path / "x_samples_pope.jsonl", nested)))
    assert (row.prediction, row.score, row.metric) == ("no", 0.0, "pope_accuracy")


def test_lmms_eval_several_metrics_and_filters(tmp_path) -> None:
    rows = [{"doc_id": 0, "target": "a", "filtered_resps": ["a"], "one": 1, "two": 0}]
    path = jsonl(tmp_path / "d_samples_t.jsonl", *rows)
    with pytest.raises(HoldfastError, match=r"several metrics: one, two.*--column score"):
        read(path)
    assert only(read(path, Ask(columns={"score": "two"})))[1][0].score == 0.0
    twice = [sample(0, 1.0, filter="strict"), sample(0, 0.0, filter="flexible")]
    reading = read(jsonl(tmp_path / "d_samples_u.jsonl", *twice))
    assert [row.score for row in only(reading)[1]] == [1.0] and "left out 1" in reading.notes[0]


def test_lmms_eval_folder(tmp_path) -> None:
    for task in ("gqa", "pope"):
        jsonl(tmp_path / "model" / f"2026_samples_{task}.jsonl", sample(0, 1.0))
    document(tmp_path / "model" / "2026_results.json", {"results": {}})
    assert sorted(read(tmp_path / "model").tasks) == ["gqa", "pope"]


HEADER = ["index", "question", "A", "B", "C", "answer", "category", "prediction"]


def test_vlmevalkit_tables(tmp_path) -> None:
    rows = [[1, "which?", "cat", "dog", None, "B", "x", "B. dog"], [2, "what?", "x", "y", "z", "A", "x", None]]
    path = xlsx(tmp_path / "Model_MMBench.xlsx", HEADER, *rows)
    reading = read(path)
    _, made = only(reading)
    assert reading.recognised == "VLMEvalKit table, without scores"
    assert [(row.id, row.choices, row.references, row.prediction) for row in made] == [
        ("1", ("cat", "dog"), ("B",), "B. dog"),
        ("2", ("x", "y", "z"), ("A",), ""),
    ]
    judged = [[*HEADER, "hit"], *([*row, hit] for row, hit in zip(rows, (1, 0), strict=True))]
    name, made = only(read(xlsx(tmp_path / "Model_MMBench_openai_result.xlsx", *judged)))
    assert name == "Model_MMBench" and [row.score for row in made] == [1.0, 0.0]
    tsv = tmp_path / "Model_AI2D.tsv"
    with tsv.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, delimiter="\t").writerows(
            [["index", "question", "answer", "prediction"], [5, "q\nr", "a", "b"]]
        )
    assert only(read(tsv))[1][0].question == "q\nr"


def test_cut_xlsx_cell_and_broken_workbook(tmp_path) -> None:
    path = xlsx(tmp_path / "cut.xlsx", HEADER, [9, "q", "a", "b", "c", "A", "x", "w" * 32_767])
    with pytest.raises(HoldfastError, match=r"cut.xlsx, line 2, item 9: the cell 'prediction' has exactly 32,767"):
        read(path)
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(HoldfastError, match="not a readable xlsx"):
        read(path)


def test_plain_tables(tmp_path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("qid,output,gold,acc\n1,red,blue,0\n2,,blue,0.5\n3,blue,blue,True\n", encoding="utf-8")
    reading = read(path)
    assert reading.recognised == "plain table (id = qid, prediction = output, score = acc, references = gold)"
    assert [(row.id, row.prediction, row.score) for row in only(reading)[1]] == [
        ("1", "red", 0.0),
        ("2", "", 0.5),
        ("3", "blue", 1.0),
    ]
    path.write_text("item,said,points\na,red,100\nb,blue,nan\n", encoding="utf-8")
    with pytest.raises(HoldfastError, match=r"no column looks like the prediction.*--column prediction=COLUMN"):
        read(path)
    columns = {"id": "item", "prediction": "said", "score": "points"}
    with pytest.raises(HoldfastError, match="line 3, item b: 'points' is nan"):
        read(path, Ask(columns=columns, scale=100))
    with pytest.raises(HoldfastError, match="no column 'hit'"):
        read(path, Ask(columns={**columns, "score": "hit"}))
    path.write_text("id,prediction\n1,a,b\n", encoding="utf-8")
    with pytest.raises(HoldfastError, match="line 2: the row has more cells"):
        read(path)


def test_unknown_things_are_refused(tmp_path) -> None:
    with pytest.raises(HoldfastError, match="no result file that is known"):
        read(document(tmp_path / "a.json", {"accuracy": {"x": 1}}))
    (tmp_path / "weights.bin").write_bytes(b"12")
    with pytest.raises(HoldfastError, match="of no known form"):
        read(tmp_path / "weights.bin")
    (tmp_path / "cut.json").write_text('[{"question_id": 1, "answer": "a"}, {"ques', encoding="utf-8")
    with pytest.raises(
        HoldfastError, match=r"cut.json, line 1: this is not valid JSON: it ends in the middle of a value"
    ):
        read(tmp_path / "cut.json")


def test_scoring_with_references(tmp_path) -> None:
    answers = [{"question_id": i, "text": text, "model_id": "m"} for i, text in enumerate(["red", "Blue.", "no"])]
    base = jsonl(tmp_path / "base.jsonl", *answers)
    tuned = jsonl(tmp_path / "tuned.jsonl", *answers[::-1])
    gold = jsonl(tmp_path / "gold.jsonl", *({"id": i, "answer": a} for i, a in enumerate(["red", "blue", "yes"])))
    task = compare(base, tuned, references=gold, metric="exact_match", task="colours").tasks["colours"]
    assert task.before == task.after == pytest.approx(2 / 3)
    short = jsonl(tmp_path / "short.jsonl", {"id": 0, "answer": "red"})
    with pytest.raises(
        HoldfastError, match=r"base.jsonl, line 2, item 1: the id is not in the references short.jsonl.*same split"
    ):
        compare(base, base, references=short, metric="exact_match")
    with pytest.raises(HoldfastError, match=r"unknown metric 'exactmatch'.*Did you mean 'exact_match'"):
        compare(base, base, references=gold, metric="exactmatch")


GOLD = Path(__file__).resolve().parents[2] / ".." / "shared" / "gold"


@pytest.mark.skipif(not GOLD.is_dir(), reason="third-party gold files are not here")
@pytest.mark.parametrize(
    ("task", "predictions", "references", "metric", "score"),
    [
        ("scienceqa", "scienceqa/llava-v1.5-13b_answers.jsonl", "scienceqa/llava_test_CQM-A.json", None, 74.39283),
        ("vqav2", "vqav2_subset/pred_messy.json", "vqav2_subset/annotations_valid.json.gz", "vqa_accuracy:official",
         70.19),
        ("vqav2", "vqav2_subset/pred_yes.json", "vqav2_subset/annotations_valid.json.gz", None, 20.85),
        (None, "anls/submission.json", "anls/gold_label.json", "anls", 37.77778),
        ("coco_captions", "coco_caption_fakecap/captions_val2014_fakecap_results.json",
         "coco_caption_fakecap/captions_val2014_subset1000.json", None, 59.97905),
        ("iconqa", "iconqa/patch_trm_predictions.json", "iconqa", None, 100 * 128 / 150),
    ],
)  # fmt: skip
@pytest.mark.skipif(not GOLD.is_dir(), reason="third-party gold files are not here")
def test_official_files_give_official_scores(task, predictions, references, metric, score) -> None:
    path = GOLD / predictions
    (compared,) = compare(path, path, task=task, references=GOLD / references, metric=metric).tasks.values()
    assert 100 * compared.before == pytest.approx(score, abs=0.005)
    assert compared.learned == compared.forgot == 0


@pytest.mark.skipif(not GOLD.is_dir(), reason="third-party gold files are not here")
def test_pope_clusters_its_six_questions_an_image_and_names_the_official_figure() -> None:
    path = GOLD / "pope" / "answers_llava-v1.5-13b.jsonl"
    comparison = compare(path, path, task="pope", references=GOLD / "pope")
    assert (comparison.tasks["pope"].n, comparison.tasks["pope"].clusters) == (8910, 500)
    assert len(comparison.notes) == 1 and "85.95" in comparison.notes[0]


def test_mme_is_scored_from_its_own_gold(tmp_path) -> None:
    line = "{0}\tIs it a cat? Please answer yes or no.\t{1}\t{2}\n"
    for side, said in (("base", ("Yes", "No")), ("tuned", ("Yes", "Yes"))):
        (tmp_path / side).mkdir()
        text = "".join(line.format("1.jpg", gold, answer) for gold, answer in zip(("Yes",), said[:1], strict=True))
        text += line.format("2.jpg", "No", said[1])
        (tmp_path / side / "existence.txt").write_text(text, encoding="utf-8")
    task = compare(tmp_path / "base", tmp_path / "tuned", metric="exact_match").tasks["mme_existence"]
    assert (task.before, task.after, task.forgot) == (1.0, 0.5, 1)
    (task,) = compare(tmp_path / "base", tmp_path / "tuned").tasks.values()
    assert (task.metric, task.before, task.after, task.forgot) == ("mme", 1.0, 0.5, 1)


def test_gzipped_json(tmp_path) -> None:
    path = tmp_path / "results.json.gz"
    with gzip.open(path, "wt", encoding="utf-8") as stream:
        json.dump([{"question_id": 1, "answer": "red"}], stream)
    assert read(path).recognised == "VQA results"


def test_extras_of_one_kind_are_kept_once_and_equal_numbers_stay_apart(tmp_path: Path) -> None:
    given: list[dict[str, object]] = [{"kind": "a"}, {"kind": "a"}, {"kind": 1}, {"kind": True}, {"kind": 1.0}]
    given += [{"kind": ["a"]}, {"kind": ["a"]}]
    file = tmp_path / "p.jsonl"
    rows = [{"id": f"q{at}", "task": "t", "prediction": "x", "extra": extra} for at, extra in enumerate(given)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    found = [prediction.extra for prediction in read_predictions(file)]
    assert [repr(dict(extra)) for extra in found] == [repr(extra) for extra in given]
    assert found[0] is found[1]
