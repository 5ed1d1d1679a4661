"""Every official figure of the gold folder, to the last printed digit."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from holdfast.metrics.meteor import JAR_VARIABLE, find_jar
from holdfast.metrics.registry import get_metric
from holdfast.metrics.text.ptb import words
from holdfast.predictions.record import Prediction, Score
from holdfast.scoring.score import load_items, score, score_items

VQA_FILES = ("yes", "qtype_prior", "majority", "annotator1", "messy")
VQA_VARIANTS = {"official": "vqa_official_head_a013f00", "legacy": "vqa_legacy_pre2021_lavis_lorasculpt"}


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@cache
def vqa_items(folder: Path, name: str) -> tuple[Prediction, ...]:
    return tuple(load_items("vqav2", folder / f"pred_{name}.json", folder / "annotations_valid.json.gz"))


@pytest.mark.parametrize("name", VQA_FILES)
@pytest.mark.parametrize("variant", VQA_VARIANTS)
def test_vqa_official_and_legacy(gold: Path, name: str, variant: str) -> None:
    folder = gold / "vqav2_subset"
    expected = read(folder / "expected.json")[name][VQA_VARIANTS[variant]]
    result = score_items("vqav2", vqa_items(folder, name), variant=variant)
    assert result.n == 8977
    assert round(result.score, 2) == expected.pop("overall")
    by_type = {kind: round(row["score"], 2) for kind, row in result.details["by_answer_type"].items()}
    assert by_type == expected


@pytest.mark.parametrize("name", VQA_FILES)
def test_vqa_evalai_question_by_question(gold: Path, name: str) -> None:
    folder = gold / "vqav2_subset"
    result = score_items("vqav2", vqa_items(folder, name))
    assert result.variant == "evalai"
    assert round(result.score, 2) == read(folder / "expected.json")[name]["m4c_textvqa"]
    expected = read(folder / "expected_per_question_m4c.json")[name]
    assert {item.id: pytest.approx(item.score, abs=1e-12) for item in result.items} == expected


@pytest.mark.parametrize("name", VQA_FILES)
def test_stvqa_and_both_boundaries_of_anls(gold: Path, name: str) -> None:
    folder = gold / "vqav2_subset"
    expected = read(folder / "expected.json")[name]
    items = vqa_items(folder, name)
    for metric, variant, key in (
        ("anls", "m4c", "stvqa_anls_m4c"),
        ("anls", "pix2struct", "pix2struct_anls"),
        ("stvqa_accuracy", None, "stvqa_acc_m4c"),
    ):
        assert get_metric(metric, variant).score(items).score == pytest.approx(100 * expected[key], abs=1e-9)


def test_the_boundary_of_anls_moves_real_scores(gold: Path) -> None:
    items = vqa_items(gold / "vqav2_subset", "qtype_prior")
    kept, dropped = (get_metric("anls", v).score(items).score for v in ("challenge", "paper"))
    assert (round(kept, 2), round(dropped, 2)) == (40.65, 38.92)


@pytest.mark.parametrize("answers", ["llava-v1.5-13b_answers.jsonl", "llava-v1.5-13b_result.json"])
@pytest.mark.parametrize("variant", ["llava", "recorded"])
def test_scienceqa(gold: Path, answers: str, variant: str) -> None:
    folder = gold / "scienceqa"
    if variant == "recorded" and answers.endswith("answers.jsonl"):
        pytest.skip("answers record no index")
    expected = read(folder / "expected.json")["llava15_13b"]
    result = score("scienceqa", folder / answers, folder / "llava_test_CQM-A.json", variant=variant)
    assert result.n == expected["n"]
    assert result.details["correct"] == expected["correct_from_results_dict"]
    assert result.score == pytest.approx(expected["acc"], abs=1e-12)
    image = result.details["image"]
    assert (image["n"], image["correct"]) == (expected["n_img"], expected["img_correct"])
    assert image["score"] == pytest.approx(expected["img_acc"], abs=1e-12)


def test_scienceqa_verdicts_are_those_of_the_result_file(gold: Path) -> None:
    folder = gold / "scienceqa"
    recorded = read(folder / "llava-v1.5-13b_result.json")["results"]
    result = score("scienceqa", folder / "llava-v1.5-13b_answers.jsonl", folder / "llava_test_CQM-A.json")
    parsed = {item.id: -1 if item.parsed is None else "ABCDE".index(item.parsed) for item in result.items}
    assert parsed == recorded
    assert result.unparsed == sum(index == -1 for index in recorded.values())


def test_scienceqa_problems_and_conversations_agree(gold: Path) -> None:
    """The official problem records and split file against the LLaVA form of the same questions."""
    folder = gold / "scienceqa"
    answers = folder / "llava-v1.5-13b_answers.jsonl"
    by_problem = load_items("scienceqa", answers, folder / "problems_first1773.json", intersect=True)
    by_prompt = {i.id: i for i in load_items("scienceqa", answers, folder / "llava_test_CQM-A.json")}
    test_split = set(read(folder / "pid_splits.json")["test"])
    assert {item.id for item in by_problem} <= test_split
    for item in by_problem:
        other = by_prompt[item.id]
        assert (item.references, item.choices) == (other.references, other.choices)
        assert item.extra["image"] == other.extra["image"]
    result = score_items("scienceqa", by_problem)
    assert set(result.details["by_subject"]) == {"NAT", "SOC", "LAN"}
    assert set(result.details["by_grade"]) == {"G1-6", "G7-12"}
    assert sum(row["n"] for row in result.details["by_grade"].values()) == result.n


def test_pope(gold: Path) -> None:
    folder = gold / "pope"
    expected = read(folder / "expected.json")
    result = score("pope", folder / "answers_llava-v1.5-13b.jsonl", folder)
    assert result.score == pytest.approx(100 * expected["mean_f1_of_3_categories"], abs=1e-12)
    for split in ("random", "popular", "adversarial"):
        assert result.details[split] == pytest.approx(expected[split], abs=1e-15)
    pooled = {name: result.details["pooled"][name] for name in expected["pooled_8910"]}
    assert pooled == pytest.approx(expected["pooled_8910"], abs=1e-15)


def test_pope_without_the_question_file_and_split_by_split(gold: Path, tmp_path: Path) -> None:
    for file in (gold / "pope").glob("coco_pope_*.json"):
        shutil.copy(file, tmp_path)
    answers = gold / "pope" / "answers_llava-v1.5-13b.jsonl"
    whole = score("pope", answers, gold / "pope")
    assert score("pope", answers, tmp_path).score == whole.score
    one = score("pope", answers, tmp_path / "coco_pope_random.json", intersect=True)
    assert one.details["random"] == whole.details["random"]


def test_iconqa(gold: Path) -> None:
    folder = gold / "iconqa"
    expected = read(folder / "expected.json")
    result = score("iconqa", folder / "patch_trm_predictions.json", folder)
    for subtask, row in expected.items():
        assert result.details["by_subtask"][subtask] == {"score": pytest.approx(row["acc"]), "n": row["n"]}
    names = {"iconqa_txt": "choose_txt", "iconqa_img": "choose_img", "iconqa_blank": "fill_in_blank"}
    for task, subtask in names.items():
        alone = score(task, folder / "patch_trm_predictions.json", folder / subtask)
        assert (alone.n, alone.score) == (50, pytest.approx(expected[subtask]["acc"]))


def test_anls(gold: Path) -> None:
    folder = gold / "anls"
    expected = read(folder / "expected.json")
    result = score("docvqa", folder / "submission.json", folder / "gold_label.json")
    assert result.score == pytest.approx(100 * expected["anls"], abs=1e-8)
    assert {i.id: i.score for i in result.items} == pytest.approx(expected["per_question"], abs=1e-10)


@pytest.fixture(scope="module")
def captions() -> Score:
    from tests.conftest import GOLD

    folder = GOLD / "coco_caption_fakecap"
    if not folder.is_dir():
        pytest.skip("the gold folder is absent")
    results, references = "captions_val2014_fakecap_results.json", "captions_val2014_subset1000.json"
    return score("coco_captions", folder / results, folder / references)


def test_captions(gold: Path, captions: Score) -> None:
    expected = read(gold / "coco_caption_fakecap" / "expected.json")
    for name in ("Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "ROUGE_L", "CIDEr"):
        assert captions.details[name] == pytest.approx(expected["corpus"][name], abs=1e-12)
    assert captions.score == pytest.approx(100 * expected["corpus"]["CIDEr"], abs=1e-10)


@pytest.mark.parametrize(("metric", "key"), [("cider", "CIDEr"), ("rouge_l", "ROUGE_L"), ("bleu", "Bleu_4")])
def test_captions_image_by_image(gold: Path, metric: str, key: str) -> None:
    folder = gold / "coco_caption_fakecap"
    expected = read(folder / "expected.json")
    items = load_items(
        "coco_captions",
        folder / "captions_val2014_fakecap_results.json",
        folder / "captions_val2014_subset1000.json",
    )
    scores = {item.id: item.score for item in get_metric(metric).score(items).items}
    ordered = [scores[str(image)] for image in expected["per_image_order"]]
    assert ordered == pytest.approx(expected["per_image"][key], abs=1e-7)


def test_tokens_are_those_of_the_java_program(gold: Path) -> None:
    folder = gold / "coco_caption_fakecap"
    expected = read(folder / "tokenized_ptb.json")
    records = read(folder / "captions_val2014_subset1000.json")["annotations"]
    references: dict[str, list[str]] = {}
    for record in records:
        references.setdefault(str(record["image_id"]), []).append(record["caption"])
    flat = [(image, caption) for image, group in references.items() for caption in group]
    tokens = [" ".join(line) for line in words([caption for _, caption in flat])]
    wanted = [line for image in references for line in expected["gts"][image]]
    assert tokens == wanted
    results = {str(r["image_id"]): r["caption"] for r in read(folder / "captions_val2014_fakecap_results.json")}
    said = [" ".join(line) for line in words(results.values())]
    assert said == [expected["res"][image][0] for image in results]


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("java") is None or find_jar() is None, reason=f"needs Java and {JAR_VARIABLE} or pycocoevalcap"
)
def test_meteor(gold: Path) -> None:
    folder = gold / "coco_caption_fakecap"
    results, references = "captions_val2014_fakecap_results.json", "captions_val2014_subset1000.json"
    result = score("coco_captions", folder / results, folder / references, metric="meteor")
    expected = read(folder / "expected.json")["corpus"]["METEOR"]
    assert result.score == pytest.approx(100 * expected, abs=1e-10)
