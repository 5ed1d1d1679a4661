"""``holdfast study report``: every form, to the terminal and to disk."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.cli.main import run
from tests.support.simulated import draw, write_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    effects = {
        f"{method}/{connector}": {"digits": 0.4 + 0.3 * n, "tissue": 0.5, "color": 0.8 - 0.2 * n, "count": 0.8}
        for n, method in enumerate(("lora", "adapter"))
        for connector in ("frozen", "tuned")
    }
    results, changes, _ = draw(effects=effects, factors=("method", "connector"), targets=("digits", "tissue"), items=40)
    folder = write_folder(tmp_path_factory.mktemp("study"), results, changes, index=True, claims=["h1", "h2"])
    return folder


def report(folder: Path, *words: str) -> int:
    return run(["study", "report", str(folder), *words])


def test_the_terminal_shows_recipes_factors_and_claims(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(folder) == 0
    said = capsys.readouterr().out
    assert "24 of 24 points are finished" in said and "adapter / tuned" in said
    assert "What each factor does to E, on average" in said and "connector: tuned less frozen" in said
    assert "Claim h2 is not tested here: it needs an axis target with seen." in " ".join(said.split())


def test_markdown_goes_to_a_file_and_csv_and_latex_to_a_folder(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(folder, "--format", "markdown", "--out", str(tmp_path / "r.md")) == 0
    text = (tmp_path / "r.md").read_text()
    assert text.startswith("# A simulated study\n") and "\n## Recipes\n" in text and "| rank | recipe |" in text
    for form, ending in (("csv", "csv"), ("latex", "tex")):
        assert report(folder, "--format", form, "--out", str(tmp_path / form)) == 0
        assert (tmp_path / form / f"recipes.{ending}").is_file() and (tmp_path / form / f"claims.{ending}").is_file()
    rows = list(csv.DictReader((tmp_path / "csv" / "recipes.csv").open()))
    assert len(rows) == 4 and all(float(row["E low"]) < float(row["E"]) < float(row["E high"]) for row in rows)
    scores = [json.loads(f.read_text())["recipes"]["run"] for f in folder.glob("points/*/scores.json")]
    assert sum(float(row["E"]) for row in rows) / 4 == pytest.approx(sum(s["E"] for s in scores) / len(scores))


def test_one_table_is_printed_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(folder, "--format", "csv", "--table", "pairs") == 0
    rows = list(csv.reader(capsys.readouterr().out.splitlines()))
    assert len(rows) == 1 + 6 and rows[0][0] == "recipe"
    assert report(folder, "--format", "latex", "--table", "recipes", "--claim", "h15") == 0
    assert capsys.readouterr().out.count(r"\begin{table}") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--format", "word"], "unknown format 'word'"),
        (["--format", "csv"], "one CSV holds one table"),
        (["--table", "recipe"], "the report has no table 'recipe'. Did you mean 'recipes'?"),
        (["--claim", "h0"], "there is no claim 'h0'"),
    ],
)
def test_mistakes_are_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert report(folder, *words) == 2
    assert said in capsys.readouterr().err


def test_no_model_library_is_loaded(folder: Path) -> None:
    code = (
        "import sys; from holdfast.cli.main import run; "
        f"assert run(['study', 'report', {str(folder)!r}, '--format', 'markdown']) == 0; "
        "print([m for m in ('torch', 'transformers', 'peft') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
