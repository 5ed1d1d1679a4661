"""Over every layout there is: ``score`` and ``compare`` give the same number for one file, and the right one.

Each maker writes the same small set of questions in one layout. What is right is computed here, from the answers drawn.
"""

from __future__ import annotations

import csv
import gzip
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from holdfast.predictions.layout import FolderLayout, Layout
from holdfast.predictions.reading import Look
from holdfast.scoring.benchmarks import all_benchmarks, find_benchmark
from holdfast.scoring.read import _readers
from holdfast.scoring.score import score_reading
from holdfast.verdict.compare import compare


@dataclass(frozen=True)
class Asked:
    """One question with its options, the index of the right one and of the one said."""

    number: int
    options: tuple[str, str]
    gold: int
    said: int

    @property
    def right(self) -> bool:
        return self.gold == self.said


@dataclass(frozen=True)
class Made:
    """A file in some layout, what it is asked for by, its references, and the mean of its items in points."""

    path: Path
    name: str
    expected: float
    references: Path | None = None


def draw(seed: int) -> list[Asked]:
    """Ten questions, some answered right and some wrong."""
    dice = random.Random(seed)
    words = dice.sample(["cat", "dog", "red", "blue", "seven", "yard", "nine", "bus"], 8)
    asked = []
    for number in range(10):
        first, second = dice.sample(words, 2)
        gold = dice.randrange(2)
        said = gold if number == 0 else 1 - gold if number == 1 else dice.randrange(2)
        asked.append(Asked(number, (first, second), gold, said))
    return asked


def share(asked: Sequence[Asked]) -> float:
    return 100 * sum(one.right for one in asked) / len(asked)


def lines(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def document(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def delimited(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
        writer.writeheader()
        writer.writerows(rows)
    return path


def xlsx(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    from openpyxl import Workbook

    book = Workbook()
    book.active.append(list(rows[0]))
    for row in rows:
        book.active.append(list(row.values()))
    book.save(path)
    return path


def gzipped(path: Path) -> Path:
    packed = path.with_name(path.name + ".gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    return packed


def records(asked: Sequence[Asked], said: str = "prediction", gold: str = "references") -> list[dict[str, Any]]:
    return [
        {"id": f"q{a.number}", "question": "what?", said: a.options[a.said], gold: a.options[a.gold]} for a in asked
    ]


def gold_file(folder: Path, asked: Sequence[Asked], ids: Callable[[Asked], str] = lambda a: f"q{a.number}") -> Path:
    return lines(folder / "gold.jsonl", [{"id": ids(a), "answer": a.options[a.gold]} for a in asked])


def own(folder: Path, asked: Sequence[Asked]) -> Made:
    rows = [{**row, "references": [row["references"]], "task": "t"} for row in records(asked)]
    return Made(lines(folder / "own.jsonl", rows), "exact_match", share(asked))


def run_folder(folder: Path, asked: Sequence[Asked]) -> Made:
    (folder / "run" / "predictions").mkdir(parents=True)
    rows = [{**row, "references": [row["references"]], "task": "t"} for row in records(asked)]
    lines(folder / "run" / "predictions" / "t.jsonl", rows)
    return Made(folder / "run", "exact_match", share(asked))


def plain_lines(folder: Path, asked: Sequence[Asked]) -> Made:
    return Made(lines(folder / "p.jsonl", records(asked, "response", "answer")), "exact_match", share(asked))


def plain_list(folder: Path, asked: Sequence[Asked]) -> Made:
    return Made(document(folder / "p.json", records(asked, "output", "gt")), "exact_match", share(asked))


def readme_fields(folder: Path, asked: Sequence[Asked]) -> Made:
    rows = [{**row, "image": f"{at}.jpg"} for at, row in enumerate(records(asked, "prediction", "answer"))]
    return Made(lines(folder / "p.jsonl", rows), "exact_match", share(asked))


def plain_csv(folder: Path, asked: Sequence[Asked]) -> Made:
    rows = [{**row, "references": json.dumps([row["references"], "zzz"])} for row in records(asked)]
    return Made(gzipped(delimited(folder / "p.csv", rows)), "exact_match", share(asked))


def python_lists(folder: Path, asked: Sequence[Asked]) -> Made:
    rows = [{**row, "references": str(["zzz", row["references"]])} for row in records(asked)]
    return Made(delimited(folder / "p.tsv", rows), "exact_match", share(asked))


def plain_xlsx(folder: Path, asked: Sequence[Asked]) -> Made:
    return Made(xlsx(folder / "p.xlsx", records(asked, "model_output", "label")), "exact_match", share(asked))


def id_map(folder: Path, asked: Sequence[Asked]) -> Made:
    said = document(folder / "map.json", {f"q{a.number}": a.options[a.said] for a in asked})
    return Made(said, "exact_match", share(asked), gold_file(folder, asked))


def record_map(folder: Path, asked: Sequence[Asked]) -> Made:
    content = {str(a.number): {"response": a.options[a.said], "answer": a.options[a.gold]} for a in asked}
    return Made(document(folder / "map.json", content), "exact_match", share(asked))


def llava(folder: Path, asked: Sequence[Asked]) -> Made:
    rows = [
        {
            "question_id": a.number,
            "prompt": "what?\nAnswer",
            "text": a.options[a.said],
            "answer_id": "x",
            "model_id": "m",
        }
        for a in asked
    ]
    said = lines(folder / "answers.jsonl", rows)
    return Made(said, "exact_match", share(asked), gold_file(folder, asked, lambda a: str(a.number)))


def lmms_eval(folder: Path, asked: Sequence[Asked]) -> Made:
    rows = [
        {"doc_id": a.number, "doc": {"question": "what?"}, "target": str([a.options[a.gold]]),
         "filtered_resps": [a.options[a.said]], "exact_match": float(a.right)}
        for a in asked
    ]  # fmt: skip
    return Made(lines(folder / "20260101_samples_t.jsonl", rows), "exact_match", share(asked))


def table_rows(asked: Sequence[Asked]) -> list[dict[str, Any]]:
    return [
        {"index": a.number, "question": "which?", "A": a.options[0], "B": a.options[1], "answer": "AB"[a.gold],
         "prediction": "AB"[a.said], "hit": int(a.right)}
        for a in asked
    ]  # fmt: skip


def vlmevalkit(folder: Path, asked: Sequence[Asked]) -> Made:
    return Made(xlsx(folder / "model_Bench.xlsx", table_rows(asked)), "multiple_choice", share(asked))


def turns(asked: Sequence[Asked]) -> tuple[list[Asked], float]:
    """Questions 0 to 4 asked in two turns, each right only if both are."""
    groups = [asked[at : at + 2] for at in range(0, 10, 2)]
    return [*(g[0] for g in groups), *(g[1] for g in groups)], 20.0 * sum(all(a.right for a in g) for g in groups)


def mmbench_table(folder: Path, asked: Sequence[Asked]) -> Made:
    order, expected = turns(asked)
    rows = [{**row, "index": at % 5 + at // 5 * 1_000_000} for at, row in enumerate(table_rows(order))]
    return Made(delimited(folder / "model_MMBench.tsv", rows), "mmbench", expected)


def mmbench_rounds(folder: Path, asked: Sequence[Asked]) -> Made:
    order, expected = turns(asked)
    table = delimited(folder / "dev.tsv", [
        {"index": at, "question": "which?", "A": a.options[0], "B": a.options[1], "answer": "AB"[a.gold]}
        for at, a in enumerate(order[:5])
    ])  # fmt: skip
    rows = []
    for at, a in enumerate(order):
        first = order[at % 5]  # the second turn swaps the options of the first question
        letters = ["A", "B"] if at < 5 else ["B", "A"]
        options = [first.options["AB".index(letter)] for letter in letters]
        right = letters.index("AB"[first.gold])
        text = "AB"[right if a.right else 1 - right]
        rows.append(
            {"question_id": at % 5, "round_id": at // 5, "prompt": "which?", "text": text, "options": options,
             "option_char": letters, "answer_id": "x", "model_id": "m"}
        )  # fmt: skip
    return Made(lines(folder / "rounds.jsonl", rows), "mmbench", expected, table)


def yes_no(folder: Path, asked: Sequence[Asked], name: str) -> str:
    words = ("Yes", "No")
    rows = [
        (f"{a.number // 2:04}.jpg", f"Is it {a.number}? Please answer yes or no.", words[a.gold], words[a.said])
        for a in asked
    ]
    return "".join("\t".join(row) + "\n" for row in rows)


def mme_file(folder: Path, asked: Sequence[Asked]) -> Made:
    (folder / "existence.txt").write_text(yes_no(folder, asked, "existence"), encoding="utf-8")
    return Made(folder / "existence.txt", "mme", share(asked))


def mme_folder(folder: Path, asked: Sequence[Asked]) -> Made:
    (folder / "mme").mkdir()
    for name, part in (("existence", asked[:4]), ("OCR", asked[4:])):
        (folder / "mme" / f"{name}.txt").write_text(yes_no(folder, part, name), encoding="utf-8")
    return Made(folder / "mme", "mme", share(asked))


def pope_answers(folder: Path, asked: Sequence[Asked]) -> Made:
    said = [{"question": f"Is it {a.number}?", "answer": ("Yes", "No")[a.said]} for a in asked]
    labels = [
        {"question_id": a.number, "image": "1.jpg", "text": f"Is it {a.number}?", "label": ("yes", "no")[a.gold]}
        for a in asked
    ]
    gold = lines(folder / "coco_pope_random.json", labels)
    return Made(lines(folder / "said.jsonl", said), "pope", share(asked), gold)


def pope_table(folder: Path, asked: Sequence[Asked]) -> Made:
    splits = ["random,popular" if a.number % 3 else "random" for a in asked]
    rows = [
        {"index": a.number, "image_path": "1.jpg", "question": "Is it?", "category": split,
         "answer": ("Yes", "No")[a.gold], "prediction": ("Yes", "No")[a.said]}
        for a, split in zip(asked, splits, strict=True)
    ]  # fmt: skip
    counted = [a.right for a, split in zip(asked, splits, strict=True) for _ in split.split(",")]
    return Made(delimited(folder / "model_POPE.tsv", rows), "pope", 100 * sum(counted) / len(counted))


def scienceqa_gold(folder: Path, asked: Sequence[Asked]) -> Path:
    problems = {str(a.number): {"question": "q", "choices": list(a.options), "answer": a.gold} for a in asked}
    return document(folder / "problems.json", problems)


def scienceqa_result(folder: Path, asked: Sequence[Asked]) -> Made:
    """Half of the texts are empty: there the recorded index is the answer."""
    outputs = {str(a.number): "" if a.number % 2 else f"The answer is {'AB'[a.said]}." for a in asked}
    content = {"acc": 0, "count": 10, "results": {str(a.number): a.said for a in asked}, "outputs": outputs}
    return Made(document(folder / "r.json", content), "scienceqa", share(asked), scienceqa_gold(folder, asked))


def scienceqa_output(folder: Path, asked: Sequence[Asked]) -> Made:
    def entry(a: Asked) -> dict[str, Any]:
        letter = "AB"[a.said]
        return {
            "question_id": str(a.number),
            "question": "q",
            "ground_truth": "AB"[a.gold],
            "pred": letter,
            "parsed_ans": letter,
        }

    content = {
        part: [entry(a) for a in asked if a.right is right] for part, right in (("correct", True), ("incorrect", False))
    }
    return Made(document(folder / "o_output.jsonl", content), "scienceqa", share(asked))


def iconqa_gold(folder: Path, asked: Sequence[Asked]) -> Path:
    problems = {
        str(a.number): {"question": "q", "choices": list(a.options), "answer": a.gold, "ques_type": "choose_txt"}
        for a in asked
    }
    return document(folder / "problems.json", problems)


def iconqa_subtasks(folder: Path, asked: Sequence[Asked]) -> Made:
    said = document(folder / "p.json", {"choose_txt": {str(a.number): a.said for a in asked}})
    return Made(said, "iconqa_txt", share(asked), iconqa_gold(folder, asked))


def iconqa_numbers(folder: Path, asked: Sequence[Asked]) -> Made:
    said = document(folder / "p.json", {"accuracy": 1, "results": {str(a.number): a.said for a in asked}})
    return Made(said, "iconqa", share(asked), iconqa_gold(folder, asked))


def vqa_gold(folder: Path, asked: Sequence[Asked], key: str = "question_id") -> Path:
    records = [{key: a.number if key == "question_id" else f"{a.number}.jpg", "image_id": 1, "answerable": 1,
                "answers": [{"answer": a.options[a.gold]}] * 10} for a in asked]  # fmt: skip
    return document(folder / "annotations.json", {"annotations": records})


def vqa_results(folder: Path, asked: Sequence[Asked]) -> Made:
    said = [{"question_id": a.number, "answer": a.options[a.said]} for a in asked]
    return Made(document(folder / "said.json", said), "okvqa", share(asked), vqa_gold(folder, asked))


def vizwiz_results(folder: Path, asked: Sequence[Asked]) -> Made:
    said = [{"image": f"{a.number}.jpg", "answer": a.options[a.said]} for a in asked]
    return Made(document(folder / "said.json", said), "vizwiz", share(asked), vqa_gold(folder, asked, "image"))


def docvqa(folder: Path, asked: Sequence[Asked]) -> Made:
    said = [{"questionId": a.number, "answer": a.options[a.gold] if a.right else "-" * 40} for a in asked]
    gold = {"data": [{"questionId": a.number, "question": "q", "answers": [a.options[a.gold]]} for a in asked]}
    return Made(document(folder / "s.json", said), "docvqa", share(asked), document(folder / "val.json", gold))


def chartqa(folder: Path, asked: Sequence[Asked]) -> Made:
    keys = [{"imgname": f"{a.number}.png", "query": "what?"} for a in asked]
    said = [{**key, "answer": a.options[a.said]} for key, a in zip(keys, asked, strict=True)]
    gold = [{**key, "label": a.options[a.gold]} for key, a in zip(keys, asked, strict=True)]
    return Made(document(folder / "s.json", said), "chartqa", share(asked), document(folder / "test_human.json", gold))


def captions(folder: Path, asked: Sequence[Asked]) -> Made:
    """ROUGE-L of one word is 1 or 0."""
    said = [{"image_id": a.number, "caption": a.options[a.said]} for a in asked]
    gold = [{"image_id": a.number, "caption": a.options[a.gold]} for a in asked]
    references = document(folder / "captions_val.json", {"annotations": gold})
    return Made(document(folder / "results.json", said), "rouge_l", share(asked), references)


def mmhal(folder: Path, asked: Sequence[Asked]) -> Made:
    rows = [{"id": a.number, "model_answer": "x", "rating": 6 * a.right} for a in asked]
    return Made(lines(folder / "ratings.jsonl", rows), "mmhal", share(asked))


def chair(folder: Path, asked: Sequence[Asked]) -> Made:
    rows = [
        {"image_id": a.number, "caption": "c", "mscoco_hallucinated_words": [] if a.right else [["a", "a"]],
         "mscoco_generated_words": ["a"]}
        for a in asked
    ]  # fmt: skip
    return Made(document(folder / "chair.json", {"sentences": rows}), "chair", share(asked))


def mmmu_rows(asked: Sequence[Asked], subject: str) -> list[dict[str, Any]]:
    return [
        {"id": f"validation_{subject}_{a.number}", "question_type": "multiple-choice", "answer": "AB"[a.gold],
         "response": "AB"[a.said], "all_choices": ["A", "B"], "index2ans": dict(zip("AB", a.options, strict=True))}
        for a in asked
    ]  # fmt: skip


def mmmu_output(folder: Path, asked: Sequence[Asked]) -> Made:
    return Made(document(folder / "said.json", mmmu_rows(asked, "Art")), "mmmu", share(asked))


def mmmu_outputs(folder: Path, asked: Sequence[Asked]) -> Made:
    for subject, part in (("Art", asked[:4]), ("Music", asked[4:])):
        (folder / "out" / subject).mkdir(parents=True)
        document(folder / "out" / subject / "output.json", mmmu_rows(part, subject))
    return Made(folder / "out", "mmmu", share(asked))


def mathvista(folder: Path, asked: Sequence[Asked]) -> Made:
    """The choices hold a NaN, as published outputs do where a field is empty."""
    content = {
        str(a.number): {"pid": str(a.number), "question_type": "multi_choice", "answer_type": "text",
                        "unit": float("nan"), "choices": list(a.options), "answer": a.options[a.gold],
                        "response": a.options[a.said]}
        for a in asked
    }  # fmt: skip
    return Made(document(folder / "output.json", content), "mathvista", share(asked))


def ocrbench(folder: Path, asked: Sequence[Asked]) -> Made:
    rows = [
        {"dataset_name": "IIIT5K", "id": a.number, "type": "Regular Text Recognition", "question": "what?",
         "answers": [a.options[a.gold]], "image_path": f"{a.number}.png", "predict": a.options[a.said]}
        for a in asked
    ]  # fmt: skip
    return Made(document(folder / "model.json", rows), "ocrbench", share(asked))


def hallusionbench(folder: Path, asked: Sequence[Asked]) -> Made:
    rows = [
        {"category": "VD", "subcategory": "figure", "set_id": "0", "figure_id": "1", "question_id": str(a.number),
         "visual_input": "1", "question": "Is it?", "gt_answer": str(1 - a.gold), "gt_answer_details": "",
         "filename": "1.png", "model_prediction": ("Yes.", "No.")[a.said], "gpt4v_output_gpt_check": str(int(a.right))}
        for a in asked
    ]  # fmt: skip
    return Made(document(folder / "result.json", rows), "hallusionbench", share(asked))


def mmvet(folder: Path, asked: Sequence[Asked]) -> Made:
    grades = {f"v1_{a.number}": {"model": ["judge"], "content": ["x"], "score": [float(a.right)]} for a in asked}
    gold = {key: {"imagename": "1.png", "question": "q", "answer": "a", "capability": ["ocr"]} for key in grades}
    return Made(document(folder / "grades.json", grades), "mmvet", share(asked), document(folder / "mm-vet.json", gold))


def lmms_eval_logs(folder: Path, asked: Sequence[Asked]) -> Made:
    logs = [
        {
            "doc_id": a.number,
            "doc": {"question": "q"},
            "target": a.options[a.gold],
            "filtered_resps": [a.options[a.said]],
        }
        for a in asked
    ]
    whole = {"args": {}, "model_configs": {"task": "gqa"}, "logs": logs, "time": 1.5}
    return Made(document(folder / "gqa.json", whole), "exact_match", share(asked))


def opencompass(folder: Path, asked: Sequence[Asked]) -> Made:
    details = {
        str(a.number): {"prompt": "q", "predictions": a.options[a.said], "references": a.options[a.gold]} for a in asked
    }
    return Made(
        document(folder / "d.json", {"accuracy": 1.0, "details": {"type": "GEN", **details}}),
        "exact_match",
        share(asked),
    )


def golds(folder: Path, asked: Sequence[Asked]) -> Path:
    return lines(folder / "gold.jsonl", [{"id": f"q{a.number}", "answer": a.options[a.gold]} for a in asked])


def completion(a: Asked) -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", "content": a.options[a.said]}, "finish_reason": "stop"}]}


def openai_batch(folder: Path, asked: Sequence[Asked]) -> Made:
    rows = [
        {"id": f"b{a.number % 3}", "custom_id": f"q{a.number}", "response": {"body": completion(a)}, "error": None}
        for a in asked
    ]
    return Made(lines(folder / "batch.jsonl", rows), "exact_match", share(asked), golds(folder, asked))


def completions(folder: Path, asked: Sequence[Asked]) -> Made:
    rows = [{"id": f"q{a.number}", **completion(a)} for a in asked]
    return Made(lines(folder / "said.jsonl", rows), "exact_match", share(asked), golds(folder, asked))


def llama_factory(folder: Path, asked: Sequence[Asked]) -> Made:
    rows = [{"prompt": "<image>which?", "predict": a.options[a.said], "label": a.options[a.gold]} for a in asked]
    return Made(lines(folder / "generated_predictions.jsonl", rows), "exact_match", share(asked))


def swift(folder: Path, asked: Sequence[Asked]) -> Made:
    rows = [
        {"response": a.options[a.said], "labels": a.options[a.gold], "logprobs": None, "images": [{"path": "1.png"}],
         "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": a.options[a.said]}]}
        for a in asked
    ]  # fmt: skip
    return Made(lines(folder / "20260301-120000.jsonl", rows), "exact_match", share(asked))


def internvl(folder: Path, asked: Sequence[Asked]) -> Made:
    rows = [
        {"question": "q", "questionId": a.number, "answer": a.options[a.said], "annotation": [a.options[a.gold]]}
        for a in asked
    ]
    return Made(document(folder / "docvqa_val_260301120000.json", rows), "exact_match", share(asked))


def by_columns(folder: Path, asked: Sequence[Asked]) -> Made:
    table = {
        "prediction": {str(a.number): a.options[a.said] for a in asked},
        "label": {str(a.number): a.options[a.gold] for a in asked},
    }
    return Made(document(folder / "frame.json", table), "exact_match", share(asked))


def inside(folder: Path, asked: Sequence[Asked]) -> Made:
    rows = [{"id": a.number, "prediction": a.options[a.said], "answer": a.options[a.gold]} for a in asked]
    return Made(document(folder / "eval.json", {"model": "m", "results": rows, "acc": 1}), "exact_match", share(asked))


def inspect_log(folder: Path, asked: Sequence[Asked]) -> Made:
    samples = [
        {
            "id": a.number,
            "epoch": 1,
            "input": "q",
            "target": a.options[a.gold],
            "output": {"completion": a.options[a.said], "choices": [{"stop_reason": "stop"}]},
        }
        for a in asked
    ]
    log = {"version": 2, "status": "success", "eval": {"task": "mine"}, "plan": {}, "samples": samples}
    return Made(document(folder / "log.json", log), "exact_match", share(asked))


def evalscope_reviews(folder: Path, asked: Sequence[Asked]) -> Made:
    rows = [
        {
            "index": a.number,
            "target": a.options[a.gold],
            "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": a.options[a.said]}],
            "sample_score": {"score": {"prediction": a.options[a.said]}},
        }
        for a in asked
    ]
    return Made(lines(folder / "reviews.jsonl", rows), "exact_match", share(asked))


MAKERS = (
    *(inspect_log, evalscope_reviews),
    *(lmms_eval_logs, opencompass, openai_batch, completions, llama_factory, swift, internvl, by_columns, inside),
    *(own, run_folder, plain_lines, plain_list, readme_fields, plain_csv, python_lists, plain_xlsx, id_map, record_map),
    *(llava, lmms_eval, vlmevalkit, mmbench_table, mmbench_rounds, mme_file, mme_folder, pope_answers, pope_table),
    *(scienceqa_result, scienceqa_output, iconqa_subtasks, iconqa_numbers, vqa_results, vizwiz_results, docvqa),
    *(chartqa, captions, mmhal, chair, mmmu_output, mmmu_outputs, mathvista, ocrbench, hallusionbench, mmvet),
)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: maker.__name__)
def test_score_and_compare_agree(maker: Callable[[Path, list[Asked]], Made], seed: int, tmp_path: Path) -> None:
    made = maker(tmp_path, draw(seed))
    reading = score_reading(made.name, made.path, made.references)
    result = reading.totals[made.name]
    assert result.mean_of_items == pytest.approx(made.expected, abs=1e-9)
    spec = result.metric if result.variant == "default" else f"{result.metric}:{result.variant}"
    task = made.name if find_benchmark(made.name) else None
    comparison = compare(made.path, made.path, task=task, metric=spec, references=made.references)
    pairs = [pair for one in comparison.tasks.values() for pair in one.pairs]
    assert {pair.before.id: pair.before.score for pair in pairs} == {item.id: item.score for item in result.items}
    (one,) = comparison.tasks.values() if len(comparison.tasks) == 1 else [None]
    if one is not None:
        assert 100 * one.before == pytest.approx(made.expected, abs=1e-9)
        assert one.n == result.n and one.learned == one.forgot == 0


def test_every_layout_is_among_them(tmp_path: Path) -> None:
    layouts = [one for one in _readers() if isinstance(one, Layout)]
    folders = [one for one in _readers() if isinstance(one, FolderLayout)]
    for benchmark in all_benchmarks():
        layouts += benchmark.layouts
        folders += benchmark.folders
    seen = set()
    for maker in MAKERS:
        folder = tmp_path / maker.__name__
        folder.mkdir()
        path = maker(folder, draw(0)).path
        if path.is_dir():
            seen |= {one.name for one in folders if one.fits(path)}
        else:
            seen |= {one.name for one in layouts if one.fits(Look(path))}
    assert {one.name for one in (*layouts, *folders)} - seen == set()
