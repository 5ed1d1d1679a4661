"""Every card: its download in miniature becomes examples whose gold answers score full marks by its metric."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.config.schema import TaskSpec
from holdfast.predictions.file import write_predictions
from holdfast.predictions.record import Prediction
from holdfast.scoring.scorecard import score_file
from holdfast.tasks.cards import card_names, find_card
from holdfast.tasks.preparing.write import prepare
from holdfast.tasks.resolve import resolve_task
from holdfast.tasks.task import Task
from tests.support.miniatures import MAKERS

# Parts and their sizes, counted by hand in the miniatures.
SIZES = {
    "ai2d": (0, 0, 1), "ai2d_no_mask": (0, 0, 1), "ccbench": (0, 0, 2), "hallusionbench": (0, 0, 3),
    "mathvista": (0, 0, 2), "mmbench_cn": (0, 0, 5), "mmbench_v11": (0, 0, 5), "mmbench_cn_v11": (0, 0, 5),
    "mmmu": (0, 1, 2), "mmstar": (0, 0, 2), "mmtbench": (0, 0, 1), "mmtbench_mi": (0, 0, 1), "mmvet": (0, 0, 1),
    "ocrbench": (0, 0, 2), "realworldqa": (0, 0, 2), "seedbench_img": (0, 0, 1),
    "coco_captions": (2, 1, 2), "coco_captions_2014": (1, 0, 2), "flickr30k": (1, 1, 2), "gqa": (1, 1, 1),
    "iconqa_blank": (1, 1, 2), "iconqa_txt": (1, 1, 2), "mmbench": (0, 0, 5), "mme": (0, 0, 28),
    "mme_llava": (0, 0, 28), "ocrvqa": (2, 2, 2), "okvqa": (2, 0, 2), "pathvqa": (2, 2, 2), "pope": (0, 0, 6),
    "rsvqa": (1, 1, 1), "rsvqa_hr": (1, 1, 1), "scienceqa": (1, 1, 2), "scienceqa_llava": (1, 1, 2),
    "textvqa": (1, 0, 1), "textvqa_ocr": (1, 0, 1), "vizwiz": (1, 0, 1), "vqav2": (2, 0, 2),
}  # fmt: skip
FULL = {"mme": 2800.0, "mme_llava": 2000.0, "ocrbench": 1000.0}


def rows(folder: Path, part: str = "test") -> list[dict[str, Any]]:
    """Lines of a part."""
    text = (folder / f"{part}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def resolved(folder: Path, **options: Any) -> Task:
    """The task a recipe gets from a prepared folder."""
    return resolve_task(TaskSpec(data=str(folder), **options), base=Path.cwd(), seed=0).task


def gold_file(task: Task, file: Path) -> Path:
    """Predictions as ``evaluation.predict`` writes them, the first reference being said."""
    write_predictions(
        file,
        [
            Prediction(
                id=e.id, prediction=e.answers[0], task=task.name, image=e.image_key or None, question=e.question,
                references=e.answers, choices=e.choices, extra=e.extra,
            )
            for e in task.test
        ],
    )  # fmt: skip
    return file


def test_every_card_has_a_miniature() -> None:
    assert sorted(MAKERS) == sorted(SIZES) == list(card_names())


@pytest.mark.parametrize("name", card_names())
def test_parts_and_gold(name: str, prepared: Callable[..., Path], tmp_path: Path) -> None:
    folder, card = prepared(name), find_card(name)
    sizes = dict(zip(("train", "validation", "test"), SIZES[name], strict=True))
    for part, size in sizes.items():
        assert (folder / f"{part}.jsonl").is_file() is (size > 0)
        assert not size or len(rows(folder, part)) == size
    task = resolved(folder, validation=0.0)
    assert (len(task.train), len(task.validation), len(task.test)) == SIZES[name]
    assert (task.name, task.metric, task.variant, task.max_new_tokens) == (
        name, card.metric, card.variant, card.max_new_tokens,
    )  # fmt: skip
    file = gold_file(task, tmp_path / "gold.jsonl")
    score = score_file(file, metric=task.metric, variant=task.variant)
    if card.metric == "cider":
        # CIDEr is a mean over the references, so that repeating one of two cannot reach the maximum; BLEU does.
        assert score.details["Bleu_4"] == pytest.approx(1.0) and score.score > 100
    else:
        assert score.score == pytest.approx(FULL.get(name, 100.0))
    assert score.missing == score.unparsed == score.truncated == 0


def test_most_frequent_answer_first(prepared: Callable[..., Path]) -> None:
    folder = prepared("vizwiz")
    assert rows(folder)[0]["answers"] == ["unanswerable"] * 6 + ["soup"] * 4
    assert rows(folder)[0]["answerable"] == 0
    answers = rows(prepared("vqav2"))[0]["answers"]
    assert answers == ["dog", "cat"] + ["dog"] * 8
    # An empty answer keeps its place among the ten.
    assert sorted(rows(prepared("textvqa"))[0]["answers"]) == ["(blank)"] + ["sale"] * 9


def test_extras_reach_the_details(prepared: Callable[..., Path], tmp_path: Path) -> None:
    def details(name: str) -> Any:
        task = resolved(prepared(name))
        return score_file(gold_file(task, tmp_path / f"{name}.jsonl"), metric=task.metric, variant=task.variant).details

    science = details("scienceqa")
    assert science["image"]["n"] == 1 and science["text_only"]["n"] == 1
    assert set(science["by_context"]) == {"TXT", "IMG", "NO"} and set(science["by_grade"]) == {"G7-12"}
    assert details("vqav2")["by_answer_type"]["other"]["n"] == 2
    assert details("vizwiz")["unanswerability"]["unanswerable"] == 1
    assert {"random", "popular", "adversarial"} < set(details("pope"))
    assert len(details("mme")["subtasks"]) == 14
    assert details("iconqa_txt")["by_skill"]["counting"]["n"] == 2
    assert details("gqa")["by_steps"] == {"1": {"score": 100.0, "n": 1}}  # naming is not a step
    assert details("mmbench")["rotations"] == 5


def test_mmbench_rotations(prepared: Callable[..., Path], download: Callable[[str], Path]) -> None:
    folder = prepared("mmbench")
    made = {row["id"]: row for row in rows(folder)}
    assert list(made) == ["1", "1000001", "2000001", "2", "1000002"]
    for row in made.values():
        right = {"1": "sky", "2": "fire"}[row["id"][-1]]
        assert row["choices"][row["answer_index"]] == right and row["answer"] == "ABC"[row["answer_index"]]
    assert made["1000001"]["choices"] == ["grass", "snow", "sky"]
    assert (folder / "images" / "1.png").is_file() and "hint" not in made["1"]


def test_wrong_rotation_costs_the_question(prepared: Callable[..., Path], tmp_path: Path) -> None:
    task = resolved(prepared("mmbench"))
    file = gold_file(task, tmp_path / "one-wrong.jsonl")
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    lines[1]["prediction"] = "ABC".replace(lines[1]["prediction"], "")[0]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert score_file(file, metric="mmbench", variant="circular").score == 50.0
    scores = {row["id"]: row["score"] for row in map(json.loads, file.read_text(encoding="utf-8").splitlines())}
    assert scores == {"1": 0.0, "1000001": 0.0, "2000001": 0.0, "2": 1.0, "1000002": 1.0}


def test_limit_keeps_pairs_and_repeats(download: Callable[[str], Path], tmp_path: Path) -> None:
    root, card = download("mme"), find_card("mme")
    drawn = [
        [row["id"] for row in rows(prepare(card, root, tmp_path / f"out{n}", limit=7, seed=seed).folder)]
        for n, seed in enumerate((3, 3, 4))
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0]) == 6  # seven would split a pair
    assert len({item.rsplit("/", 1)[0] for item in drawn[0]}) == 3


def test_images_stay_or_are_copied(download: Callable[[str], Path], tmp_path: Path) -> None:
    root, card = download("iconqa_txt"), find_card("iconqa_txt")
    plain = prepare(card, root, tmp_path / "a" / "plain").folder
    assert not (plain / "images").exists()
    record = json.loads((plain / "prepared.json").read_text(encoding="utf-8"))
    assert not Path(record["images"]).is_absolute() and (plain / record["images"]).resolve() == root.resolve()
    whole = prepare(card, root, tmp_path / "a" / "whole", copy_images=True).folder
    used = [Path(str(image)) for example in resolved(whole).test for image in example.images]
    assert len(used) == 2 and all(file.is_relative_to(whole.resolve()) for file in used)
    assert [r["id"] for r in rows(plain)] == [r["id"] for r in rows(whole)] == ["9", "10"]


def test_several_images_of_a_question(prepared: Callable[..., Path]) -> None:
    folder = prepared("mmmu")
    two, opened = rows(folder)
    assert two["image"] == ["2.png", "2_1.png"] and (two["answer"], two["choices"]) == ("C", ["one", "two", "three"])
    # The third row borrows the picture of the first, which belongs to another part.
    assert (opened["image"], opened["answers"], opened["subject"]) == ("1.png", ["3", "three"], "Math")
    assert {file.name for file in (folder / "images").iterdir()} == {"1.png", "2.png", "2_1.png"}
    task = resolved(folder)
    assert len(task.test[0].images) == 2 and task.test[0].turns[-1].question.startswith("<image 1> or <image 2>?")
    assert task.test[0].turns[-1].question.endswith("from the given choices directly.")
    assert task.test[1].turns[-1].question.endswith("\n\nAnswer the question using a single word or phrase.")
    assert rows(prepared("mmtbench_mi"))[0]["image"] == ["3.png", "3_1.png"]


def test_official_layouts_of_the_newer_benchmarks(prepared: Callable[..., Path]) -> None:
    figures = {row["id"]: row for row in rows(prepared("hallusionbench"))}
    assert "image" not in figures["VS_map_0_0_0"] and figures["VD_map_0_0_0"]["answer"] == "Yes"
    height, side = rows(prepared("mathvista"))
    assert height["question"] == (
        "Hint: Please answer the question requiring a floating-point number with one decimal place and provide the "
        "final value, e.g., 1.2, 1.3, 1.4, at the end.\nQuestion: How high? (Unit: m)"
    )
    assert side["question"].endswith("Question: Which?\nChoices:\n(A) left\n(B) right") and side["answer_index"] == 0
    assert [row["id"] for row in rows(prepared("ocrbench"))] == ["IIIT5K/7", "HME100k/7"]
    assert rows(prepared("seedbench_img"))[0]["category"] == "Instances Counting"
    plain, words = rows(prepared("realworldqa"))
    assert plain["choices"] == ["left", "right"] and "choices" not in words and words["answer"] == "3"
    assert rows(prepared("ccbench"))[1]["image"] == "7.png"
