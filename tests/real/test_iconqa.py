"""Real input: the 150 IconQA problems of the gold folder through tune and eval with the pocket model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from holdfast.models.loading import POCKET
from tests.support.desk import Desk, write_lines

pytestmark = pytest.mark.skipif(
    not (POCKET / "model.safetensors").exists(), reason="the weights of the pocket model are not built yet"
)
KINDS = ("choose_txt", "choose_img", "fill_in_blank")


def problems(folder: Path) -> list[dict[str, Any]]:
    """IconQA's own layout (one folder a problem) as simple records; pictures among the choices become images."""
    rows = []
    for kind in KINDS:
        for place in sorted((folder / kind).iterdir(), key=lambda place: int(place.name)):
            record = json.loads((place / "data.json").read_text("utf-8"))
            images, question, answer = ["image.png"], record["question"], record["answer"]
            choices: list[str] = record.get("choices", [])
            if kind == "choose_img":
                images, choices = images + choices, [f"picture {number}" for number in range(1, len(choices) + 1)]
            if choices:
                question, answer = f"{question} {', '.join(choices)}", choices[answer]
            rows.append({
                "id": f"{kind}-{place.name}", "image": [f"{kind}/{place.name}/{name}" for name in images],
                "question": question, "answer": str(answer), "choices": choices,
            })  # fmt: skip
    return rows


def test_iconqa_through_tune_and_eval(gold: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = problems(gold / "iconqa")
    assert len(rows) == 150
    desk = Desk(tmp_path, "pocket", capsys)
    write_lines(tmp_path / "iconqa.jsonl", rows)
    said = desk.run("data", "check", tmp_path / "iconqa.jsonl", "--root", gold / "iconqa")
    assert said.code == 0, said.out
    assert "150 good examples on 150 images, 0 problems" in said.out
    config = desk.config(
        target={"data": "iconqa.jsonl", "root": str(gold / "iconqa"), "validation": 0.1, "test": 0.3},
        tune={"connector": "full", "llm": {"method": "lora", "r": 4}},
        train={"steps": 4, "batch_size": 8, "evaluate_every": 2, "trackers": ["tensorboard"]},
        evaluate={"max_new_tokens": 8},
    )
    said = desk.tune(config=config)
    assert said.code == 0, said.err
    entry = desk.json("run/scores.json")["recipes"]["run"]
    asked = [json.loads(line) for line in (tmp_path / "run/predictions/iconqa.jsonl").read_text("utf-8").splitlines()]
    answers = {row["id"]: row["answer"] for row in rows}
    assert entry["target"]["iconqa"]["n"] == len(asked) > 20
    assert {row["id"].split("-")[0] for row in asked} == set(KINDS)
    assert all(row["references"] == [answers[row["id"]]] for row in asked)
    right = [row["prediction"].strip().lower() == answers[row["id"]].lower() for row in asked]
    assert entry["target"]["iconqa"]["after"] == pytest.approx(100 * sum(right) / len(right))
    losses = [json.loads(line) for line in (tmp_path / "run/train.jsonl").read_text("utf-8").splitlines()]
    assert any("validation" in str(row.get("event")) for row in losses)


def test_an_evaluation_repeats_what_the_run_scored(
    gold: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``holdfast eval RUN`` on the held-out items gives the very predictions of the run."""
    rows = problems(gold / "iconqa")
    desk = Desk(tmp_path, "pocket", capsys)
    write_lines(tmp_path / "train.jsonl", rows[:40])
    write_lines(tmp_path / "held.jsonl", rows[40:70])
    root = str(gold / "iconqa")
    config = desk.config(
        target={"data": "train.jsonl", "validation": 0.0, "test": "held.jsonl", "name": "held", "root": root},
        train={"steps": 3, "batch_size": 8, "trackers": []}, evaluate={"max_new_tokens": 8},
    )  # fmt: skip
    said = desk.tune(config=config)
    assert said.code == 0, said.err
    said = desk.run("eval", tmp_path / "run", "--tasks", tmp_path / "held.jsonl", "--root", root,
                    "--out", tmp_path / "again", "--max-new-tokens", "8", "--json")  # fmt: skip
    assert said.code == 0, said.err
    again = json.loads(said.out)["tasks"]["held"]
    assert again["score"] == desk.json("run/scores.json")["recipes"]["run"]["target"]["held"]["after"]
    files = [tmp_path / place / "predictions/held.jsonl" for place in ("run", "again")]
    assert files[0].read_bytes() == files[1].read_bytes()
