"""``holdfast score`` as a person runs it, and what it may not import."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "transformers", "peft", "pandas", "nltk", "scipy", "sklearn", "matplotlib", "numpy")


def run(*words: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root / "src")}
    command = [sys.executable, "-m", "holdfast", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=root, check=False)
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    file = tmp_path / "p.jsonl"
    records = [{"id": "a", "prediction": "cat", "answer": "cat"}, {"id": "b", "prediction": "a dog", "answer": "dog"}]
    file.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    return file


def test_json(rows: Path) -> None:
    printed = json.loads(run("score", "exact_match", rows, "--json").stdout)
    assert printed == {
        "task": "exact_match", "metric": "exact_match", "variant": "normalised", "score": 50.0, "n": 2, "missing": 0,
        "unparsed": 0, "truncated": 0, "details": {"lenient": 100.0},
    }  # fmt: skip


def test_words_fit_80_columns(rows: Path, tmp_path: Path) -> None:
    done = run("score", "exact_match", rows, "--out", tmp_path / "scored.jsonl")
    assert "exact_match: 50.00" in done.stdout and "format, not ability" in done.stdout
    assert "Without the images always answering 'cat' would score 50.00." in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert len((tmp_path / "scored.jsonl").read_text(encoding="utf-8").splitlines()) == 2


def test_bad_input_is_one_sentence_and_code_2(rows: Path, tmp_path: Path) -> None:
    rows.write_text(rows.read_text(encoding="utf-8")[:-9], encoding="utf-8")
    done = run("score", "exact_match", rows, "--out", tmp_path / "scored.jsonl", code=2)
    assert done.stdout == "" and "Traceback" not in done.stderr
    assert "p.jsonl, line 2" in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.jsonl"]


def test_the_example_of_the_issue(gold: Path) -> None:
    folder = gold / "scienceqa"
    answers, references = folder / "llava-v1.5-13b_answers.jsonl", folder / "llava_test_CQM-A.json"
    printed = json.loads(run("score", "scienceqa", answers, "--references", references, "--json").stdout)
    assert round(printed["score"], 3) == 74.393
    assert round(printed["details"]["image"]["score"], 3) == 71.641


def test_every_metric_without_heavy_libraries() -> None:
    probe = f"""
import sys
import holdfast.scoring.score, holdfast.cli.score
from holdfast.metrics.registry import get_metric, metric_names
from holdfast.scoring.benchmarks import all_benchmarks
from holdfast.scoring.read import tool_layouts
for name in metric_names():
    if name != "spice":
        get_metric(name)
assert all_benchmarks() and tool_layouts()
loaded = [name for name in {HEAVY!r} if name in sys.modules]
assert not loaded, loaded
"""
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root / "src")}
    subprocess.run([sys.executable, "-c", probe], env=environment, check=True)
