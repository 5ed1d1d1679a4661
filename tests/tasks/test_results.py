"""Result files of the newer benchmarks, official and of other tools, in miniature: what is read and what it scores."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.errors import HoldfastError
from holdfast.predictions.reading import Ask
from holdfast.predictions.record import Score
from holdfast.scoring.judge import scored
from holdfast.scoring.score import score
from tests.support.miniatures import hallusionbench, mathvista, mmvet, ocrbench, seedbench_img, write

LETTERS = "ABCD"


def workbook(file: Path, *rows: dict[str, Any]) -> Path:
    """A table as VLMEvalKit writes it."""
    from openpyxl import Workbook

    book = Workbook()
    names = list(dict.fromkeys(name for row in rows for name in row))
    for cells in (names, *([row.get(name) for name in names] for row in rows)):
        book.active.append(cells)
    book.save(file)
    return file


def samples(file: Path, *rows: tuple[dict[str, Any], str, str], **logged: Any) -> Path:
    """``--log_samples`` of lmms-eval: doc, target and response of each sample."""
    made = [
        {"doc_id": at, "doc": doc, "target": target, "resps": [[said]], "filtered_resps": [said], **logged}
        for at, (doc, target, said) in enumerate(rows)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
    return file


def changed(file: Path, change: Any) -> Path:
    content = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps(change(content)), encoding="utf-8")
    return file


# MMMU


def mmmu_output(said: str, gold: str, key: str, *, choices: tuple[str, ...] = ("one", "two")) -> dict[str, Any]:
    row = {
        "id": key,
        "question_type": "multiple-choice" if choices else "short-answer",
        "answer": gold,
        "response": said,
    }
    return row | ({"all_choices": list("AB"), "index2ans": dict(zip("AB", choices, strict=True))} if choices else {})


def test_mmmu_outputs_by_subject(tmp_path: Path) -> None:
    write(tmp_path / "Art" / "output.json", [mmmu_output("(B)", "B", "validation_Art_1")])
    rows = [
        mmmu_output("no idea", "A", "validation_Math_1"),
        mmmu_output("x = 3", "3", "validation_Math_2", choices=()),
    ]
    write(tmp_path / "Math" / "output.json", rows)
    whole = score("mmmu", tmp_path)
    assert (whole.score, whole.n, whole.unparsed) == (pytest.approx(200 / 3), 3, 1)
    assert whole.details["by_discipline"]["Science"] == {"score": 50.0, "n": 2}
    assert score("mmmu", tmp_path / "Math" / "output.json").score == 50.0


def test_mmmu_parsed_answers_against_the_answer_file(tmp_path: Path) -> None:
    said, gold = tmp_path / "total_val_output.json", tmp_path / "answer_dict_val.json"
    write(said, {"validation_Art_1": "B", "validation_Math_2": "36 watts"})
    kinds = ("multiple-choice", "short-answer")
    golds = (("validation_Art_1", "B"), ("validation_Math_2", ["36", "thirty-six"]))
    write(gold, {key: {"question_type": k, "ground_truth": g} for (key, g), k in zip(golds, kinds, strict=True)})
    assert score("mmmu", said, gold).score == 100.0


def test_mmmu_of_other_tools(tmp_path: Path) -> None:
    table = workbook(
        tmp_path / "m_MMMU_DEV_VAL.xlsx",
        {"index": 1, "id": "validation_Art_1", "question": "?", "A": "one", "B": "two", "answer": "B",
         "prediction": "B", "question_type": "multiple-choice", "split": "validation"},
        {"index": 2, "id": "validation_Math_2", "question": "?", "answer": "['3', 'three']", "prediction": "= 3.0",
         "question_type": "open", "split": "validation"},
    )  # fmt: skip
    result = score("mmmu", table)
    assert (result.score, set(result.details["by_subject"])) == (100.0, {"Art", "Math"})
    logged = samples(
        tmp_path / "20260101_samples_mmmu_val.jsonl",
        ({"id": "validation_Art_1", "options": "['one', 'two']", "question_type": "multiple-choice"}, "B", "(B)"),
        ({"id": "validation_Math_2", "options": "[]", "question_type": "open"}, "3", "so 4"),
    )
    other = score("mmmu", logged)
    assert (other.score, other.details["by_subject"]["Art"]["score"]) == (50.0, 100.0)


# MathVista


def test_mathvista_output(tmp_path: Path) -> None:
    mathvista(tmp_path)
    problems = json.loads((tmp_path / "data" / "testmini.json").read_text(encoding="utf-8"))
    problems["1"] |= {"response": "It is 1.2 metres.", "extraction": "1.23"}
    problems["2"] |= {"response": "left"}
    text = json.dumps(problems).replace('"precision": null', '"precision": NaN')
    output = tmp_path / "output_model.json"
    output.write_text(text, encoding="utf-8")
    result = score("mathvista", output)
    assert (result.score, result.details["extractions_read_in"]) == (100.0, 1)
    assert result.details["by_skills"] == {"statistical reasoning": {"score": 100.0, "n": 2}}
    write(tmp_path / "said.json", {"1": "1.2", "2": "right"})
    assert score("mathvista", tmp_path / "said.json", tmp_path).score == 50.0


def test_mathvista_of_other_tools(tmp_path: Path) -> None:
    row = {"index": 1, "question": "?", "answer": "left", "answer_option": "A", "choices": "['left', 'right']",
           "question_type": "multi_choice", "answer_type": "text", "skills": "['a b', 'c']", "task": "t",
           "prediction": "The answer is A", "res": "A"}  # fmt: skip
    table = workbook(tmp_path / "m_MathVista_MINI.xlsx", row)
    for variant in ("official", "vlmevalkit"):
        result = score("mathvista", table, variant=variant)
        assert (result.score, set(result.details["by_skills"])) == (100.0, {"a b", "c"})
    doc = {"pid": "1", "choices": None, "question_type": "free_form", "answer_type": "integer", "precision": None,
           "metadata": {"task": "t", "skills": ["c"]}}  # fmt: skip
    logged = samples(tmp_path / "x_samples_mathvista_testmini_format.jsonl", (doc, "7", "7"), (doc, "8", "about 8"))
    result = score("mathvista", logged)
    assert (result.score, result.unparsed, result.details["by_task"]["t"]["n"]) == (50.0, 1, 2)


# OCRBench, HallusionBench, SEED-Bench, MM-Vet


def test_ocrbench_results(tmp_path: Path) -> None:
    ocrbench(tmp_path)
    file = tmp_path / "OCRBench" / "OCRBench.json"
    results = tmp_path / "model.json"
    first, second = json.loads(file.read_text(encoding="utf-8"))
    write(results, [first | {"predict": "It says Centre."}, second])
    result = score("ocrbench", results)
    assert (result.score, result.missing, result.details["right"]) == (500.0, 1, 1)
    write(tmp_path / "said.json", {"HME100k/7": "x^2"})
    assert score("ocrbench", tmp_path / "said.json", tmp_path).details["by_dataset"]["HME100k"]["score"] == 100.0
    row = {"index": 0, "question": "?", "answer": "['x ^ 2', 'y']", "prediction": "x^2", "category": second["type"]}
    assert score("ocrbench", workbook(tmp_path / "m_OCRBench.xlsx", row)).score == 1000.0
    doc = {"question": "?", "question_type": "Doc-oriented VQA", "dataset": "docVQA", "answer": ["a", "b"]}
    logged = samples(tmp_path / "x_samples_ocrbench.jsonl", (doc, "['a', 'b']", "it is B"))
    assert score("ocrbench", logged, variant="lmms_eval").details["by_kind"] == {
        "Doc-oriented VQA": {"score": 1, "n": 1}
    }


def test_hallusionbench_results(tmp_path: Path) -> None:
    hallusionbench(tmp_path)
    file = tmp_path / "HallusionBench.json"
    rows = json.loads(file.read_text(encoding="utf-8"))
    bare = [{name: row[name] for name in row if name != "gt_answer"} for row in rows]
    results = tmp_path / "HallusionBench_result.json"
    write(
        results,
        [row | {"model_prediction": said} for row, said in zip(bare, ("I cannot tell", "No.", "Yes."), strict=True)],
    )
    with pytest.raises(HoldfastError, match="needs its references"):
        score("hallusionbench", results)
    plain = score("hallusionbench", results, file)
    assert (plain.score, plain.unparsed, plain.details["judged"]) == (pytest.approx(200 / 3), 1, 0)
    checks = zip(bare, "210", strict=True)
    write(results, [row | {"model_prediction": "x", "gpt4v_output_gpt_check": check} for row, check in checks])
    judged = score("hallusionbench", results)
    assert (judged.score, judged.details["judged"]) == (pytest.approx(200 / 3), 3)  # unclear without a figure is right


def test_hallusionbench_of_other_tools(tmp_path: Path) -> None:
    row = {"index": "HB_VD_ocr_0_1_2", "question": "?", "answer": "Yes", "category": "VD", "l2-category": "ocr"}
    table = workbook(tmp_path / "m_HallusionBench.xlsx", row | {"prediction": "Yes, it is."})
    assert score("hallusionbench", table, variant="vlmevalkit").details["fAcc"] == 100.0
    doc = {"category": "VD", "subcategory": "ocr", "visual_input": "1", "set_id": "0", "figure_id": "1",
           "question_id": "2", "gt_answer": "0", "gt_answer_details": "It is not."}  # fmt: skip
    logged = samples(tmp_path / "x_samples_hallusion_bench_image.jsonl", (doc, "It is not.", "No"))
    assert score("hallusionbench", logged).score == 100.0


def test_seedbench_upload(tmp_path: Path) -> None:
    seedbench_img(tmp_path)
    upload = tmp_path / "results.json"
    write(upload, '{"question_id": "101669", "prediction": "C"}\n{"question_id": "v1", "prediction": "A"}\n')
    result = score("seedbench", upload, tmp_path / "SEED-Bench.json")
    assert result.score == 50.0
    assert result.details["by_dimension"]["Instances Counting"] == {"score": 100.0, "n": 1}
    assert result.details["video"] == {"score": 0.0, "n": 1}
    doc = {"question": "?", "choice_a": "1", "question_type_id": 5, "question_id": "101669", "data_type": "image"}
    logged = samples(tmp_path / "x_samples_seedbench.jsonl", (doc, "C", "c"))
    assert score("seedbench", logged, variant="lmms_eval").score == 100.0


def test_mmvet_grades(tmp_path: Path) -> None:
    mmvet(tmp_path)
    grades = tmp_path / "model_gpt-4-0613-grade-2runs.json"
    write(grades, {"v1_0": {"model": ["gpt-4-0613"] * 2, "content": ["0.5", "1.0"], "score": [0.5, 1.0]}})
    result = score("mmvet", grades, tmp_path / "mm-vet.json")
    assert (result.score, result.details["runs"], result.details["judge"]) == (75.0, [50.0, 100.0], "gpt-4-0613")
    assert set(result.details["by_capability"]) == {"ocr", "math"}
    row = {
        "index": 1,
        "question": "?",
        "answer": "1",
        "prediction": "x",
        "category": "ocr,math",
        "score": 0.4,
        "log": "",
    }
    table = score("mmvet", workbook(tmp_path / "m_MMVet_gpt-4-turbo.xlsx", row))
    assert (table.score, set(table.details["by_capability"])) == (40.0, {"ocr", "math"})
    write(tmp_path / "said.json", {"v1_0": "x is -1"})
    with pytest.raises(HoldfastError, match="has no grade"):
        score("mmvet", tmp_path / "said.json", tmp_path)


# Single choice in other tools' files


def choice_row(index: int, said: str, gold: str, **more: Any) -> dict[str, Any]:
    return {
        "index": index,
        "question": "?",
        "A": "cat",
        "B": "dog",
        "C": "cow",
        "answer": gold,
        "prediction": said,
    } | more


@pytest.mark.parametrize("task", ["mmstar", "seedbench_img", "realworldqa", "ai2d", "mmtbench"])
def test_tables_of_vlmevalkit(task: str, tmp_path: Path) -> None:
    rows = [
        choice_row(1, "B", "B", category="x", **{"l2-category": "y"}),
        choice_row(2, "A", "C", category="x", **{"l2-category": "y"}),
    ]
    result = score(task, workbook(tmp_path / "m_T.xlsx", *rows))
    assert (result.score, result.n) == (50.0, 2)
    named = "by_dimension" if task == "seedbench_img" else "by_category"
    assert result.details[named] == {"x": {"score": 50.0, "n": 2}}


def test_official_table_of_mmstar(tmp_path: Path) -> None:
    rows = [
        {"index": "0", "question": "Which?\nOptions: A: up, B: down", "answer": "B", "category": "math",
         "l2_category": "geometry", "bench": "MathVista", "prediction": said}
        for said in ("B: down",)
    ]  # fmt: skip
    result = score("mmstar", workbook(tmp_path / "m_MMStar.xlsx", *rows))
    assert result.details["by_l2_category"] == {"geometry": {"score": 100.0, "n": 1}}


def test_ccbench_counts_questions(tmp_path: Path) -> None:
    rows = [choice_row(7, "A", "A", category="food"), choice_row(1_000_007, "A", "B", category="food")]
    result: Score = score("ccbench", workbook(tmp_path / "m_CCBench.xlsx", *rows))
    assert (result.score, result.n, result.details["vanilla"]) == (0.0, 1, 100.0)


@pytest.mark.parametrize(
    ("task", "doc", "target", "said"),
    [
        ("mmstar", {"question": "?", "category": "math", "l2_category": "geometry"}, "B", "B"),
        ("realworldqa", {"question": "How many?"}, "3", "3."),
        ("ai2d", {"question": "?", "options": ["a", "b"], "answer": "1"}, "B", "B."),
        ("mmtbench", {"question": "?", "A": "cat", "B": "dog", "category": "x", "l2-category": "y"}, "B", "(B)"),
    ],
)
def test_samples_of_lmms_eval(task: str, doc: dict[str, Any], target: str, said: str, tmp_path: Path) -> None:
    logged = samples(tmp_path / f"x_samples_{task}.jsonl", (doc, target, said), (doc, target, "no"))
    assert score(task, logged, variant="lmms_eval").score == 50.0


# Samples of lmms-eval since it leaves the question out: what its metrics logged tells what a metric here needs


def bare_samples(file: Path, *rows: dict[str, Any]) -> Path:
    made = [{"doc_id": at, "input": "?", "doc_hash": "0", "token_counts": [None]} | row for at, row in enumerate(rows)]
    file.write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
    return file


def bare(target: str, said: str, metric: str, **logged: Any) -> dict[str, Any]:
    return {"target": target, "filtered_resps": said, metric: logged}


@pytest.mark.parametrize(
    ("task", "row", "details"),
    [
        (
            "mmmu",
            bare("B", "(B)", "mmmu_acc", id="validation_Art_1", subdomain="Art", question_type="multiple-choice",
                 answer="B", parsed_pred=["B"]),
            {"by_subject": {"Art": {"score": 100.0, "n": 1}}},
        ),
        (
            "mathvista",
            bare("5", "It is five.", "llm_as_judge_eval", question_id="1", extraction="5", prediction="5",
                 true_false=True, question_type="free_form", answer_type="integer", metadata={"skills": ["x y"]}),
            {"by_skills": {"x y": {"score": 100.0, "n": 1}}, "extractions_read_in": 1},
        ),
        (
            "ocrbench",
            bare("['a']", "an a", "ocrbench_accuracy", question_type="Doc-oriented VQA", score=1, prediction="an a"),
            {"right": 1, "by_type": {"Doc-oriented VQA": {"score": 1, "n": 1}}},
        ),
        (
            "hallusionbench",
            bare("It is not.", "No", "aAcc", category="VD", subcategory="ocr", visual_input="1", set_id="0",
                 figure_id="1", question_id="2", gt_answer="0", model_prediction="No"),
            {"fAcc": 100.0},
        ),
        (
            "mmstar",
            bare("B", "B", "math", question_id="3", l2_category="geometry", score=1.0),
            {"by_category": {"math": {"score": 100.0, "n": 1}}},
        ),
        (
            "mmbench",
            bare("B", "B", "gpt_eval_score", index=1_000_007, A="cat", B="dog", answer="B", **{"L2-category": "x"}),
            {"by_l2_category": {"x": {"score": 100.0, "n": 1}}},
        ),
        (
            "mmvet",
            bare("1", "x", "gpt_eval_score", question_id="v1_0", capabilities="ocr,math", score=1.0, eval_model="gpt"),
            {"judge": "gpt", "by_integration": {"ocr_math": {"score": 100.0, "n": 1}}},
        ),
        ("seedbench", bare("C", "C", "seed_all", pred="C", answer="C", question_id="1"), {}),
    ],
)  # fmt: skip
def test_samples_without_their_questions(
    task: str, row: dict[str, Any], details: dict[str, Any], tmp_path: Path
) -> None:
    result = score(task, bare_samples(tmp_path / f"20260806_samples_{task}.jsonl", row))
    assert result.score == pytest.approx(1000 if task == "ocrbench" else 100)
    assert {name: result.details[name] for name in details} == details


def test_compare_reads_what_score_reads(tmp_path: Path) -> None:
    """Named or not, a result file gives one number."""
    mathvista(tmp_path / "m")
    problems = json.loads((tmp_path / "m" / "data" / "testmini.json").read_text(encoding="utf-8"))
    write(tmp_path / "output.json", {key: row | {"response": row["answer"]} for key, row in problems.items()})
    ocrbench(tmp_path / "o")
    questions = json.loads((tmp_path / "o" / "OCRBench" / "OCRBench.json").read_text(encoding="utf-8"))
    write(tmp_path / "ocr.json", [row | {"predict": "centre"} for row in questions])
    hallusionbench(tmp_path / "h")
    asked = json.loads((tmp_path / "h" / "HallusionBench.json").read_text(encoding="utf-8"))
    write(tmp_path / "hb.json", [row | {"model_prediction": "yes"} for row in asked])
    write(tmp_path / "mmmu" / "Art" / "output.json", [mmmu_output("B", "B", "validation_Art_1")])
    files = {"mathvista": "output.json", "ocrbench": "ocr.json", "hallusionbench": "hb.json", "mmmu": "mmmu"}
    for task, name in files.items():
        result = score(task, tmp_path / name)
        for ask in (Ask(), Ask(task=task), Ask(metric=task)):
            reading = scored(tmp_path / name, ask)
            assert (list(reading.tasks), reading.totals[task].score) == ([task], result.score), (task, ask)


ODD = (None, True, -1, 1.5, "", [], ["x"], {"a": 1}, [[1]], "['a'")


def places(content: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value below its top."""
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in inner:
        yield (*place, key)
        yield from places(value, (*place, key))


def test_odd_values_are_refused_in_words_or_scored(tmp_path: Path) -> None:
    mathvista(tmp_path)
    hallusionbench(tmp_path)
    mmvet(tmp_path)
    problems = json.loads((tmp_path / "data" / "testmini.json").read_text(encoding="utf-8"))
    asked = json.loads((tmp_path / "HallusionBench.json").read_text(encoding="utf-8"))
    contents: dict[str, tuple[Any, Path | None]] = {
        "mathvista": ({key: row | {"response": "left", "extraction": "1"} for key, row in problems.items()}, None),
        "hallusionbench": ([row | {"model_prediction": "yes", "same": "1"} for row in asked], None),
        "mmvet": ({"v1_0": {"model": ["g"], "content": ["1"], "score": [1.0]}}, tmp_path / "mm-vet.json"),
        "mmmu": (
            [mmmu_output("B", "B", "validation_Art_1"), mmmu_output("3", "3", "validation_Art_2", choices=())],
            None,
        ),
    }
    tried = 0
    for task, (content, references) in contents.items():
        for number, place in enumerate(places(content)):
            broken = json.loads(json.dumps(content))
            holder = broken
            for key in place[:-1]:
                holder = holder[key]
            holder[place[-1]] = ODD[number % len(ODD)]
            write(tmp_path / "broken.json", broken)
            try:
                json.dumps(score(task, tmp_path / "broken.json", references).to_json())
            except HoldfastError as error:
                assert len(str(error)) < 2_000
            tried += 1
    assert tried > 100
