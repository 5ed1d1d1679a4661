"""What is wrong with a download is said in one sentence, and nothing is left behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.cli.main import run
from holdfast.errors import HoldfastError
from holdfast.tasks.cards import find_card
from holdfast.tasks.preparing.draft import Draft
from holdfast.tasks.preparing.source import Source
from holdfast.tasks.preparing.write import prepare
from tests.support.miniatures import write


def refused(name: str, root: Path, out: Path) -> str:
    """The sentence a preparation ends with; nothing may stand where it would have written."""
    with pytest.raises(HoldfastError) as error:
        prepare(find_card(name), root, out)
    assert not out.exists() and not [p for p in out.parent.iterdir() if p.name.endswith(".partial")]
    return str(error.value)


def test_missing_files_are_named_with_the_tree(
    download: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = download("gqa")
    (root / "testdev_balanced_questions.json").unlink()
    assert run(["data", "prepare", "gqa", "--from", str(root), "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert "testdev_balanced_questions.json' or " in told and "is missing" in told
    assert "images/<image>.jpg" in told and "Traceback" not in told and told.count("\n") == 1


def test_missing_image(download: Callable[[str], Path], tmp_path: Path) -> None:
    root = download("ocrvqa")
    (root / "images" / "0002.png").unlink()
    told = refused("ocrvqa", root, tmp_path / "out")
    assert "item 0002_0" in told and "'images/0002.png' (1 of 1 images)" in told and "dataset.json" in told
    (root / "images" / "0003.png").unlink()
    assert "'images/0002.png'" in refused("ocrvqa", root, tmp_path / "out")


def test_skip_missing_counts(download: Callable[[str], Path], tmp_path: Path) -> None:
    root = download("flickr30k")
    (root / "flickr30k-images" / "103.jpg").unlink()
    made = prepare(find_card("flickr30k"), root, tmp_path / "out", skip_missing=True)
    assert made.left_out == 1 and made.counts == {"train": 1, "validation": 1, "test": 1}


@pytest.mark.parametrize(
    ("name", "file", "change", "said"),
    [
        ("vqav2", "v2_mscoco_val2014_annotations.json", lambda t: t[:-40], "not valid JSON"),
        ("pope", "coco_pope_random.json", lambda t: t[:-12], "line 2: the last line is cut off"),
        ("pope", "coco_pope_random.json", lambda t: t.replace('"no"', '"nope"'), "item random/2"),
        ("vizwiz", "Annotations/val.json", lambda t: t.replace('{"answer": "soup"}, ', "", 1), "9 found"),
        ("vizwiz", "Annotations/val.json", lambda t: t.replace('"answers"', '"answrs"'), "no answers"),
        ("vizwiz", "Annotations/val.json", lambda t: '{"a": 1}', "no list of records"),
        ("gqa", "val_balanced_questions.json", lambda t: t.replace('"imageId": "n2"', '"imageId": "../n2"'), "../n2"),
        ("gqa", "val_balanced_questions.json", lambda t: t.replace('"types": {', '"types": 5, "was": {'), "layout"),
        ("scienceqa", "problems.json", lambda t: t.replace('"answer": 1', '"answer": 2'), "no index"),
        ("scienceqa", "pid_splits.json", lambda t: t.replace('"5"', '"6"'), "item 6"),
        ("ocrvqa", "dataset.json", lambda t: t.replace(', "No"]', "]"), "as many answers"),
        ("rsvqa", "LR_split_test_answers.json", lambda t: t.replace('"question_id": 12', '"question_id": 13'), "12"),
        ("mme", "MME_Benchmark_release_version/count/0001.txt", lambda t: t.replace("\tNo", " No"), "line 2"),
        ("mme", "MME_Benchmark_release_version/OCR/0001.txt", lambda t: t.split("\n")[0], "1 questions"),
        ("mmbench", "mmbench_dev_20230712.tsv", lambda t: t[: t.rindex("\t")], "line 3"),
        ("mmbench", "mmbench_dev_20230712.tsv", lambda t: t.replace("\tB\ttouch", "\tD\ttouch"), "item 2"),
        ("ccbench", "CCBench.tsv", lambda t: t.replace("\t7\tweb", "\t8\tweb"), "item 1000007: the row has no image"),
        ("mmmu", "MMMU_DEV_VAL.tsv", lambda t: t.replace("\t['i", "\t[i"), "item 2: the image is not base64"),
        ("ai2d", "AI2D_TEST.tsv", lambda t: t.replace("\tD\tparts", "\tE\tparts"), "none of the 4 options"),
        ("mathvista", "data/testmini.json", lambda t: t.replace('r": "left"', 'r": "up"'), "none of the choices"),
        ("hallusionbench", "HallusionBench.json", lambda t: t.replace('"gt_answer": "1"', '"gt_answer": "2"'), "not 0"),
        ("seedbench_img", "SEED-Bench.json", lambda t: t.replace('"answer": "C"', '"answer": "E"'), "not one of A"),
        ("ocrbench", "OCRBench/OCRBench.json", lambda t: t.replace('"type"', '"kind"'), "'type' is missing"),
        ("mmvet", "mm-vet.json", lambda t: t.replace('["ocr", "math"]', '"ocr"'), "'capability' is not a list"),
        ("coco_captions_2014", "annotations/captions_val2014.json", lambda t: t.replace('"id": 3', '"id": "x"'), "'x'"),
        ("iconqa_txt", "iconqa/test/choose_txt/9/data.json", lambda t: t.replace('"answer": 1', '"answer": "1"'), "9"),
        ("iconqa_txt", "iconqa/test/choose_txt/9/data.json", lambda t: t[:20], "ends in the middle"),
        ("textvqa_ocr", "TextVQA_Rosetta_OCR_v0.2_val.json", lambda t: t.replace("abc1", "abc2"), "no OCR tokens"),
    ],
)  # fmt: skip
def test_damaged_files(
    name: str, file: str, change: Callable[[str], str], said: str, download: Callable[[str], Path], tmp_path: Path
) -> None:
    root = download(name)
    text = (root / file).read_text(encoding="utf-8")
    assert change(text) != text
    (root / file).write_text(change(text), encoding="utf-8")
    told = refused(name, root, tmp_path / "out")
    assert said in told and "\n" not in told, told


def test_pickles_are_never_opened(download: Callable[[str], Path], tmp_path: Path) -> None:
    root = download("pathvqa")
    (root / "qas" / "val" / "val_qa.json").rename(root / "qas" / "val" / "val_qa.pkl")
    told = refused("pathvqa", root, tmp_path / "out")
    assert "val_qa.pkl" in told and "val_qa.json" in told


def test_nothing_outside_the_download(download: Callable[[str], Path], tmp_path: Path) -> None:
    root = download("vizwiz")
    inside, outside = root / "val" / "VizWiz_val_00000000.jpg", tmp_path / "secret.jpg"
    inside.rename(outside)
    inside.symlink_to(outside)
    assert "leaves the data root" in refused("vizwiz", root, tmp_path / "out")
    root = download("vqav2")
    questions = root / "v2_OpenEnded_mscoco_val2014_questions.json"
    questions.rename(tmp_path / "questions.json")
    questions.symlink_to(tmp_path / "questions.json")
    assert "leaves the folder" in refused("vqav2", root, tmp_path / "out")


def test_an_existing_out_is_refused(download: Callable[[str], Path], tmp_path: Path) -> None:
    root, out = download("vizwiz"), tmp_path / "out"
    out.mkdir()
    with pytest.raises(HoldfastError, match="exists already"):
        prepare(find_card("vizwiz"), root, out)
    assert list(out.iterdir()) == []


def test_items_without_an_answer_are_left_out(download: Callable[[str], Path], tmp_path: Path) -> None:
    root = download("pathvqa")
    rows = [{"image": "test_0001", "question": "what?", "answer": answer} for answer in ("", "liver")]
    write(root / "qas" / "test" / "test_qa.json", [{**row, "answer": row["answer"] or " "} for row in rows])
    made = prepare(find_card("pathvqa"), root, tmp_path / "out")
    assert made.left_out == 1 and made.counts["test"] == 1


def test_the_command_says_what_it_made(
    download: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["data", "prepare", "iconqa_txt", "--from", str(download("iconqa_txt")), "--out", str(tmp_path / "out")]
    assert run([*words, "--limit", "1", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["counts"] == {"train": 1, "validation": 1, "test": 1} and made["images"] == 3
    assert run(words) == 2 and "exists already" in capsys.readouterr().err
    assert run(["data", "prepare", "iconqa", "--from", ".", "--out", str(tmp_path / "o")]) == 2
    assert "did you mean 'iconqa_" in capsys.readouterr().err.lower()
    assert run(["data", "tasks", "--json"]) == 0
    listed = {card["name"]: card for card in json.loads(capsys.readouterr().out)}
    assert (
        listed["pope"]["scores"][0]["score"] == 85.95
        and listed["okvqa"]["roles"]["keeping_yourself"]["role"] == "source"
    )


def test_a_fault_of_a_reader_is_not_blamed_on_the_download(
    download: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from holdfast.tasks.pope import download as reader

    def slips(source: Source, split: str) -> list[Draft]:
        return [source.no_such_method(split)]  # type: ignore[attr-defined]

    monkeypatch.setattr(reader, "read", slips)
    with pytest.raises(AttributeError, match="no_such_method"):
        prepare(find_card("pope"), download("pope"), tmp_path / "out")
