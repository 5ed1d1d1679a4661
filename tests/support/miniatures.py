"""Downloads in miniature: for every card a few items in the official layout, with pictures of a few pixels."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

from PIL import Image

from holdfast.tasks.mme.download import SUBTASKS


def picture(file: Path, colour: str = "red") -> None:
    """A 4 x 4 image at ``file``."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), colour).save(file)


def write(file: Path, content: Any) -> None:
    """JSON, or text as it is."""
    file.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    file.write_text(text, encoding="utf-8")


def ten(*most: str) -> list[dict[str, Any]]:
    """Ten annotators' answers: the given ones, then the last of them until there are ten."""
    answers = [*most, *([most[-1]] * (10 - len(most)))]
    return [{"answer": answer, "answer_id": n} for n, answer in enumerate(answers, start=1)]


def _coco_vqa(root: Path, questions: str, annotations: str) -> None:
    for number, split in enumerate(("train2014", "val2014"), start=1):
        image = number * 11
        picture(root / split / f"COCO_{split}_{image:012d}.jpg")
        rows = [(image * 1000 + n, f"What is number {n}?") for n in range(2)]
        asked = [{"question_id": key, "image_id": image, "question": text} for key, text in rows]
        write(root / questions.format(split=split), {"questions": asked})
        given = [
            {"question_id": key, "image_id": image, "answers": ten("cat", "dog"), "answer_type": "other",
             "question_type": "what is"} for key, _ in reversed(rows)
        ]  # fmt: skip
        write(root / annotations.format(split=split), {"annotations": given})


def vqav2(root: Path) -> None:
    _coco_vqa(root, "v2_OpenEnded_mscoco_{split}_questions.json", "v2_mscoco_{split}_annotations.json")


def okvqa(root: Path) -> None:
    _coco_vqa(root, "OpenEnded_mscoco_{split}_questions.json", "mscoco_{split}_annotations.json")


def vizwiz(root: Path) -> None:
    for split in ("train", "val"):
        name = f"VizWiz_{split}_00000000.jpg"
        picture(root / split / name)
        answers = [{"answer": "unanswerable", "answer_confidence": "no"}] * 6 + [{"answer": "soup"}] * 4
        row = {"image": name, "question": "What is this?", "answers": answers, "answer_type": "unanswerable",
               "answerable": 0}  # fmt: skip
        write(root / "Annotations" / f"{split}.json", [row])


def scienceqa(root: Path) -> None:
    problems, splits = {}, {"train": ["1"], "val": ["2"], "test": ["3", "5"]}
    for split, ids in splits.items():
        for key in ids:
            pictured = key != "5"
            problems[key] = {
                "question": "Which one is red?", "choices": ["the left one", "the right  one"], "answer": 1,
                "hint": "Look at the picture." if key == "3" else "", "image": "image.png" if pictured else None,
                "grade": "grade7", "subject": "natural science", "topic": "physics", "skill": "colours",
                "lecture": "", "solution": "", "split": split,
            }  # fmt: skip
            if pictured:
                picture(root / "images" / split / key / "image.png")
    write(root / "problems.json", problems)
    write(root / "pid_splits.json", splits)


def _iconqa(root: Path, subtask: str, record: dict[str, Any]) -> None:
    for number, split in enumerate(("train", "val", "test", "test"), start=7):
        folder = root / "iconqa" / split / subtask / str(number)
        picture(folder / "image.png")
        write(folder / "data.json", {**record, "ques_type": subtask, "grade": "grade1", "label": "A1"})
    write(root / "iconqa" / "pid2skills.json", {"9": ["counting"], "10": ["counting", "geometry"]})


def iconqa_txt(root: Path) -> None:
    _iconqa(root, "choose_txt", {"question": "How many?", "choices": ["one", "two"], "answer": 1})


def iconqa_blank(root: Path) -> None:
    _iconqa(root, "fill_in_blank", {"question": "There are () stars.", "answer": "12"})


def _sentences(word: str) -> list[dict[str, Any]]:
    return [{"raw": f"A {word} lies on the green grass."}, {"raw": f"One {word}, alone on a lawn."}]


def flickr30k(root: Path) -> None:
    images = []
    for number, split in enumerate(("train", "val", "test", "test")):
        name = f"10{number}.jpg"
        picture(root / "flickr30k-images" / name)
        sentences = _sentences(("dog", "cat", "red ball", "wooden boat")[number])
        images.append({"filename": name, "imgid": number, "split": split, "sentences": sentences})
    write(root / "dataset_flickr30k.json", {"images": images, "dataset": "flickr30k"})


def coco_captions(root: Path) -> None:
    images = []
    for number, split in enumerate(("train", "restval", "val", "test", "test"), start=1):
        folder = "train2014" if split == "train" else "val2014"
        name = f"COCO_{folder}_{number:012d}.jpg"
        picture(root / folder / name)
        sentences = _sentences(("dog", "cat", "mouse", "red ball", "wooden boat")[number - 1])
        images.append({"filepath": folder, "filename": name, "cocoid": number, "imgid": number + 50, "split": split,
                       "sentences": sentences})  # fmt: skip
    write(root / "dataset_coco.json", {"images": images, "dataset": "coco"})


def coco_captions_2014(root: Path) -> None:
    for split, numbers in (("train2014", (1,)), ("val2014", (2, 3))):
        images = [{"id": n, "file_name": f"COCO_{split}_{n:012d}.jpg"} for n in numbers]
        annotations = []
        for image in images:
            picture(root / split / str(image["file_name"]))
            words = _sentences(("dog", "red ball", "wooden boat")[int(str(image["id"])) - 1])
            annotations += [{"image_id": image["id"], "caption": one["raw"]} for one in words]
        write(root / "annotations" / f"captions_{split}.json", {"images": images, "annotations": annotations})


def ocrvqa(root: Path) -> None:
    books = {}
    for number in (1, 2, 3):
        book = f"000{number}"
        books[book] = {
            "imageURL": f"http://shop.example/{book}.png?size=2", "questions": ["Who wrote this?", "Is it a novel?"],
            "answers": ["Ada L.", "No"], "genre": "Science", "split": number,
        }  # fmt: skip
        picture(root / "images" / f"{book}.png")
    write(root / "dataset.json", books)


def textvqa(root: Path) -> None:
    for number, split in enumerate(("train", "val")):
        image = f"abc{number}"
        picture(root / "train_images" / f"{image}.jpg")
        answers = ["", *["sale"] * 9]
        row = {"question_id": number, "image_id": image, "question": "what does it say?", "answers": answers,
               "image_classes": ["Sign"], "set_name": split}  # fmt: skip
        write(root / f"TextVQA_0.5.1_{split}.json", {"data": [row], "dataset_type": split})
        tokens = {"image_id": image, "ocr_tokens": ["SALE", "50%"]}
        write(root / f"TextVQA_Rosetta_OCR_v0.2_{split}.json", {"data": [tokens]})


def gqa(root: Path) -> None:
    for number, split in enumerate(("train", "val", "testdev"), start=1):
        picture(root / "images" / f"n{number}.jpg")
        steps = [{"operation": "select", "argument": "cat"}, {"operation": "query", "argument": "name"}]
        row = {
            "imageId": f"n{number}", "question": "What animal is it?", "answer": "cat", "isBalanced": True,
            "types": {"structural": "query", "semantic": "obj"}, "groups": {"global": "animal"}, "entailed": [],
            "semantic": steps,
        }  # fmt: skip
        write(root / f"{split}_balanced_questions.json", {f"0{number}": row})


def pathvqa(root: Path) -> None:
    for split in ("train", "val", "test"):
        picture(root / "images" / split / f"{split}_0001.jpg")
        rows = [("is it necrotic?", "yes"), ("what is shown?", "fatty liver")]
        content = [{"image": f"{split}_0001", "question": q, "answer": a} for q, a in rows]
        write(root / "qas" / split / f"{split}_qa.json", content)


def _rsvqa(root: Path, prefix: str, images: str) -> None:
    for number, split in enumerate(("train", "val", "test")):
        picture(root / images / f"{number}.tif")
        asked = [{"id": number, "active": False}, {"id": 10 + number, "img_id": number, "type": "presence",
                 "question": "Is a road present?", "answers_ids": [20 + number], "active": True}]  # fmt: skip
        given = [{"id": 5, "active": False}, {"id": 20 + number, "question_id": 10 + number, "answer": "yes",
                 "active": True}]  # fmt: skip
        write(root / f"{prefix}_split_{split}_questions.json", {"questions": asked})
        write(root / f"{prefix}_split_{split}_answers.json", {"answers": given})


def rsvqa(root: Path) -> None:
    _rsvqa(root, "LR", "Images_LR")


def rsvqa_hr(root: Path) -> None:
    _rsvqa(root, "USGS", "Data")


def pope(root: Path) -> None:
    name = "COCO_val2014_000000000001.jpg"
    picture(root / "val2014" / name)
    for split in ("random", "popular", "adversarial"):
        rows = [
            {"question_id": n, "image": name, "text": f"Is there a {what} in the image?", "label": label}
            for n, what, label in ((1, "dog", "yes"), (2, "cat", "no"))
        ]
        write(root / f"coco_pope_{split}.json", "".join(json.dumps(row) + "\n" for row in rows))


def mme(root: Path) -> None:
    text = "Is it a dog? Please answer yes or no.\tYes\nIs it a cat? Please answer yes or no.\tNo\n"
    for subtask in SUBTASKS:
        folder = root / "MME_Benchmark_release_version" / subtask
        apart = subtask in ("artwork", "celebrity", "landmark", "posters", "scene")
        picture((folder / "images" if apart else folder) / "0001.png")
        write((folder / "questions_answers_YN" if apart else folder) / "0001.txt", text)


def png(colour: str = "blue") -> str:
    """A small PNG as base64."""
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), colour).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


def mmbench(root: Path) -> None:
    columns = ("index", "question", "hint", "A", "B", "C", "D", "answer", "category", "image", "l2-category", "split")
    rows = [
        ("1", "Which is blue?", "nan", "sky", "grass", "snow", "", "A", "colour", png(), "perception", "dev"),
        ("2", "Which is hot?", "Mind the sun.", "ice", "fire", "", "", "B", "touch", png("red"), "reasoning", "dev"),
    ]
    root.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(cells) for cells in (columns, *rows)]
    (root / "mmbench_dev_20230712.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


MAKERS = {
    "coco_captions": coco_captions, "coco_captions_2014": coco_captions_2014, "flickr30k": flickr30k, "gqa": gqa,
    "iconqa_blank": iconqa_blank, "iconqa_txt": iconqa_txt, "mmbench": mmbench, "mme": mme, "mme_llava": mme,
    "ocrvqa": ocrvqa, "okvqa": okvqa, "pathvqa": pathvqa, "pope": pope, "rsvqa": rsvqa, "rsvqa_hr": rsvqa_hr,
    "scienceqa": scienceqa, "scienceqa_llava": scienceqa, "textvqa": textvqa, "textvqa_ocr": textvqa,
    "vizwiz": vizwiz, "vqav2": vqav2,
}  # fmt: skip
"""Card name -> what lays its download out in a folder."""
