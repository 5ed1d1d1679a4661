"""The docs hold: quoted messages exist, commands of the tutorial run, every setting and every page is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml
from scripts.pages import settings, tutorial

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


def messages() -> list[str]:
    """Every text of the source with ``…`` for what is filled in."""
    found = []
    for file in (ROOT / "src" / "holdfast").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [p.value if isinstance(p, ast.Constant) else "…" for p in node.values]
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def test_every_message_of_troubleshooting_is_one_of_ours() -> None:
    quoted = re.findall(r"^### `(.+)`$", (DOCS / "troubleshooting.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    known = messages()
    unknown = [message for message in quoted if not any(message in text for text in known)]
    assert len(quoted) > 20
    assert not unknown, "no such message in src/holdfast"


def test_every_setting_says_what_it_means() -> None:
    assert not settings.undocumented()
    page = settings.page()
    for key in sorted(settings.all_keys()):
        assert f"| `{key}` |" in page, key


def test_every_page_of_the_navigation_is_there() -> None:
    made = set(re.findall(r'"([\w-]+\.md)"', (ROOT / "scripts" / "pages" / "hook.py").read_text(encoding="utf-8")))
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    for page in re.findall(r"[\w-]+\.md", str(config["nav"])):
        assert page in made or (DOCS / page).exists(), page


def test_pictures_are_small() -> None:
    for picture in (DOCS / "images").iterdir():
        assert picture.stat().st_size < 200_000, picture.name


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_pictures_of_pages_exist(page: str) -> None:
    for target in re.findall(r"!\[[^\]]*\]\(([^)#\s]+)", (DOCS / page).read_text(encoding="utf-8")):
        assert (DOCS / target).exists(), target


@pytest.mark.slow
def test_the_tutorial_runs_as_it_is_written(tmp_path: Path) -> None:
    text = tutorial.PAGE.read_text(encoding="utf-8")
    small = text.replace('"train", 1000)', '"train", 60)')
    small = small.replace('"pocket:read"]\n', '"pocket:read"]\ntrain: {steps: 2}\nevaluate: {source_limit: 4}\n')
    assert small.count("steps: 2") == 2
    printed = tutorial.run(tmp_path, small)
    assert "60 good examples" in printed["holdfast data check mine/scans.jsonl"]
    assert (tmp_path / "runs/keep-model/model.safetensors").exists()
    shown = [command for _, command in tutorial.PRINTS.findall(text)]
    assert len(shown) >= 5 and set(shown) <= printed.keys(), "every output is that of a command of the page"
