"""A person's desk for the tests: pictures, examples, a recipe, and the command line called as a person would."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

COLOURS = {"red": (220, 30, 30), "blue": (30, 30, 220), "green": (30, 180, 30)}


def picture(file: Path, seed: int = 0, size: tuple[int, int] = (20, 20)) -> Path:
    """A small noisy PNG."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)
    return file


def records(count: int = 12) -> list[dict[str, Any]]:
    """Examples ``q0``... on pictures ``0.png``...; the answer repeats with the index."""
    words = list(COLOURS)
    return [
        {"id": f"q{i}", "image": f"{i}.png", "question": "what colour is it ?", "answer": words[i % 3]}
        for i in range(count)
    ]


def write_lines(file: Path, rows: Iterable[Any]) -> Path:
    """JSON Lines; a row that is text is written as it is."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    file.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return file


def snapshot(folder: Path) -> dict[str, str]:
    """The digest of every file below ``folder``."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@dataclass
class Said:
    """What a call came to."""

    code: int
    out: str
    err: str

    def refused(self, *words: str) -> str:
        """Check that this was one clear sentence on stderr with exit code 2, and that it holds ``words``."""
        assert self.code == 2, f"exit code {self.code}\n{self.out}\n{self.err}"
        lines = [line for line in self.err.split("\n") if line.strip()]
        assert len(lines) == 1, self.err
        assert lines[0].startswith("holdfast: "), self.err
        assert "Traceback" not in self.out + self.err
        for word in words:
            assert word.lower() in lines[0].lower(), f"{word!r} is not in: {lines[0]}"
        return lines[0]


class Desk:
    """A folder with twelve pictures, ``data.jsonl`` and a recipe; calls the command line in this process."""

    def __init__(self, folder: Path, model: Path | str, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.model, self.capsys = folder, model, capsys
        for index in range(12):
            picture(folder / f"{index}.png", index)
        self.data = write_lines(folder / "data.jsonl", records())

    def config(self, name: str = "recipe.yaml", **changes: Any) -> Path:
        """A recipe of two steps, with top-level keys replaced."""
        settings: dict[str, Any] = {
            "model": str(self.model),
            "tune": {"llm": {"method": "lora", "r": 2, "alpha": 4}},
            "target": "data.jsonl",
            "train": {"steps": 2, "batch_size": 2, "trackers": []},
            "evaluate": {"max_new_tokens": 2},
        }
        settings |= changes
        file = self.folder / name
        file.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
        return file

    def run(self, *words: str | Path) -> Said:
        """``holdfast WORDS``."""
        from holdfast.cli.main import run

        self.capsys.readouterr()
        code = run([str(word) for word in words])
        out, err = self.capsys.readouterr()
        return Said(code, out, err)

    def tune(self, *words: str | Path, config: Path | None = None, out: str = "run") -> Said:
        """``holdfast tune``."""
        return self.run("tune", config or self.config(), "--out", self.folder / out, *words)

    def tune_on(self, rows: Iterable[Any], *words: str | Path, **changes: Any) -> Said:
        """``holdfast tune`` on other examples, with other settings."""
        write_lines(self.data, rows)
        return self.tune(*words, config=self.config(**changes))

    def json(self, name: str) -> Any:
        """A JSON file below the desk."""
        return json.loads((self.folder / name).read_text(encoding="utf-8"))


def changed(record: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """A record with other fields; ``None`` removes one."""
    return {key: value for key, value in {**record, **changes}.items() if value is not None}
