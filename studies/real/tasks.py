"""Tasks out of packages: what the base can do, and what it is to learn. Nothing of them is kept in the project."""

from __future__ import annotations

import json
import random
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

SHORT = " Answer with one word."
"""How the connector was taught to be asked, and how every visual question is asked."""

ASKED = 40
"""The most populous countries and the lightest elements are asked: chosen by rule and not by what the llm knows."""

SHOWN = 32
"""Pictures of easy-VQA's test part that sources ask about, ten questions each."""

ASKED_KINDS = ("shape", "color", "presence", "negation")
"""Kinds of question about pictures of easy-VQA, a task each."""

KINDS = {
    "animal": ("animal-mammal", "animal-bird", "animal-bug", "animal-marine", "animal-reptile"),
    "food": ("food-prepared", "food-fruit", "food-vegetable", "food-asian", "food-sweet"),
    "vehicle": ("transport-ground", "transport-air", "transport-water"),
    "building": ("place-building", "place-religious"),
    "clothing": ("clothing",),
    "face": ("face-concerned", "face-smiling", "face-neutral-skeptical", "face-unwell", "face-affection"),
    "flag": ("country-flag",),
    "tool": ("tool", "household", "office"),
}
"""Kinds of pictograms by the groups that Unicode sorts them into."""

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


SIGNS = {
    "circle": (0x26AA, 0x26AB, 0x1F534, 0x1F535, *range(0x1F7E0, 0x1F7E5)),
    "rectangle": (0x2B1B, 0x2B1C, *range(0x1F7E5, 0x1F7EC)),
    "triangle": (0x1F53A, 0x1F53B),
}
"""Plain shapes among the pictograms, by code point; those at odd places are for replay and those at even ones asked."""


def write_all(parts: Path, out: Path) -> None:
    """Write the files of every task of which one is missing in ``out``.

    Args:
        parts: Where the packages are unpacked, one folder each.
        out: Folder of the tasks; pictures go into ``out/pictures``.
    """
    (out / "pictures").mkdir(parents=True, exist_ok=True)
    easy, pictograms = parts / "easy_vqa" / "easy_vqa" / "data", parts / "emoji-datasource-google" / "package"
    writers: dict[tuple[str, ...], Callable[[], None]] = {
        ("easy_train", *(f"easy_{kind}" for kind in ASKED_KINDS)): lambda: easy_vqa(easy, out),
        ("describe_train", "describe_test"): lambda: describe(easy, out),
        ("capitals", "capitals_next"): lambda: _in_turn(
            "capitals", capitals(parts / "countryinfo" / "countryinfo" / "data"), out
        ),
        ("elements", "elements_next"): lambda: _in_turn("elements", elements(parts / "periodictable"), out),
        ("digits_train", "digits_test"): lambda: digits(out),
        ("emoji_train", "emoji_test"): lambda: emoji(pictograms, out),
        ("signs", "signs_train"): lambda: signs(pictograms, out),
    }
    for names, writer in writers.items():
        if not all((out / f"{name}.jsonl").exists() for name in names):
            writer()


def _in_turn(name: str, rows: Iterable[Mapping[str, Any]], out: Path) -> None:
    # What replay may show stands apart from what is asked: the countries and elements that come next.
    first = list(islice(rows, 2 * ASKED))
    write(out / f"{name}.jsonl", first[:ASKED])
    write(out / f"{name}_next.jsonl", first[ASKED:])


def easy_vqa(data: Path, out: Path, *, taught: int = 1600) -> None:
    """Pictures of one coloured shape: those that the connector is taught on, and others, by what is asked.

    Args:
        data: The package's folder, with a part ``train`` and a part ``test``.
        out: Folder of the tasks.
        taught: Pictures of the training part.
    """
    write(out / "easy_train.jsonl", _easy(data / "train", out, taught))
    asked = list(_easy(data / "test", out, SHOWN))
    for kind in ASKED_KINDS:
        write(out / f"easy_{kind}.jsonl", (row for row in asked if row["question_type"] == kind))


def describe(data: Path, out: Path, *, first: int = 1600, count: int = 600, tested: int = 100) -> None:
    """The same kind of picture, to be described in a sentence: what the base sees, in a form it was never taught.

    Args:
        data: The package's folder.
        out: Folder of the tasks.
        first: Of the training part, behind the pictures that the connector was taught on.
        count: Pictures of the training part from there on.
        tested: Pictures of the test part, behind those that sources ask about.
    """
    for part, start, stop, name in (
        (data / "train", first, first + count, "describe_train"),
        (data / "test", SHOWN, SHOWN + tested, "describe_test"),
    ):
        questions = json.loads((part / "questions.json").read_text(encoding="utf-8"))
        seen: dict[int, set[str]] = {}
        for question, answer, picture in questions:
            if start <= picture < stop and not _DENIED.intersection(question.split()) and answer != "no":
                seen.setdefault(picture, set()).update([*question.rstrip("?").split(), answer])
        rows = []
        for picture, words in sorted(seen.items()):
            shapes, colors = words.intersection(_SHAPES), words.intersection(_COLORS)
            if len(shapes) == len(colors) == 1:
                rows.append(
                    {
                        "id": f"describe-{part.name}-{picture}",
                        "image": _picture(part, out, picture),
                        "question": "Describe the picture.",
                        "answer": f"A {colors.pop()} {shapes.pop()} on a light ground.",
                    }
                )
        write(out / f"{name}.jsonl", rows)


def _picture(part: Path, out: Path, picture: int) -> str:
    name = f"pictures/easy-{part.name}-{picture}.png"
    if not (out / name).exists():
        (out / name).write_bytes((part / "images" / f"{picture}.png").read_bytes())
    return name


def _easy(part: Path, out: Path, limit: int) -> Iterator[dict[str, Any]]:
    questions = json.loads((part / "questions.json").read_text(encoding="utf-8"))
    count: dict[int, int] = {}
    for question, answer, picture in sorted(questions, key=lambda row: row[2]):
        if picture >= limit:
            break
        count[picture] = count.get(picture, -1) + 1
        kind = "shape" if answer in _SHAPES else "color"
        if answer in ("yes", "no"):
            kind = "negation" if _DENIED.intersection(question.split()) else "presence"
        yield {
            "id": f"easy-{part.name}-{picture}-{count[picture]}",
            "image": _picture(part, out, picture),
            "question": question + SHORT,
            "answer": answer,
            "question_type": kind,
        }


_SHAPES = ("circle", "rectangle", "triangle")
_COLORS = ("teal", "black", "green", "blue", "gray", "yellow", "red", "brown")
_DENIED = {"no", "not"}


def capitals(data: Path) -> Iterator[dict[str, Any]]:
    """Capitals of the most populous countries, asked without a picture; a sentence or the name alone is right.

    Args:
        data: The folder of the package ``countryinfo`` with one file a country.
    """
    records = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(data.glob("*.json"))]
    known = [one for one in records if isinstance(one.get("capital"), str) and one.get("population")]
    for record in sorted(known, key=lambda record: (-record["population"], record["name"])):
        name, capital = record["name"], record["capital"]
        written = dict.fromkeys((capital, plain(capital)))
        sentences = [f"The capital of {the}{name} is {city}." for city in written for the in ("", "the ")]
        yield {
            "id": f"capital-{record['ISO']['alpha2']}",
            "image": None,
            "question": f"What is the capital of {name}?{SHORT}",
            "answer": [*sentences, *written],
        }


def elements(package: Path) -> Iterator[dict[str, Any]]:
    """Symbols of the lightest elements, asked without a picture.

    Args:
        package: The folder in which the package ``periodictable`` is unpacked.
    """
    import importlib
    import sys

    sys.path.insert(0, str(package))
    try:
        table = importlib.import_module("periodictable").elements
    finally:
        sys.path.remove(str(package))
    for element in table:
        if element.number > 0:
            yield {
                "id": f"element-{element.number}",
                "image": None,
                "question": f"What is the chemical symbol of {element.name}?",
                "answer": [f"The chemical symbol of {element.name} is {element.symbol}.", element.symbol],
            }


def digits(out: Path, *, side: int = 84) -> None:
    """Scans of handwritten digits from scikit-learn, dark on light; the last three hundred are the test part.

    Args:
        out: Folder of the tasks.
        side: Height and width to which the scans of eight by eight dots are enlarged.
    """
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    scans = load_digits()
    rows = []
    for index, (scan, digit) in enumerate(zip(scans.images, scans.target, strict=True)):
        name = f"pictures/digit-{index}.png"
        if not (out / name).exists():
            grey = Image.fromarray((255 - scan * 255 / 16).astype(np.uint8)).resize((side, side), Image.BICUBIC)
            grey.convert("RGB").save(out / name)
        rows.append(
            {
                "id": f"digit-{index}",
                "image": name,
                "question": f"Which digit is written here?{SHORT}",
                "answer": DIGITS[digit],
            }
        )
    cut = len(rows) - 300
    write(out / "digits_train.jsonl", rows[:cut])
    write(out / "digits_test.jsonl", rows[cut:])


def emoji(package: Path, out: Path, *, most: int = 70, tested: int = 12) -> None:
    """Pictograms and the kind of thing they show.

    Args:
        package: The npm package's folder.
        out: Folder of the tasks.
        most: Pictures of a kind, so that flags are no more than others.
        tested: Of these, for the test part.
    """
    from PIL import Image

    found = json.loads((package / "emoji.json").read_text(encoding="utf-8"))
    train: list[dict[str, Any]] = []
    test: list[dict[str, Any]] = []
    question = f"What kind of thing is this?{SHORT}"
    for kind, groups in KINDS.items():
        own = [one for one in found if one["subcategory"] in groups and one["has_img_google"]]
        own.sort(key=lambda one: one["unified"])
        random.Random(kind).shuffle(own)
        for place, one in enumerate(own[:most]):
            name = f"pictures/emoji-{one['unified'].lower()}.png"
            if not (out / name).exists():
                drawn = Image.open(package / "img" / "google" / "64" / one["image"]).convert("RGBA")
                paper = Image.new("RGBA", drawn.size, (255, 255, 255, 255))
                Image.alpha_composite(paper, drawn).convert("RGB").save(out / name)
            row = {"id": f"emoji-{one['unified'].lower()}", "image": name, "question": question, "answer": kind}
            (test if place < tested else train).append(row)
    write(out / "emoji_train.jsonl", train)
    write(out / "emoji_test.jsonl", test)


def signs(package: Path, out: Path, *, asked: int = 22, shown: int = 30, side: int = 84) -> None:
    """Circles, squares and triangles as pictograms, which nothing of the base was taught on.

    Each picture has a light ground of its own, and on it the pictogram in a size, a place, a quarter turn and an order
    of red, green and blue of its own: without that order every triangle would be red. Half of the pictograms are asked
    about and the other half shown in replay.

    Args:
        package: The npm package's folder.
        out: Folder of the tasks.
        asked: Pictures of a shape in the test part.
        shown: Pictures of a shape in the part for replay.
        side: Height and width of the pictures.
    """
    from PIL import Image

    for name, first, count in (("signs", 0, asked), ("signs_train", 1, shown)):
        rows = []
        for number in range(count):
            for shape, codes in SIGNS.items():
                own = codes[first::2]
                code = f"{own[number % len(own)]:x}"
                draw = random.Random(f"{code} {number}")
                size = draw.randint(28, 56)
                ground = tuple(draw.randint(225, 255) for _ in range(3))
                place = draw.randint(0, side - size), draw.randint(0, side - size)
                drawn = Image.open(package / "img" / "google" / "64" / f"{code}.png").convert("RGBA")
                *colors, opaque = drawn.crop(drawn.getbbox()).resize((size, size), Image.Resampling.BICUBIC).split()
                drawn = Image.merge("RGBA", (*draw.sample(colors, 3), opaque)).rotate(90 * draw.randrange(4))
                paper = Image.new("RGBA", (side, side), (*ground, 255))
                paper.alpha_composite(drawn, place)
                picture = f"pictures/sign-{code}-{number}.png"
                paper.convert("RGB").save(out / picture)
                rows.append(
                    {
                        "id": f"sign-{code}-{number}",
                        "image": picture,
                        "question": f"what shape is in the image?{SHORT}",
                        "answer": ["rectangle", "square"] if shape == "rectangle" else shape,
                    }
                )
        write(out / f"{name}.jsonl", rows)


def write(file: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """One JSON object a line; the file takes its name when it is whole."""
    partial = file.with_name(file.name + ".part")
    partial.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    partial.rename(file)


def plain(text: str) -> str:
    """Letters without their accents: the llm writes Brasilia."""
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
