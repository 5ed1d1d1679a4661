"""Prepared folders in recipes: both ways to name them, what goes before the card, and two steps of tuning."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast import api
from holdfast.config.schema import TaskSpec
from holdfast.data.examples import Turn
from holdfast.errors import HoldfastError
from holdfast.tasks.cards import find_card
from holdfast.tasks.preparing.write import prepare
from holdfast.tasks.prompts import render
from holdfast.tasks.resolve import resolve_task
from tests.conftest import GOLD
from tests.support.miniatures import iconqa_txt, picture, scienceqa, ten, write
from tests.tasks.test_gold import iconqa_download
from tests.tasks.test_prepare import resolved


def test_the_recipe_goes_before_the_card(prepared: Callable[..., Path]) -> None:
    folder = prepared("iconqa_txt")
    task = resolved(folder, prompt="Q: {question}", metric="exact_match", max_new_tokens=3, name="mine")
    assert (task.name, task.metric, task.variant, task.max_new_tokens) == ("mine", "exact_match", None, 3)
    assert {e.question for e in task.test} == {"Q: How many?"}
    card = folder / "card.yaml"
    text = card.read_text(encoding="utf-8")
    card.write_text(
        text.replace("variant: official", "variant: lower").replace("{question} C", "{question}\\nC"), "utf-8"
    )
    assert resolved(folder).variant == "lower"


def test_a_variant_on_what_was_prepared_for_another(prepared: Callable[..., Path], tmp_path: Path) -> None:
    folder = prepared("scienceqa")
    spec = TaskSpec(data="scienceqa_llava", root=str(folder.relative_to(tmp_path)))
    task = resolve_task(spec, base=tmp_path, seed=0).task
    assert [e.question for e in task.test] == [
        "Context: Look at the picture.\nWhich one is red?\nA. the left one\nB. the right one\n"
        "Answer with the option's letter from the given choices directly.",
        "Which one is red?\nA. the left one\nB. the right one\n"
        "Answer with the option's letter from the given choices directly.",
    ]
    assert [len(e.images) for e in task.test] == [1, 0]
    with pytest.raises(HoldfastError, match="was prepared for 'scienceqa'"):
        resolve_task(TaskSpec(data="gqa", root=str(folder)), base=tmp_path, seed=0)
    with pytest.raises(HoldfastError, match="holdfast data prepare gqa"):
        resolve_task(TaskSpec(data="gqa"), base=tmp_path, seed=0)
    with pytest.raises(HoldfastError, match=r"no card\.yaml"):
        resolve_task(TaskSpec(data=str(tmp_path)), base=tmp_path, seed=0)


def test_images_that_moved(prepared: Callable[..., Path], tmp_path: Path) -> None:
    folder = prepared("scienceqa")
    shutil.move(tmp_path / "downloads" / "scienceqa", tmp_path / "elsewhere")
    with pytest.raises(HoldfastError, match="no longer at"):
        resolved(folder)
    assert len(resolved(folder, root=str(tmp_path / "elsewhere")).test) == 2
    # Folder and download that move together need nothing.
    shutil.move(tmp_path / "elsewhere", tmp_path / "downloads" / "scienceqa")
    (tmp_path / "disk").mkdir()
    for name in ("prepared", "downloads"):
        shutil.move(tmp_path / name, tmp_path / "disk" / name)
    assert len(resolved(tmp_path / "disk" / "prepared" / "scienceqa").test) == 2


def test_a_validation_share_where_the_card_has_no_split(tmp_path: Path) -> None:
    root = tmp_path / "in"
    for split in ("train", "val"):
        listed = []
        for number in range(20):
            name = f"VizWiz_{split}_{number:08d}.jpg"
            picture(root / split / name)
            listed.append({"image": name, "question": "What?", "answers": ten("soup"), "answer_type": "other"})
        write(root / "Annotations" / f"{split}.json", listed)
    folder = prepare(find_card("vizwiz"), root, tmp_path / "out").folder
    task = resolved(folder, validation=0.25)
    assert len(task.train) + len(task.validation) == 20 and len(task.validation) >= 1 and len(task.test) == 20
    assert not {e.image_key for e in task.train} & {e.image_key for e in task.validation}
    limited = resolved(folder, limit=1, test_limit=2, validation=0.25)
    assert (len(limited.train), len(limited.validation), len(limited.test)) == (1, 1, 2)


def test_a_damaged_image_is_told_or_skipped(prepared: Callable[..., Path], tmp_path: Path) -> None:
    folder = prepared("iconqa_txt")
    (tmp_path / "downloads" / "iconqa_txt" / "iconqa" / "test" / "choose_txt" / "9" / "image.png").write_bytes(
        b"\x89PNG"
    )
    with pytest.raises(HoldfastError, match="item 9"):
        resolved(folder)
    found = resolve_task(TaskSpec(data=str(folder)), base=tmp_path, seed=0, skip_bad=True)
    assert [e.id for e in found.task.test] == ["10"] and len(found.skipped) == 1


def test_braces_in_a_question_stay(prepared: Callable[..., Path]) -> None:
    example = resolved(prepared("iconqa_blank")).test[0]
    example = replace(example, turns=(Turn("Is {choices} a set?", ("yes",)),), choices=("a", "b"))
    assert render("{question} {lettered}", example) == "Is {choices} a set? A.a, B.b"


def test_two_steps_on_iconqa(tiny_llava: Path, tmp_path: Path) -> None:
    """Real problems where the gold folder is there; text-only and pictured ScienceQA items as a source."""
    if GOLD.is_dir():
        iconqa_download(GOLD, tmp_path / "in", "choose_txt")
    else:
        iconqa_txt(tmp_path / "in")
    scienceqa(tmp_path / "science")
    prepare(find_card("iconqa_txt"), tmp_path / "in", tmp_path / "prepared" / "iconqa_txt", limit=6)
    prepare(find_card("scienceqa"), tmp_path / "science", tmp_path / "prepared" / "scienceqa")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"model: {tiny_llava}\n"
        "tune: {connector: full, llm: {method: lora, r: 2}}\n"
        "target: prepared/iconqa_txt\n"
        "sources: [{data: scienceqa_llava, root: prepared/scienceqa}]\n"
        "train: {steps: 2, batch_size: 2, trackers: []}\n"
        "evaluate: {max_new_tokens: 4}\n",
        encoding="utf-8",
    )
    run = api.tune(recipe, tmp_path / "run")
    target = run.scores["target"]["iconqa_txt"]
    assert target["n"] == (6 if GOLD.is_dir() else 2)
    assert run.scores["sources"]["scienceqa_llava"]["n"] == 2
    lines = (tmp_path / "run" / "predictions" / "iconqa_txt.jsonl").read_text(encoding="utf-8").splitlines()
    for row in map(json.loads, lines):
        assert (
            row["metric"] == "iconqa:official" and row["choices"][row["extra"]["answer_index"]] == row["references"][0]
        )
        assert "Choose an option from the choices" in row["question"]
    scores = api.evaluate(str(tmp_path / "run"), [str(tmp_path / "prepared" / "scienceqa")], tmp_path / "eval")
    assert scores["scienceqa"].details["image"]["n"] == 1
