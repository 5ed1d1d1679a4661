"""Run the tutorial as it is written, put what it prints into the page and take its pictures (with Chromium, if there).

    python -m scripts.pages.tutorial [FOLDER]

Files are the code blocks with a title, commands the ``sh`` blocks in their order. What a command prints follows a line
``<!-- prints: COMMAND -->``, or ``<!-- prints, to LINE: COMMAND -->`` where only its beginning is shown.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "tutorial.md"
IMAGES = ROOT / "docs" / "images"
PRINTS = re.compile(r"<!-- prints(?:, to (\d+))?: (.*?) -->\n\n```text\n.*?```", flags=re.DOTALL)


def files(text: str) -> dict[str, str]:
    """Name -> content of the files that the page shows."""
    return {name: body for name, body in re.findall(r'```\w+ title="([^"]+)"\n(.*?)```', text, flags=re.DOTALL)}


def commands(text: str) -> list[str]:
    """The commands in their order."""
    blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def words(command: str) -> list[str]:
    """A command of the page as it is run here: with this Python, whatever is installed elsewhere."""
    first, *rest = shlex.split(command)
    return [sys.executable, *([] if first == "python" else ["-m", first]), *rest]


def run(folder: Path, text: str) -> dict[str, str]:
    """Run everything in ``folder``; command -> what it printed."""
    for name, body in files(text).items():
        (folder / name).write_text(body, encoding="utf-8")
    printed = {}
    for command in commands(text):
        print("$", command, flush=True)
        done = subprocess.run(words(command), cwd=folder, capture_output=True, text=True, encoding="utf-8")
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)
        printed[command] = "\n".join(line.rstrip() for line in done.stdout.splitlines())
    return printed


def filled(text: str, printed: dict[str, str]) -> str:
    """The page with what the commands printed."""

    def block(found: re.Match[str]) -> str:
        lines = printed[found[2]].splitlines()
        shown = "\n".join(lines[: int(found[1])] if found[1] else lines)
        return f"{found[0].split('```')[0]}```text\n{shown}\n```"

    return PRINTS.sub(block, text)


def pictures(folder: Path) -> None:
    """The scans, and the two halves of the report."""
    from PIL import Image

    strip = Image.new("RGB", (10 * 68 - 4, 64), "white")
    for place in range(10):
        with Image.open(folder / "mine" / f"{place}.png") as scan:
            strip.paste(scan.convert("RGB").resize((64, 64), Image.Resampling.NEAREST), (place * 68, 0))
    strip.save(IMAGES / "tutorial-scans.png", optimize=True)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("no Chromium: the pictures of the report are left as they are")
        return
    page = (folder / "runs/first/report.html").read_text(encoding="utf-8")
    photograph(chromium, page, (1140, 770), IMAGES / "tutorial-report.png")
    only_items = "body > header, main > :not(#items) {display: none} #items {margin-top: 0}"
    view = "#task=count&list=forgot"
    photograph(chromium, page, (1140, 680), IMAGES / "tutorial-flips.png", style=only_items, view=view)


def photograph(chromium: str, page: str, size: tuple[int, int], out: Path, *, style: str = "", view: str = "") -> None:
    """A picture of the upper part of a view of the page, in few colours so that it stays small."""
    from PIL import Image

    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "page.html").write_text(page.replace("</head>", f"<style>{style}</style></head>", 1), "utf-8")
        options: Sequence[str] = (
            *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={place}/user"),
            *("--virtual-time-budget=4000", "--blink-settings=preferredColorScheme=1"),
            *(f"--window-size={size[0]},{size[1]}", f"--screenshot={place}/shot.png"),
        )
        subprocess.run([chromium, *options, f"file://{place}/page.html{view}"], check=True, capture_output=True)
        with Image.open(f"{place}/shot.png") as shot:
            shot.convert("RGB").quantize(128).save(out, optimize=True)


def main() -> None:
    """Run, fill, photograph."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
    folder.mkdir(exist_ok=True)
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(filled(text, run(folder, text)), encoding="utf-8")
    pictures(folder)


if __name__ == "__main__":
    main()
