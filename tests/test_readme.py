"""Every command and every example of the README is run; what it promises about files exists."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from holdfast.config.loading import load_config
from holdfast.config.schema import TaskSpec
from holdfast.methods.recipe import Recipe

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
INSTALL = (ROOT / "scripts" / "install").read_text(encoding="utf-8")
LESS = {"demo": ("--steps", "2", "--items", "4"), "study run": ("--dry-run",)}
"""What makes a command short."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[str]:
    lines = [line.split("  #")[0].strip() for block in blocks("sh") for line in block.split("\n")]
    return [line for line in lines if line]


def run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, encoding="utf-8", timeout=300, check=False)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the README's commands name; the recipe is its own, on the pocket model."""
    folder = tmp_path_factory.mktemp("readme")
    example = json.loads(blocks("json")[0])
    recipe = yaml.safe_load(blocks("yaml")[0])
    random = np.random.default_rng(0)
    (folder / recipe["target"]).parent.mkdir()
    rows = []
    for index in range(30):
        name = example["image"].replace("1", str(index))
        for place in (folder / recipe["target"]).parent, folder:
            Image.fromarray(random.integers(0, 255, (40, 30, 3), dtype=np.uint8)).save(place / name)
        rows.append(example | {"image": name, "id": f"q{index}", "answer": ["one", "two"][index % 2]})
    for name in (recipe["target"], "other.jsonl"):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    recipe |= {"train": {"steps": 2, "batch_size": 4}, "evaluate": {"source_limit": 8}}  # less of the same
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    for who, answers in (("base", ["no"] * 8), ("tuned", ["yes"] * 6 + ["no"] * 2)):
        lines = [
            {"id": f"i{k}", "task": "mine", "prediction": a, "references": ["yes"], "score": float(a == "yes")}
            for k, a in enumerate(answers)
        ]
        (folder / f"{who}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    people = [{"answer": "a", "answer_id": n, "answer_confidence": "yes"} for n in range(1, 11)]
    fixed = {"answer_type": "other", "question_type": "what", "multiple_choice_answer": "a", "answers": people}
    questions = [{"question_id": k, "image_id": k, **fixed} for k in range(3)]
    (folder / "annotations.json").write_text(json.dumps({"annotations": questions}), encoding="utf-8")
    (folder / "predictions.json").write_text(
        json.dumps([{"question_id": k, "answer": "a"} for k in range(3)]), encoding="utf-8"
    )
    return folder


def test_every_command_runs(workplace: Path) -> None:
    ran = []
    for line in commands():
        words = shlex.split(line)
        if words[0] == "make":
            assert run(["make", "-n", *words[1:]], ROOT).returncode == 0, line
        elif words[0] == "pip":
            assert words[1:] == ["install", "."] or (words[2] == "torch" and words[-1] in INSTALL), line
        else:
            assert words[0] == "holdfast", line
            small = LESS.get(" ".join(words[1:3]), LESS.get(words[1], ()))
            done = run([sys.executable, "-m", "holdfast", *words[1:], *small], workplace)
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        ran.append(words[:2])
    for command in ("tune", "eval", "compare", "score", "export"):
        assert ["holdfast", command] in ran, command
    assert (workplace / "runs" / "first" / "report.html").exists()


def test_the_recipe_is_valid_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(blocks("yaml")[0], encoding="utf-8")
    Recipe(load_config(tmp_path / "recipe.yaml"))


def test_it_stays_short_and_explains_its_letters_before_it_uses_them() -> None:
    assert len(README.splitlines()) <= 170
    table = README.index("recipe    train %")
    for figure in ("**E**", "**F**", "**O**", "**H**", "**learned**", "**forgot**", "**target**", "**sources**"):
        assert README.index(figure) < table, figure
    spec = TaskSpec(data="mine.jsonl")
    assert (spec.validation, spec.test) == (0.1, 0.1) and "80/10/10 by image" in README


@pytest.mark.parametrize("file", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda file: file.name)
def test_the_examples_are_valid(file: Path) -> None:
    Recipe(load_config(file))


def test_the_python_example_runs(workplace: Path) -> None:
    code = blocks("python")[0].replace("runs/first", "runs/python")
    done = run([sys.executable, "-c", code], workplace)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith(".")  # sentences


def test_it_shows_what_the_tutorial_printed() -> None:
    table, *sentences = blocks("text")[1].strip().split("\n")
    tutorial = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    row, sentence = sentences[0].rsplit(" ", 1)[0], " ".join(sentences[1:])  # the last column is seconds
    assert table in tutorial and row in tutorial
    assert sentence in " ".join(tutorial.split())


def test_links_and_pictures_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target
