"""Cards load, say what the papers say, and their page is current."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from holdfast.errors import HoldfastError
from holdfast.metrics.registry import get_metric
from holdfast.scoring.benchmarks import find_benchmark
from holdfast.scoring.judge import metric_of
from holdfast.tasks.cards import all_cards, card_file, card_names, card_text, find_card, read_card
from holdfast.tasks.page import BEGIN, END, markdown

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT.parent / "shared" / "reference"

NAMED_IN_THE_PLAN = [
    "scienceqa", "vizwiz", "iconqa_txt", "iconqa_blank", "flickr30k", "okvqa", "ocrvqa", "vqav2", "textvqa", "gqa",
    "pathvqa", "rsvqa", "coco_captions", "pope", "mme", "mmbench",
]  # fmt: skip

# Table 10 of arXiv 2406.05130, its placeholders written as fields.
TABLE_10 = {
    "okvqa": "{question} Answer the question using a single word or phrase.",
    "ocrvqa": "{question} Answer the question using a single word or phrase.",
    "vqav2": "{question} Answer the question using a single word or phrase.",
    "scienceqa": "{question} {lettered}",
    "iconqa_blank": "{question} Fill in the blanks in () or answer this question.",
    "iconqa_txt": "{question} Choices: {choices} Choose an option from the choices to answer the question.",
    "vizwiz": 'Question: {question} When the information is insufficient, respond with "Unanswerable". '
    "Answer the question using a single word or phrase.",
}


def test_all_cards_load_and_name_a_metric_and_a_reader() -> None:
    assert set(NAMED_IN_THE_PLAN) <= set(card_names())
    for card in all_cards():
        assert card.name in card_names()
        assert get_metric(card.metric, card.variant).variant == card.variant
        module = card.layout.partition(":")[0]
        assert (ROOT / "src" / "holdfast" / "tasks" / module / "download.py").is_file()
        assert card.splits.test, f"{card.name} asks nothing"


def test_cards_and_official_files_are_scored_alike() -> None:
    for card in all_cards():
        benchmark = find_benchmark(card.name)
        if benchmark is not None:
            metric = metric_of(benchmark.metrics[card.name])
            # Answers just made have no grades of a judge yet; MM-Vet's own files are nothing but grades.
            variant = "judged" if card.name == "mmvet" else card.variant
            assert (metric.name, metric.variant) == (card.metric, variant)


def test_prompts_are_those_of_the_table() -> None:
    for name, prompt in TABLE_10.items():
        assert find_card(name).prompt == (prompt,)
    brief = find_card("flickr30k").prompt
    assert len(set(brief)) == 10 and find_card("coco_captions").prompt == brief
    assert not any("key features" in one for one in brief)


def test_published_figures_stand_in_the_reference_documents() -> None:
    if not REFERENCE.is_dir():
        pytest.skip("the reference documents are absent")
    files = [*REFERENCE.glob("*.md"), *(REFERENCE.parent / "gold").glob("README.md")]
    text = " ".join(file.read_text(encoding="utf-8") for file in files)
    text += (REFERENCE.parent / "gold" / "iconqa" / "expected.json").read_text(encoding="utf-8")
    known = {float(number) for number in re.findall(r"\d+\.\d+", text)}
    rounded = {round(number, 2) for number in known}
    for card in all_cards():
        for one in card.scores:
            if re.search(r"\b[0-9a-f]{7}\b", one.provenance):
                continue  # it stands in a file of an official repository, at that revision
            assert one.score in known or one.score in rounded, (card.name, one.score)


def test_mistakes_in_a_card(tmp_path: Path) -> None:
    text = card_file("pope").read_text(encoding="utf-8")

    def told(changed: str) -> str:
        file = tmp_path / "card.yaml"
        file.write_text(changed, encoding="utf-8")
        with pytest.raises(HoldfastError) as error:
            read_card(file)
        assert str(file) in str(error.value)
        return str(error.value)

    assert "unknown key 'metrik'" in told(text.replace("metric:", "metrik:"))
    assert "'metric' is missing" in told(text.replace("metric: pope\n", ""))
    assert "no field {qestion}" in told(text.replace("{question}", "{qestion}"))
    assert "'max_new_tokens'" in told(text.replace("max_new_tokens: 16", "max_new_tokens: 0"))
    assert "line 2" in told("name: pope\n  version: 1\n")
    with pytest.raises(HoldfastError, match="Did you mean 'pope'"):
        find_card("popee")


def test_a_card_that_is_like_another_says_what_differs(tmp_path: Path) -> None:
    (tmp_path / "pope.yaml").write_text(card_file("pope").read_text(encoding="utf-8"), encoding="utf-8")
    file = tmp_path / "popular.yaml"
    own = "name: popular\nlike: pope\nversion: 3\ntitle: The popular split\norigin: {licence: MIT}\n"

    def told(changed: str) -> str:
        file.write_text(changed, encoding="utf-8")
        with pytest.raises(HoldfastError) as error:
            read_card(file)
        return str(error.value)

    file.write_text(own, encoding="utf-8")
    pope, popular = find_card("pope"), read_card(file)
    assert (popular.prompt, popular.metric, popular.splits) == (pope.prompt, pope.metric, pope.splits)
    assert popular.origin == pope.origin.model_copy(update={"licence": "MIT"})
    assert pope.scores and pope.notes and not popular.scores and not popular.notes  # figures are of one card
    assert popular.roles.keeping_yourself.role == "absent"
    assert "no card popp.yaml to be like" in told(own.replace("like: pope", "like: popp"))
    assert "no card ../pope.yaml to be like" in told(own.replace("like: pope", "like: ../pope"))
    assert "is like another card itself" in told(own.replace("like: pope", "like: popular"))


def test_the_text_of_a_card_needs_no_other_card(tmp_path: Path) -> None:
    for card in all_cards():
        (tmp_path / "card.yaml").write_text(card_text(card.name), encoding="utf-8")
        assert read_card(tmp_path / "card.yaml") == card


def test_the_page_is_current() -> None:
    page = (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8")
    made = page.partition(BEGIN)[2].partition(END)[0]
    assert made.strip() == markdown().strip(), "run: holdfast data tasks --markdown, and put it into docs/tasks.md"
