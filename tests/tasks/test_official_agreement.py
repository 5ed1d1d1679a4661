"""Prepared items and ``holdfast score``'s own loaders see the same ids, questions, references and groups."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.metrics.registry import get_metric
from holdfast.scoring.score import load_items
from tests.tasks.test_prepare import resolved

# Where the references of each task lie in its download; MME's results carry theirs.
REFERENCES = {
    "coco_captions": "dataset_coco.json", "flickr30k": "dataset_flickr30k.json",
    "gqa": "testdev_balanced_questions.json", "iconqa_blank": "iconqa/test", "iconqa_txt": "iconqa/test",
    "ocrvqa": "dataset.json", "okvqa": "mscoco_val2014_annotations.json", "pope": ".",
    "rsvqa": "LR_split_test_questions.json", "scienceqa": "problems.json", "textvqa": "TextVQA_0.5.1_val.json",
    "vizwiz": "Annotations/val.json", "vqav2": "v2_mscoco_val2014_annotations.json",
}  # fmt: skip


@pytest.mark.parametrize("name", REFERENCES)
def test_same_items(name: str, download: Callable[[str], Path], prepared: Callable[..., Path], tmp_path: Path) -> None:
    task = resolved(prepared(name))
    key = "image_id" if task.metric == "cider" else "question_id"
    text = "caption" if task.metric == "cider" else "answer"
    said = [{key: example.id, text: example.answers[0]} for example in task.test]
    if name == "pope":
        said = [{**row, "category": row[key].split("/")[0], key: row[key].split("/")[1]} for row in said]
        file = tmp_path / "said.jsonl"
        for row in said:  # one question number stands in all three splits
            row[key] = str(
                int(row[key]) + {"adversarial": 0, "random": 10_000_000, "popular": 20_000_000}[row.pop("category")]
            )
        file.write_text("".join(json.dumps(row) + "\n" for row in said), encoding="utf-8")
    else:
        file = tmp_path / "said.json"
        file.write_text(json.dumps(said), encoding="utf-8")
    items = {item.id: item for item in load_items(name, file, download(name) / str(REFERENCES[name]))}
    assert set(items) == {example.id for example in task.test}
    for example in task.test:
        item = items[example.id]
        index = item.extra.get("answer_index")
        mine = sorted("" if answer == "(blank)" else answer for answer in example.answers)
        if name != "iconqa_txt":
            assert mine == sorted(item.references)
        assert example.extra.get("answer_index") == index
        for field in ("answer_type", "subtask", "subject", "context", "grade", "structural", "group", "steps", "words"):
            assert field not in item.extra or example.extra.get(field) == item.extra[field], field
    theirs = get_metric(task.metric, task.variant).score(list(items.values()), task=name)
    assert theirs.n == len(task.test)
    assert task.metric == "cider" or theirs.score == 100.0


def test_mme_items(prepared: Callable[..., Path], tmp_path: Path) -> None:
    task = resolved(prepared("mme"))
    lines: dict[str, list[str]] = {}
    for example in task.test:
        subtask, image, _ = example.id.split("/")
        lines.setdefault(subtask, []).append(f"{image}\t{example.question}\t{example.answers[0]}\tYes")
    for subtask, rows in lines.items():
        (tmp_path / "results").mkdir(exist_ok=True)
        (tmp_path / "results" / f"{subtask}.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
    items = {item.id: item for item in load_items("mme", tmp_path / "results")}
    assert set(items) == {example.id for example in task.test}
    for example in task.test:
        item: Any = items[example.id]
        assert example.extra["pair"] == item.extra["pair"] and example.extra["subtask"] == item.extra["subtask"]
        assert (
            example.question
            == item.question
            == f"Is it a {'dog' if item.id[-1] == '1' else 'cat'}? " + ("Please answer yes or no.")
        )
