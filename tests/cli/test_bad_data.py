"""Every mistake in a user's examples, through the command line: one sentence, exit code 2, nothing lost."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import pytest

from tests.support.desk import Desk, changed, picture, records, write_lines


def bomb(file: Path, width: int = 60_000, height: int = 60_000) -> None:
    """A PNG of a few hundred bytes that declares 3.6 thousand million pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def empty(file: Path) -> None:
    file.write_bytes(b"")


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def text(file: Path) -> None:
    file.write_text("<html>404 not found</html>", encoding="utf-8")


def missing(file: Path) -> None:
    file.unlink()


def large(file: Path) -> None:
    bomb(file, 9000, 9000)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (missing, ["image '5.png' does not exist", "put it below"]),
        (empty, ["image '5.png' is empty", "replace the file"]),
        (truncated, ["'5.png' is damaged or truncated", "replace the file"]),
        (text, ["'5.png' is not an image", "readable formats"]),
        (bomb, ["'5.png' is too large to open", "scale it down"]),
        (large, ["9000 x 9000 pixels", "64 million", "scale it down"]),
    ],
)
def test_bad_image_files(desk: Desk, spoil: Any, words: list[str]) -> None:
    spoil(desk.folder / "5.png")
    said = desk.tune()
    said.refused(f"{desk.data}, line 6, item q5: ", "--skip-bad", *words)
    assert not (desk.folder / "run").exists()


@pytest.mark.parametrize(
    "name", ["/etc/hostname", "../outside.png", "inner/../../outside.png", "link.png", "link/a.png"]
)
def test_paths_that_leave_the_data_root(desk: Desk, name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "a.png").write_bytes((desk.folder / "0.png").read_bytes())
    (desk.folder / "link.png").symlink_to(outside / "a.png")
    (desk.folder / "link").symlink_to(outside)
    rows = records()
    rows[2] = changed(rows[2], image=name)
    desk.tune_on(rows).refused("line 3, item q2", f"image path '{name}' leaves the data root", "root")


def test_a_link_that_leads_back_to_itself(desk: Desk) -> None:
    (desk.folder / "loop.png").symlink_to("loop.png")
    rows = records()
    rows[2] = changed(rows[2], image="loop.png")
    desk.tune_on(rows).refused("line 3, item q2", "loop.png")


def test_a_link_inside_the_root_is_fine(desk: Desk) -> None:
    (desk.folder / "again.png").symlink_to(desk.folder / "0.png")
    write_lines(desk.data, [changed(row, image="again.png") for row in records()])
    assert desk.run("data", "check", desk.data).code == 0


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ('{"image": "3.png", "question": ', ["line 4: the line is not valid JSON: it ends in the middle of a value"]),
        ("[1, 2]", ["line 4: the line is a list, not a JSON object"]),
        ('"just text"', ["line 4: the line is a text, not a JSON object"]),
        ("[" * 100_000 + "]" * 100_000, ["line 4: the line is not valid JSON: it is nested more than 64 deep"]),
        ('{"image": "3.png", "answer": ' + "9" * 5000 + "}", ["line 4: a number has 5,000 digits"]),
        ('{"image": "3.png", "question": "\\ud83d", "answer": "a"}', ["line 4: a text holds half a surrogate pair"]),
        ({"question": "?", "answer": "a"}, ["line 4, item line-4: field 'image' is missing", "Add the path"]),
        ({"image": "3.png", "answer": "a"}, ["item line-4: field 'question' is missing"]),
        ({"image": "3.png", "question": "?"}, ["item line-4: field 'answer' is missing"]),
        ({"image": "3.png", "question": " ", "answer": "a"}, ["field 'question' is empty"]),
        ({"image": "3.png", "question": "?", "answer": " \n"}, ["field 'answer' is empty", "Write the answer"]),
        ({"image": "3.png", "question": "?", "answer": []}, ["field 'answer' is an empty list"]),
        ({"image": "3.png", "question": "?", "answer": {"a": 1}}, ["field 'answer' is not text"]),
        ({"image": "3.png", "question": "?", "answer": float("nan")}, ["NaN"]),
        ({"image": "3.png", "question": "<image> <image> ?", "answer": "a"}, ["2 <image> marks", "1 images"]),
        ({"image": " ", "question": "?", "answer": "a"}, ["the image path is empty"]),
        ({"image": "x" * 5000, "question": "?", "answer": "a"}, ["cannot be used: File name too long"]),
        ({"image": "a\x00b", "question": "?", "answer": "a"}, ["zero byte"]),
        ({"image": 3, "question": "?", "answer": "a"}, ["field 'image' is neither a path nor a list of paths"]),
        ({"id": 1.5, "image": "3.png", "question": "?", "answer": "a"}, ["'id' is neither text nor a whole number"]),
        ({"id": "q1", "image": "3.png", "question": "?", "answer": "a"}, ["item q1: id 'q1' stands on line 2 already"]),
        ({"image": "3.png", "question": "?", "answer": "a", "choices": "ab"}, ["'choices' is not a list of texts"]),
        (
            {
                "image": "3.png",
                "conversations": [{"from": r, "value": "a"} for r in ("human", "gpt", "gpt")],
            },
            ["turn 3 of 'conversations' is an answer without a question"],
        ),
        (
            {"image": "3.png", "conversations": [{"from": "narrator", "value": "a"}]},
            ["turn 1 of 'conversations' is from 'narrator'"],
        ),
        ({"image": "3.png", "conversations": [{"from": "human", "value": "a"}]}, ["does not end with an answer"]),
        ({"image": "3.png", "conversations": []}, ["not a list of turns"]),
    ],
)
def test_bad_rows(desk: Desk, row: Any, words: list[str]) -> None:
    rows: list[Any] = records()
    rows[3] = row
    desk.tune_on(rows).refused(str(desk.data), "line 4", "--skip-bad", *words)
    assert not (desk.folder / "run").exists()


@pytest.mark.parametrize("content", ["", "\n\n  \n", "[]", "\ufeff"])
def test_empty_data_sets(desk: Desk, content: str) -> None:
    desk.data.write_text(content, encoding="utf-8")
    desk.tune().refused("data.jsonl: the ", "is empty")


def test_a_missing_data_file(desk: Desk) -> None:
    desk.data.unlink()
    desk.tune().refused("data.jsonl: the file does not exist", "Check the path")
    desk.tune("--set", "target=nowhere/at/all.jsonl").refused("all.jsonl: the file does not exist")
    desk.tune("--set", "target=.").refused("holds no card.yaml", "name a file of examples")


def test_a_missing_image_root(desk: Desk) -> None:
    desk.tune("--set", "target.root=pictures").refused("pictures is not a folder", "set root")


def test_a_file_that_is_not_utf8_is_named_with_its_line(desk: Desk) -> None:
    desk.data.write_bytes(desk.data.read_bytes().replace(b'"q7"', b'"q\xff7"'))
    desk.tune().refused("data.jsonl, line 8: the text is not UTF-8", "Save it again as UTF-8")


def test_a_cut_json_list_is_named_with_its_line(desk: Desk) -> None:
    desk.data.write_text('[\n {"id": 1},\n {"id": 2}\n', encoding="utf-8")
    desk.tune().refused("line 4: this is not valid JSON: it ends in the middle of a value")


def test_check_lists_every_problem_at_once(desk: Desk) -> None:
    rows: list[Any] = records()
    rows[1] = "{"
    rows[4] = changed(rows[4], answer=None)
    (desk.folder / "7.png").write_bytes(b"")
    rows[9] = changed(rows[9], id="q0")
    write_lines(desk.data, rows)
    said = desk.run("data", "check", desk.data)
    assert said.code == 2
    lines = said.out.strip().split("\n")
    assert [line.split(":")[0].rpartition("line ")[2].split(",")[0] for line in lines[:-1]] == ["2", "5", "8", "10"]
    assert lines[-1].startswith("8 good examples on 8 images, 4 problems in ")
    import json

    said = desk.run("data", "check", desk.data, "--json")
    found = json.loads(said.out)
    assert said.code == 2
    assert found["good"] == 8
    assert [row["line"] for row in found["problems"]] == [2, 5, 8, 10]
    assert all(row["problem"] and row["remedy"] for row in found["problems"])


def test_check_of_good_data(desk: Desk) -> None:
    said = desk.run("data", "check", desk.data)
    assert said.code == 0
    assert "12 good examples on 12 images, 0 problems" in said.out
    assert "fewer than 6 images can show no change" in said.out  # a tenth of twelve
    for index in range(12, 200):
        picture(desk.folder / f"{index}.png", index)
    write_lines(desk.data, records(200))
    assert desk.run("data", "check", desk.data).out.count("\n") == 1  # of two hundred that is enough
    desk.run("data", "check", desk.folder / "none.jsonl").refused("does not exist")


def test_skip_bad_drops_and_records(desk: Desk) -> None:
    rows: list[Any] = [*records(), "{", {"image": "none.png", "question": "?", "answer": "a", "id": "lost"}]
    said = desk.tune_on(rows, "--skip-bad")
    assert said.code == 0, said.err
    skipped = desk.json("run/skipped.json")
    assert len(skipped) == 2
    assert "line 13: the line is not valid JSON" in skipped[0]
    assert "line 14, item lost: image 'none.png' does not exist" in skipped[1]
    asked = (desk.folder / "run/predictions/data.jsonl").read_text("utf-8")
    assert "lost" not in asked


def test_when_every_item_is_bad_skipping_does_not_help(desk: Desk) -> None:
    desk.tune_on(["{", "{"], "--skip-bad").refused("every item is bad", "data check")


def test_rows_longer_than_max_length(desk: Desk) -> None:
    rows: list[Any] = records()
    rows[4] = changed(rows[4], answer="a " * 200)
    rows[5] = changed(rows[5], question="why ? " * 20)
    rows[6] = changed(rows[6], question="<image> and <image>", image=["5.png", "6.png"])
    before = {"steps": 2, "batch_size": 2, "trackers": []}
    # A long answer alone is cut and trained on; a question that leaves no room for any answer is refused.
    said = desk.tune_on(rows, train={**before, "max_length": 60})
    said.refused("recipe.yaml", "item q5: train.max_length of 60 tokens would cut its whole answer", "--skip-bad")
    said = desk.tune_on(rows, train={**before, "max_length": 12})
    said.refused("train.max_length of 12 tokens would cut")
    said = desk.tune_on(rows, "--skip-bad", train={**before, "max_length": 60})
    assert said.code == 0, said.err
    assert ["item q5" in line or "q5:" in line for line in desk.json("run/skipped.json")] == [True]


def test_an_image_is_never_cut(desk: Desk) -> None:
    rows = [changed(row, question="what colour <image>") for row in records()]
    said = desk.tune_on(rows, train={"steps": 2, "batch_size": 2, "trackers": [], "max_length": 20})
    said.refused("train.max_length of 20 tokens would cut its image", "raise train.max_length")
