"""Real official files become examples; known predictions on them give the official scores."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from holdfast.config.schema import TaskSpec
from holdfast.predictions.file import read_predictions, write_predictions
from holdfast.predictions.record import Score
from holdfast.scoring.scorecard import score_file
from holdfast.tasks.cards import find_card
from holdfast.tasks.preparing.write import prepare
from holdfast.tasks.resolve import resolve_task
from holdfast.tasks.task import Task
from tests.support.miniatures import picture, write
from tests.tasks.test_prepare import gold_file, resolved, rows


def load(file: Path) -> Any:
    """JSON, gzipped or not."""
    data = file.read_bytes()
    return json.loads(gzip.decompress(data) if file.suffix == ".gz" else data)


def linked(folder: Path, names: set[str]) -> None:
    """One small picture under many names: the gold folder has no COCO images."""
    picture(folder / "one.jpg")
    for name in names:
        os.link(folder / "one.jpg", folder / name)


def scored(task: Task, said: Mapping[str, str], file: Path) -> Score:
    """The score of given answers by id, through the prediction file and the scorecard."""
    gold_file(task, file)
    write_predictions(file, [replace(p, prediction=said[p.id]) for p in read_predictions(file)])
    return score_file(file, metric=task.metric, variant=task.variant)


def iconqa_download(gold: Path, root: Path, subtask: str) -> None:
    """The fifty problems as test split, and five of them as each other split."""
    for split, count in (("test", 50), ("val", 5), ("train", 5)):
        for folder in sorted((gold / "iconqa" / subtask).iterdir())[:count]:
            shutil.copytree(folder, root / split / subtask / folder.name)


@pytest.mark.parametrize(
    ("name", "subtask", "right"), [("iconqa_txt", "choose_txt", 41), ("iconqa_blank", "fill_in_blank", 43)]
)
def test_iconqa(name: str, subtask: str, right: int, gold: Path, tmp_path: Path) -> None:
    iconqa_download(gold, tmp_path / "in", subtask)
    task = resolved(prepare(find_card(name), tmp_path / "in", tmp_path / "out").folder)
    results = load(gold / "iconqa" / "patch_trm_predictions.json")[subtask]
    results = results.get("results", results)
    said = {e.id: e.choices[results[e.id]] if e.choices else str(results[e.id]) for e in task.test}
    assert scored(task, said, tmp_path / "said.jsonl").score == 100 * right / 50
    problem = load(gold / "iconqa" / subtask / task.test[0].id / "data.json")
    ending = "Fill in the blanks in () or answer this question."
    if subtask == "choose_txt":
        ending = f"Choices: {', '.join(problem['choices'])} Choose an option from the choices to answer the question."
    assert task.test[0].question == f"{problem['question'].strip()} {ending}"


def test_scienceqa_is_asked_as_llava_asks(gold: Path, tmp_path: Path) -> None:
    problems = load(gold / "scienceqa" / "problems_first1773.json")
    splits = load(gold / "scienceqa" / "pid_splits.json")
    root = tmp_path / "in"
    write(root / "problems.json", problems)
    names = ("train", "val", "test")
    write(root / "pid_splits.json", {name: [key for key in splits[name] if key in problems] for name in names})
    for split in names:
        picture(root / "images" / split / "one.png")
        for key in splits[split]:
            if key in problems and problems[key]["image"]:
                (root / "images" / split / key).mkdir()
                os.link(root / "images" / split / "one.png", root / "images" / split / key / problems[key]["image"])
    folder = prepare(find_card("scienceqa"), root, tmp_path / "out").folder
    task = resolved(folder)
    first = next(e for e in task.test if e.id == "11")
    assert first.question == (
        "What is the name of the colony shown? A.Maryland, B.New Hampshire, C.Rhode Island, D.Vermont"
    )
    assert first.answers == ("B",) and len(first.images) == 1
    spec = TaskSpec(data="scienceqa_llava", root=str(folder))
    variant = resolve_task(spec, base=tmp_path, seed=0).task
    assert variant.name == "scienceqa_llava"
    official = {r["id"]: r for r in load(gold / "scienceqa" / "llava_test_CQM-A.json")}
    suffix = "\nAnswer with the option's letter from the given choices directly."
    asked = {e.id: e.question.removesuffix(suffix) for e in variant.test}
    wanted = {key: official[key]["conversations"][0]["value"].removeprefix("<image>\n") for key in asked}
    # The hints of four Punnett squares were lengthened in this copy of the problems.
    different = [key for key in asked if asked[key] != wanted[key]]
    assert len(asked) == 361 and len(different) == 4
    assert all("Punnett square is" in problems[key]["hint"] for key in different)
    assert {e.id for e in variant.test if e.images} == {key for key in asked if "image" in official[key]}
    raw = (gold / "scienceqa" / "llava-v1.5-13b_answers.jsonl").read_text(encoding="utf-8")
    answers = {row["question_id"]: row["text"] for row in map(json.loads, raw.splitlines())}
    recorded = load(gold / "scienceqa" / "llava-v1.5-13b_result.json")["results"]
    right = sum(recorded[key] == problems[key]["answer"] for key in asked)
    assert scored(variant, answers, tmp_path / "said.jsonl").details["correct"] == right


def test_vqav2(gold: Path, tmp_path: Path) -> None:
    root = tmp_path / "in"
    root.mkdir()
    for part, split in (("valid", "val2014"), ("test", "train2014")):
        questions = gold / "vqav2_subset" / f"questions_{part}.json.gz"
        shutil.copyfile(questions, root / f"v2_OpenEnded_mscoco_{split}_questions.json.gz")
        given = gold / "vqav2_subset" / f"annotations_{part}.json.gz"
        shutil.copyfile(given, root / f"v2_mscoco_{split}_annotations.json.gz")
        images = {q["image_id"] for q in load(questions)["questions"]}
        linked(root / split, {f"COCO_{split}_{image:012d}.jpg" for image in images})
    made = prepare(find_card("vqav2"), root, tmp_path / "out", limit=400)
    assert made.counts == {"train": 400, "test": 400}
    task = resolved(made.folder, limit=5)
    assert len(task.train) == 5 and all(len(e.answers) == 10 for e in task.test)
    per_question = load(gold / "vqav2_subset" / "expected_per_question_m4c.json")
    for name in ("annotator1", "messy"):
        said = {str(p["question_id"]): p["answer"] for p in load(gold / "vqav2_subset" / f"pred_{name}.json")}
        wanted = [per_question[name][e.id] for e in task.test]
        assert scored(task, said, tmp_path / f"{name}.jsonl").score == pytest.approx(100 * sum(wanted) / len(wanted))
    # What is trained on is the majority's answer.
    majority = {str(p["question_id"]): p["answer"] for p in load(gold / "vqav2_subset" / "pred_majority.json")}
    best = score_file(gold_file(task, tmp_path / "first.jsonl"), metric=task.metric, variant=task.variant).score
    assert best == pytest.approx(scored(task, majority, tmp_path / "majority.jsonl").score, abs=0.5) and best > 90


def test_pope(gold: Path, tmp_path: Path) -> None:
    root = tmp_path / "in"
    (root / "val2014").mkdir(parents=True)
    names: set[str] = set()
    for file in (gold / "pope").glob("coco_pope_*.json"):
        shutil.copyfile(file, root / file.name)
        names |= {json.loads(line)["image"] for line in file.read_text(encoding="utf-8").splitlines()}
    linked(root / "val2014", names)
    task = resolved(prepare(find_card("pope"), root, tmp_path / "out").folder)
    offset = {"adversarial": 0, "random": 10_000_000, "popular": 20_000_000}
    lines = (gold / "pope" / "answers_llava-v1.5-13b.jsonl").read_text(encoding="utf-8").splitlines()
    answers = {row["question_id"]: row for row in map(json.loads, lines)}
    mine = {e.id: answers[offset[e.id.split("/")[0]] + int(e.id.split("/")[1])] for e in task.test}
    assert len(mine) == 8910 and all(mine[e.id]["prompt"] == e.question for e in task.test)
    score = scored(task, {key: row["text"] for key, row in mine.items()}, tmp_path / "said.jsonl")
    expected = load(gold / "pope" / "expected.json")
    assert round(score.score, 2) == 85.95 == find_card("pope").scores[0].score
    for split in offset:
        assert score.details[split]["accuracy"] == pytest.approx(expected[split]["accuracy"])


def test_coco_captions(gold: Path, tmp_path: Path) -> None:
    root = tmp_path / "in"
    content = load(gold / "coco_caption_fakecap" / "captions_val2014_subset1000.json")
    for split, images in (("val2014", content["images"]), ("train2014", content["images"][:3])):
        ids = {image["id"] for image in images}
        annotations = [a for a in content["annotations"] if a["image_id"] in ids]
        write(root / "annotations" / f"captions_{split}.json", {"images": images, "annotations": annotations})
        linked(root / split, {f"COCO_{split}_{key:012d}.jpg" for key in ids})
    task = resolved(prepare(find_card("coco_captions_2014"), root, tmp_path / "out").folder)
    results = load(gold / "coco_caption_fakecap" / "captions_val2014_fakecap_results.json")
    score = scored(task, {str(r["image_id"]): r["caption"] for r in results}, tmp_path / "said.jsonl")
    assert score.score == pytest.approx(59.979, abs=0.01)
    assert {e.question for e in task.test} == set(find_card("coco_captions_2014").prompt)
    assert len(rows(tmp_path / "out")) == 1000
