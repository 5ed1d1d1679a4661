"""mkdocs hook: pages that are made when the site is built, and links of pages that stand outside ``docs/``."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from mkdocs.structure.files import File, Files  # noqa: E402
from scripts import tree  # noqa: E402
from scripts.pages import formats, methods, settings, templates  # noqa: E402

ELSEWHERE = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "benchmarks/README.md": "benchmarks.md"}
"""Pages of the site that stand outside ``docs/``, where people look for them."""

MADE: dict[str, Callable[[], str]] = {
    "settings.md": settings.page,
    "methods.md": methods.page,
    "tree.md": tree.page,
}
"""Pages that are made from the code."""


def on_config(config: Any) -> Any:
    """A page of ``docs/`` that ``mkdocs.yml`` does not place goes to the end of its last section."""
    placed = set(re.findall(r"[\w-]+\.md", str(config["nav"])))
    (last,) = config["nav"][-1].values()
    last += sorted(page.name for page in (ROOT / "docs").glob("*.md") if page.name not in placed)
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that do not stand in ``docs/``."""
    for place, name in ELSEWHERE.items():
        text = (ROOT / place).read_text(encoding="utf-8")
        files.append(File.generated(config, name, content=text))
    for name, page in MADE.items():
        files.append(File.generated(config, name, content=page()))
    return files


def on_page_markdown(text: str, page: Any, **_: Any) -> str:
    """Links as they are right in the repository become links of the site; marks become what the code says."""
    name = page.file.src_uri
    place = next((where for where, site in ELSEWHERE.items() if site == name), f"docs/{name}")
    text = re.sub(r"(\]\()([^)#\s]+)((?:#[^)]*)?\))", lambda m: m[1] + link(m[2], Path(place).parent) + m[3], text)
    text = templates.shown(text)
    return text.replace(formats.MARK, formats.tables()) if formats.MARK in text else text


def link(target: str, folder: Path) -> str:
    """The address in the site of what ``target`` means in a file of ``folder`` (relative to the repository)."""
    if "://" in target or target.startswith("mailto:"):
        return target
    path = (ROOT / folder / target).resolve()
    if not path.is_relative_to(ROOT):
        return target
    inside = path.relative_to(ROOT).as_posix()
    return ELSEWHERE.get(inside, inside.removeprefix("docs/") if inside.startswith("docs/") else target)
