"""Downloads in miniature: for every card a few items in the official layout, with pictures of a few pixels."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from functools import partial
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


def table(file: Path, columns: str, *rows: tuple[str, ...]) -> None:
    """A benchmark table as VLMEvalKit downloads it; ``columns`` with spaces between."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(cells) for cells in (columns.split(), *rows)]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def mmbench(root: Path, name: str = "mmbench_dev_20230712") -> None:
    table(
        root / f"{name}.tsv",
        "index question hint A B C D answer category image l2-category split",
        ("1", "Which is blue?", "nan", "sky", "grass", "snow", "", "A", "colour", png(), "perception", "dev"),
        ("2", "Which is hot?", "Mind the sun.", "ice", "fire", "", "", "B", "touch", png("red"), "reasoning", "dev"),
    )


def ccbench(root: Path) -> None:
    picture = png()
    table(
        root / "CCBench.tsv",
        "index question A B answer category image source",
        ("7", "Which dish?", "rice", "tea", "A", "food", picture, "web"),
        ("1000007", "Which dish?", "tea", "rice", "B", "food", "7", "web"),
    )


def mmmu(root: Path) -> None:
    columns = "id index question A B C answer image split category question_type"
    several = f"['{png()}', '{png('red')}']"
    table(
        root / "MMMU_DEV_VAL.tsv",
        columns,
        ("dev_Art_1", "1", "Whose <image 1>?", "hers", "his", "", "A", png(), "dev", "Art", "multiple-choice"),
        ("validation_Art_1", "2", "<image 1> or <image 2>?", "one", "two", "three", "C", several, "validation", "Art",
         "multiple-choice"),
        ("validation_Math_2", "3", "How long is <image 1>?", "", "", "", "['3', 'three']", "1", "validation", "Math",
         "open"),
    )  # fmt: skip


def mathvista(root: Path) -> None:
    metadata = {"source": "X", "category": "general-vqa", "task": "figure question answering", "context": "bar chart",
                "grade": "daily life", "skills": ["statistical reasoning"], "language": "english"}  # fmt: skip
    free = {"question": "How high?", "image": "images/1.jpg", "choices": None, "unit": "m", "precision": 1.0,
            "answer": "1.2", "question_type": "free_form", "answer_type": "float", "pid": "1"}  # fmt: skip
    chosen = {"question": "Which?", "image": "images/2.jpg", "choices": ["left", "right"], "unit": None,
              "precision": None, "answer": "left", "question_type": "multi_choice", "answer_type": "text",
              "pid": "2"}  # fmt: skip
    for key in ("1", "2"):
        picture(root / "images" / f"{key}.jpg")
    problems = {row["pid"]: {**row, "metadata": metadata} for row in (free, chosen)}
    write(root / "data" / "testmini.json", problems)


def ocrbench(root: Path) -> None:
    formula = "Handwritten Mathematical Expression Recognition"
    rows = [
        {"dataset_name": "IIIT5K", "id": 7, "image_path": "IIIT5K/7.png", "question": "what is written?",
         "answers": "CENTRE", "type": "Regular Text Recognition"},
        {"dataset_name": "HME100k", "id": 7, "image_path": "HME/7.jpg", "question": "Which formula?",
         "answers": ["x ^ 2"], "type": formula},
    ]  # fmt: skip
    for row in rows:
        picture(root / "OCRBench_Images" / str(row["image_path"]))
    write(root / "OCRBench" / "OCRBench.json", rows)


def hallusionbench(root: Path) -> None:
    def row(category: str, figure: str, visual: str, gold: str, file: str | None) -> dict[str, Any]:
        return {"category": category, "subcategory": "map", "visual_input": visual, "set_id": "0", "figure_id": figure,
                "sample_note": "x", "question_id": "0", "question": "Is it north?", "gt_answer_details": "It is.",
                "gt_answer": gold, "filename": file}  # fmt: skip

    files = {"VS": "./VS/map/0_1.png", "VD": "./VD/map/0_0.png"}
    for file in files.values():
        picture(root / "hallusion_bench" / file)
    rows = [
        row("VS", "0", "0", "1", None),
        row("VS", "1", "2", "0", files["VS"]),
        row("VD", "0", "1", "1", files["VD"]),
    ]
    write(root / "HallusionBench.json", rows)


def mmstar(root: Path) -> None:
    table(
        root / "MMStar.tsv",
        "index question answer category l2_category bench image",
        ("0", "Which?  Options: A: up, B: down", "B", "math", "geometry", "MathVista", png()),
        ("1", "Who?  Options: A: she, B: he", "A", "coarse perception", "image emotion", "MMBench", "0"),
    )


def seedbench_img(root: Path) -> None:
    texts = {f"choice_{name}": word for name, word in zip("abcd", ("one", "two", "three", "four"), strict=True)}
    image = {"answer": "C", **texts, "data_id": "12_34", "data_type": "image", "question": "How many?",
             "question_id": "101669", "question_type_id": 5}  # fmt: skip
    video = {**image, "data_id": "9.webm", "data_type": "video", "question_id": "v1", "question_type_id": 10}
    picture(root / "SEED-Bench-image" / "12.png")
    (root / "SEED-Bench-image" / "12.png").rename(root / "SEED-Bench-image" / "12_34")
    write(root / "SEED-Bench.json", {"questions": [image, video], "question_type": {"Instances Counting": 5}})


def realworldqa(root: Path) -> None:
    table(
        root / "RealWorldQA.tsv",
        "index question A B C answer image",
        ("0", "Which way?", "left", "right", "", "B", png()),
        ("1", "How many lanes?", "", "", "", "3", png("red")),
    )


def ai2d(root: Path, name: str = "AI2D_TEST") -> None:
    table(
        root / f"{name}.tsv",
        "index question A B C D answer category image",
        ("401", "Which letter is the root?", "A", "B", "C", "D", "D", "parts", png()),
    )


def mmtbench(root: Path, name: str = "MMT-Bench_VAL", image: str = "") -> None:
    table(
        root / f"{name}.tsv",
        "index question A B C D E F G H I answer category image l2-category split",
        ("3", "Which?", *"abcdefghi", "I", "food", image or png(), "visual_recognition", "VAL"),
    )


def mmvet(root: Path) -> None:
    picture(root / "images" / "v1_0.png")
    row = {"imagename": "v1_0.png", "question": "What is x?", "answer": "-1 <AND> -5", "capability": ["ocr", "math"]}
    write(root / "mm-vet.json", {"v1_0": row})


MAKERS: dict[str, Callable[[Path], None]] = {
    "ai2d": ai2d, "ai2d_no_mask": partial(ai2d, name="AI2D_TEST_NO_MASK"), "ccbench": ccbench,
    "hallusionbench": hallusionbench, "mathvista": mathvista,
    "mmbench_cn": partial(mmbench, name="MMBench_DEV_CN"), "mmbench_v11": partial(mmbench, name="MMBench_DEV_EN_V11"),
    "mmbench_cn_v11": partial(mmbench, name="MMBench_DEV_CN_V11"), "mmmu": mmmu, "mmstar": mmstar,
    "mmtbench": mmtbench,
    "mmtbench_mi": partial(mmtbench, name="MMT-Bench_VAL_MI", image=f"['{png()}', '{png('red')}']"),
    "mmvet": mmvet, "ocrbench": ocrbench, "realworldqa": realworldqa, "seedbench_img": seedbench_img,
    "coco_captions": coco_captions, "coco_captions_2014": coco_captions_2014, "flickr30k": flickr30k, "gqa": gqa,
    "iconqa_blank": iconqa_blank, "iconqa_txt": iconqa_txt, "mmbench": mmbench, "mme": mme, "mme_llava": mme,
    "ocrvqa": ocrvqa, "okvqa": okvqa, "pathvqa": pathvqa, "pope": pope, "rsvqa": rsvqa, "rsvqa_hr": rsvqa_hr,
    "scienceqa": scienceqa, "scienceqa_llava": scienceqa, "textvqa": textvqa, "textvqa_ocr": textvqa,
    "vizwiz": vizwiz, "vqav2": vqav2,
}  # fmt: skip
"""Card name -> what lays its download out in a folder."""
