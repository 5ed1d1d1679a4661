"""A user's folder of 200 pictures of mixed size, mode and format goes through ``holdfast tune`` and gives scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from holdfast.data.images import open_image
from holdfast.models.loading import POCKET
from tests.support.desk import COLOURS, Desk, write_lines

pytestmark = pytest.mark.skipif(
    not (POCKET / "model.safetensors").exists(), reason="the weights of the pocket model are not built yet"
)


def rgb(colour: tuple[int, int, int], size: tuple[int, int]) -> Image.Image:
    return Image.new("RGB", size, colour)


def with_alpha(colour: tuple[int, int, int], size: tuple[int, int]) -> Image.Image:
    """Opaque below, see-through above: the transparent pixels hold black, which must not be seen."""
    image = Image.new("RGBA", size, (*colour, 255))
    image.paste((0, 0, 0, 0), (0, 0, size[0], size[1] // 4))
    return image


def grey(colour: tuple[int, int, int]) -> int:
    return round(sum(colour) / 3)


def save(index: int, colour: tuple[int, int, int], size: tuple[int, int], folder: Path) -> tuple[str, Any]:
    """One picture; returns its name and the colour that its lower middle must show once it is opened."""
    shade = grey(colour)
    value: Any = colour
    options: dict[str, Any] = {}
    kind = index % 11
    suffix = "png"
    if kind == 0:
        image = rgb(colour, size)
    elif kind == 1:
        image = with_alpha(colour, size)
    elif kind == 2:
        image, value = with_alpha((shade, shade, shade), size).convert("LA"), (shade,) * 3
    elif kind == 3:
        image = Image.new("P", size, 1)
        image.putpalette([255, 0, 255, *colour] + [0] * 762)
        image.paste(0, (0, 0, size[0], 2))
        options = {"transparency": 0}
    elif kind == 4:
        image, value = Image.new("1", size, index % 2), (255 * (index % 2),) * 3
    elif kind == 5:
        image, value = Image.new("L", size, shade), (shade,) * 3
    elif kind == 6:
        image, value = Image.fromarray(np.full((size[1], size[0]), shade * 257, dtype=np.uint16)), (shade,) * 3
    elif kind == 7:
        image, suffix = Image.new("CMYK", size, (*(255 - part for part in colour), 0)), "jpg"
    elif kind == 8:
        # A tall picture that the camera stored lying: the colour stands at the bottom once it is turned.
        upright = Image.new("RGB", (size[1], size[0]), (0, 0, 0))
        upright.paste(colour, (0, size[0] // 2, size[1], size[0]))
        exif = Image.Exif()
        exif[0x0112] = 6
        image, suffix, options = upright.transpose(Image.Transpose.ROTATE_90), "jpg", {"exif": exif, "quality": 95}
    elif kind == 9:
        image, suffix, options = rgb(colour, size), "jpeg", {"progressive": True, "quality": 95}
    else:
        image = rgb(colour, size).quantize(8)
    name = f"{index:03d}.{suffix}"
    image.save(folder / name, **options)
    return name, value


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]], dict[str, Any]]:
    """The folder, its records and what each picture must show."""
    place = tmp_path_factory.mktemp("mixed")
    random = np.random.default_rng(0)
    rows, shown = [], {}
    for index in range(200):
        word = list(COLOURS)[index % 3]
        size = (int(random.integers(8, 300)), int(random.integers(8, 300)))
        name, shown_colour = save(index, COLOURS[word], size, place)
        rows.append({"id": index, "image": name, "question": "what colour is it ?", "answer": word})
        shown[name] = shown_colour
    return place, rows, shown


def test_what_the_model_sees(folder: tuple[Path, list[dict[str, Any]], dict[str, Any]]) -> None:
    place, _, shown = folder
    modes = set()
    for name, colour in shown.items():
        with Image.open(place / name) as stored:
            modes.add((stored.format, stored.mode))
        image = open_image(place / name)
        assert image.mode == "RGB"
        middle = image.getpixel((image.width // 2, image.height * 7 // 8))
        assert np.abs(np.array(middle) - np.array(colour)).max() <= 6, (name, middle, colour)
    assert {mode for _, mode in modes} >= {"RGB", "RGBA", "LA", "P", "1", "L", "I;16", "CMYK"}
    assert {kind for kind, _ in modes} == {"PNG", "JPEG"}


def test_see_through_parts_are_white(folder: tuple[Path, list[dict[str, Any]], dict[str, Any]]) -> None:
    place, rows, _ = folder
    for name in [row["image"] for row in rows if row["id"] % 11 in (1, 2, 3)]:
        image = open_image(place / name)
        assert image.getpixel((image.width // 2, 0)) == (255, 255, 255), name


def test_two_hundred_mixed_files_through_tune(
    folder: tuple[Path, list[dict[str, Any]], dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, rows, _ = folder
    write_lines(place / "mine.jsonl", rows)
    desk = Desk(tmp_path, "pocket", capsys)
    config = desk.config(
        target={"data": "mine.jsonl", "test": 0.2},
        tune={"connector": "full", "llm": {"method": "full", "lr": 1e-3}},
        train={"steps": 40, "batch_size": 16, "trackers": ["tensorboard"]},
        evaluate={"max_new_tokens": 4},
    )
    said = desk.tune("--set", f"target.data={place / 'mine.jsonl'}", config=config)
    assert said.code == 0, said.err
    entry = desk.json("run/scores.json")["recipes"]["run"]
    task = entry["target"]["mine"]
    assert task["n"] > 25
    assert entry["E"] == pytest.approx(task["after"] - task["before"])
    for name in ("config.yaml", "environment.json", "ledger.json", "predictions/mine.jsonl", "report.html"):
        assert (tmp_path / "run" / name).exists(), name
    assert "supervised tokens" in said.out
    assert "⟦" in said.out
    # Two thirds of the colours can be told from the pictures (grey ones show no hue); it is learned on held-out ones.
    assert task["after"] >= 60
    losses = [json.loads(row)["loss"] for row in (tmp_path / "run/train.jsonl").read_text("utf-8").splitlines()]
    assert losses[-1] < losses[0] / 2
