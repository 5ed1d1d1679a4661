"""MMMU, MathVista, OCRBench, HallusionBench, MM-Vet and benchmarks of single choice, on items worked out by hand."""

from __future__ import annotations

import random
from collections import defaultdict
from functools import cache
from typing import Any

import pytest

from holdfast.errors import HoldfastError
from holdfast.predictions.record import Prediction, Score
from holdfast.tasks.mathvista.parsing import quick_extraction, value_of
from holdfast.tasks.mmmu.parsing import open_match, open_values
from tests.support.judging import ask, one

ANIMALS = ("cat", "dog", "red cow", "goat")

# MMMU: parse_open_response and eval_open of mmmu/utils/eval_utils.py


@pytest.mark.parametrize(
    ("answer", "values"),
    [
        ("36 watts", {"36 watts", 36.0}),
        ("x = 3.456", {3.46}),
        ("The answer is 1,234.", {1234.0, 234.0}),  # the plain number's pattern begins behind the comma
        ("It is B. So it is C", {" c", "c "}),  # one line: the lowering hides the sentence's end
        ("It is two\nx = y", {"two", " y", "y "}),
        ("x = y\nIt holds", {"x = y\nit holds"}),  # an equals sign counts in the last line only
        ("about 2e3 or -.5", {"about 2e3 or -.5", 2000.0, 3.0, -0.5}),
    ],
)
def test_values_of_open_answers(answer: str, values: set[str | float]) -> None:
    assert open_values(answer) == values


def test_open_answers_match_numbers_and_texts() -> None:
    assert open_match(["3.46"], open_values("x = 3.456"))
    assert open_match(["transformation"], open_values("It is a Transformation of space"))
    assert not open_match(["transformation"], open_values("translation"))
    assert open_match(["5", "five"], open_values("five")) and open_match(["5", "five"], open_values("5.0"))
    assert open_match(["C"], open_values("vitamin C")) and not open_match(["C"], open_values("carbon"))


def college(key: str, said: str | None, gold: str, *, choices: tuple[str, ...] = ANIMALS, **extra: Any) -> Prediction:
    kind = "multiple-choice" if choices else "open"
    return Prediction(key, said, (gold,), choices=choices, extra={"question_type": kind, **extra})


def test_mmmu_by_subject_and_discipline() -> None:
    result = ask(
        "mmmu",
        college("validation_Art_1", "(B)", "B"),
        college("validation_Art_Theory_2", "a horse", "B"),
        college("validation_Math_3", "= 12", "12", choices=()),
        college("validation_Math_4", None, "A", choices=ANIMALS[:2]),
    )
    assert (result.score, result.n, result.missing, result.unparsed) == (50.0, 4, 1, 1)
    assert result.details["by_subject"] == {
        "Art": {"score": 100.0, "n": 1}, "Art_Theory": {"score": 0.0, "n": 1}, "Math": {"score": 50.0, "n": 2},
    }  # fmt: skip
    assert result.details["by_discipline"] == {
        "Art and Design": {"score": 50.0, "n": 2}, "Science": {"score": 50.0, "n": 2},
    }  # fmt: skip
    # The official code would draw one of four options for one item and one of two for another.
    assert result.details["with_guesses"] == pytest.approx(100 * (1 + 1 / 4 + 1 + 1 / 2) / 4)


def test_mmmu_variants() -> None:
    unread = college("q", "Answer:B because", "B", subject="Art Theory")
    assert {v: ask("mmmu", unread, variant=v).score for v in ("official", "guesses", "lmms_eval", "vlmevalkit")} == {
        "official": 0.0, "guesses": 25.0, "lmms_eval": 100.0, "vlmevalkit": 100.0,
    }  # fmt: skip
    # VLMEvalKit turns an open question into one of two options, of which the gold is the first.
    assert one("mmmu", "36 W", "36", variant="vlmevalkit") == 1 and one("mmmu", "C", "C", variant="vlmevalkit") == 0
    assert one("mmmu", "36 W", "36") == one("mmmu", "vitamin C", "C") == 1


# MathVista: extract_answer (quick) and normalize_extracted_answer


def test_mathvista_quick_extraction() -> None:
    assert quick_extraction("dog", ANIMALS, "text") == "dog"
    assert quick_extraction("7", (), "integer") == "7" and quick_extraction("7.5", (), "integer") is None
    assert quick_extraction("7", (), "float") == "7.0"
    assert quick_extraction('Well. The answer is "red cow".', ANIMALS, "text") == "red cow"
    assert quick_extraction("The answer is red cow.", ANIMALS, "text") is None


@pytest.mark.parametrize(
    ("extraction", "choices", "kind", "precision", "value"),
    [
        ("B", ANIMALS, "text", None, "dog"),
        ("it is (c) the cow", ANIMALS, "text", None, "red cow"),
        ("E", ANIMALS, "text", None, "cat"),  # no letter of an option: the nearest text, the first of equals
        ("rod cow!", ANIMALS, "text", None, "red cow"),
        ("5.9", (), "integer", None, "5"),
        ("1.25", (), "float", 1.0, "1.2"),
        ("1.2", (), "float", float("nan"), None),
        ("1.2", (), "float", None, None),
        ("inf", (), "integer", None, None),
        ("[1, 2]", (), "list", None, "[1, 2]"),
    ],
)
def test_mathvista_values(
    extraction: str, choices: tuple[str, ...], kind: str, precision: Any, value: str | None
) -> None:
    assert value_of(extraction, choices, kind, precision) == value


def test_mathvista_takes_the_nearest_option() -> None:
    @cache
    def distance(a: str, b: str) -> int:
        if not a or not b:
            return len(a) + len(b)
        return min(distance(a[1:], b) + 1, distance(a, b[1:]) + 1, distance(a[1:], b[1:]) + (a[0] != b[0]))

    draw = random.Random(5)
    for _ in range(50):
        texts = ["".join(draw.choices("ab c", k=draw.randint(2, 6))) for _ in range(5)]
        said, options = texts[0].strip(), tuple(texts[1:])
        ways = [distance(said, option) for option in options]
        assert value_of(texts[0], options, "text", None) == options[ways.index(min(ways))]


def problem(said: str, gold: str, kind: str, *, choices: tuple[str, ...] = (), **extra: Any) -> Prediction:
    return Prediction(f"{said}{extra}", said, (gold,), choices=choices, extra={"answer_type": kind, **extra})


def test_mathvista_reads_extractions_and_never_asks_for_one() -> None:
    judged = problem("It must be five.", "5", "integer", extraction="5.0", skills=["arithmetic", "geometry"])
    by_rule = problem("5", "5", "integer", skills=["arithmetic"])
    silent = problem("It must be 5.", "5", "integer", skills=["geometry"])
    result = ask("mathvista", judged, by_rule, silent)
    assert (result.score, result.unparsed) == (pytest.approx(200 / 3), 1)
    assert result.details["extractions_read_in"] == 1 and result.details["lenient"] == pytest.approx(100)
    assert result.details["by_skills"] == {
        "arithmetic": {"score": 100.0, "n": 2}, "geometry": {"score": 50.0, "n": 2},
    }  # fmt: skip
    scores = {v: ask("mathvista", judged, variant=v).score for v in ("official", "paper", "vlmevalkit")}
    assert scores == {"official": 100.0, "paper": 0.0, "vlmevalkit": 0.0}


def test_mathvista_choices_that_end_in_spaces() -> None:
    # Example files hold the answer without them, so that the index tells which choice is meant.
    item = problem("(A)", "left", "text", choices=("left ", "right"), extraction="A", answer_index=0)
    assert ask("mathvista", item).score == 100.0


def test_mmvet_without_a_judge() -> None:
    for said, gold, right in (
        ("-1 and -5", "-1<AND>-5", 1),
        ("-1", "-1<AND>-5", 0),
        ("13.7 gallons", "13.6 <OR> 13.7", 1),
    ):
        assert one("mmvet", said, gold, variant="mentions") == right


def test_mathvista_numbers_in_vlmevalkit() -> None:
    close = problem("1.20", "1.2", "float", precision=1)
    listed = problem("[1, 2]", "[1, 2]", "list", extraction="[1, 2]")
    option = problem("the answer is B", "dog", "text", choices=ANIMALS)
    assert [ask("mathvista", item, variant="vlmevalkit").score for item in (close, listed, option)] == [100, 0, 100]
    assert [ask("mathvista", item).score for item in (close, listed, option)] == [100, 100, 0]


# OCRBench: the loop of OCRBench/example.py


def test_ocrbench_on_its_scale() -> None:
    def item(key: str, said: str, gold: tuple[str, ...], kind: str, data_set: str) -> Prediction:
        return Prediction(key, said, gold, extra={"type": kind, "dataset_name": data_set})

    formula = "Handwritten Mathematical Expression Recognition"
    items = [
        item("1", "It says CENTRE.", ("centre",), "Regular Text Recognition", "IIIT5K"),
        item("2", "line\none", ("line one", "other"), "Doc-oriented VQA", "docVQA"),
        item("3", "x^{2} + 1", ("x ^ { 2 }+1",), formula, "HME100k"),
        item("4", "X+1", ("x+1",), formula, "HME100k"),
        item("5", "a b", ("ab",), "Key Information Extraction", "FUNSD"),
    ]
    result = ask("ocrbench", *items)
    assert [each.score for each in result.items] == [1, 1, 1, 0, 0]
    assert (result.score, result.details["right"]) == (600.0, 3)
    assert result.details["by_kind"] == {
        "Text Recognition": {"score": 1, "n": 1}, "Doc-oriented VQA": {"score": 1, "n": 1},
        "Key Information Extraction": {"score": 0, "n": 1}, formula: {"score": 1, "n": 2},
    }  # fmt: skip
    wide = item("6", "\uff21\uff11\u3000b", ("A1 B",), "Scene Text-centric VQA", "ESTVQA_cn")
    assert [ask("ocrbench", wide, variant=v).score for v in ("official", "vlmevalkit", "lmms_eval")] == [0, 0, 1000]


# HallusionBench: get_eval_all, get_eval_pair_all, get_eval_fig, get_eval_pair_easy and _hard


def figure_item(
    place: str, right: bool, *, check: str | None = None, visual: str = "1", gold: str = "1", **extra: Any
) -> Prediction:
    category, subcategory, group, figure, question = place.split("_")
    said = "Yes." if right == (gold == "1") else "No, it is not."
    fields = {"category": category, "subcategory": subcategory, "set_id": group, "figure_id": figure}
    more = {"question_id": question, "visual_input": visual, "check": check, **extra}
    return Prediction(place, said, (gold,), extra={**fields, **more})


def test_hallusionbench_by_hand() -> None:
    result = ask(
        "hallusionbench",
        figure_item("VD_math_0_0_0", True),
        figure_item("VD_math_0_0_1", True, gold="0"),
        figure_item("VD_math_0_1_0", True, visual="2"),
        figure_item("VD_math_0_1_1", False, visual="2"),
        figure_item("VS_map_0_0_0", True, visual="0"),
        figure_item("VS_map_0_1_0", False),
    )
    details = result.details
    assert result.score == details["aAcc"] == pytest.approx(100 * 4 / 6)
    # Pairs: question 0 and 1 of the VD set, question 0 of the VS set. Figures: two of VD, one of VS (its 0 is none).
    assert (details["qAcc"], details["fAcc"]) == (pytest.approx(100 / 3), pytest.approx(100 / 3))
    assert details["mean"] == pytest.approx((100 * 4 / 6 + 200 / 3) / 3)
    assert details["figures"] == {
        "n": 3, "right": pytest.approx(100 / 3), "inconsistent": pytest.approx(100 / 3),
        "wrong": pytest.approx(100 / 3), "score": pytest.approx((1 + 1 / 2 + 0) / 3),
    }  # fmt: skip
    # Easy: VD questions on their first figure, and the VS pair, which has no edited figure; hard: VD's edited one.
    assert (details["easy"], details["hard"]) == (pytest.approx(200 / 3), 50.0)
    assert details["by_category"]["VD"] == {"aAcc": 75.0, "qAcc": 50.0, "fAcc": 50.0}
    kit = ask("hallusionbench", figure_item("VS_map_0_0_0", False, visual="0"), variant="vlmevalkit")
    assert (kit.score, kit.details["figures"]["n"]) == (0.0, 1)


def test_hallusionbench_reads_the_judge() -> None:
    unsure = figure_item("VS_map_0_0_0", False, check="2", visual="0", same="1")
    items = [
        unsure,
        figure_item("VS_map_0_1_0", True, check="0", visual="2", same="1"),
        figure_item("VD_ocr_0_0_0", True, check="1", same="1"),
        figure_item("VD_ocr_0_1_0", True, check="0", visual="2", same="1"),
    ]
    result = ask("hallusionbench", *items)
    # Unclear is right only where there is no figure to look at.
    assert {each.id: each.score for each in result.items} == {
        "VS_map_0_0_0": 1, "VS_map_0_1_0": 0, "VD_ocr_0_0_0": 1, "VD_ocr_0_1_0": 0,
    }  # fmt: skip
    assert result.details["judged"] == 4
    # Unsure without the figure and wrong with it: the eye. Right, then the same again on the edited figure: either.
    assert result.details["failures"] == {"LH": 0.0, "VI": 50.0, "Mixed": 50.0, "n": 2}
    with pytest.raises(HoldfastError, match="the judge's verdict is '3'"):
        ask("hallusionbench", figure_item("VD_ocr_0_0_0", True, check="3"))
    with pytest.raises(HoldfastError, match="no category"):
        ask("hallusionbench", Prediction("q", "Yes", ("Yes",)))


def test_hallusionbench_against_groups_counted_anew() -> None:
    draw = random.Random(3)
    places = [
        f"{category}_{kind}_{group}_{figure}_{question}"
        for category in ("VD", "VS") for kind in ("map", "ocr") for group in range(3)
        for figure in range(3) for question in range(2)
    ]  # fmt: skip
    truth = {place: draw.random() < 0.7 for place in places}
    result = ask("hallusionbench", *(figure_item(place, right) for place, right in truth.items()))
    pairs, figures = defaultdict(list), defaultdict(list)
    for place, right in truth.items():
        head, figure, question = place.rsplit("_", 2)
        pairs[head, question].append(right)
        if not (place.startswith("VS") and figure == "0"):
            figures[head, figure].append(right)
    assert result.details["qAcc"] == pytest.approx(100 * sum(map(all, pairs.values())) / len(pairs))
    assert result.details["fAcc"] == pytest.approx(100 * sum(map(all, figures.values())) / len(figures))


def test_hallusionbench_index_of_vlmevalkit() -> None:
    item = Prediction("a_b_c_4_1_0", "no", ("No",), extra={"category": "VD", "l2-category": "ocr"})
    assert ask("hallusionbench", item, variant="vlmevalkit").details["qAcc"] == 100.0


# MM-Vet: export_result of mm-vet_evaluator.py


def test_mmvet_grades_by_capability() -> None:
    result = ask(
        "mmvet",
        Prediction(
            "v1_0", "x", ("1",), extra={"grades": [1.0, 0.5], "capability": ["math", "ocr"], "model": ["g", "g"]}
        ),
        Prediction("v1_1", "y", ("1",), extra={"grades": [0.0, 0.0], "capability": ["ocr"], "model": ["g", "g"]}),
    )
    assert result.score == pytest.approx(37.5)
    assert (result.details["runs"], result.details["std"], result.details["judge"]) == ([50.0, 25.0], 12.5, "g")
    assert result.details["by_capability"] == {"math": {"score": 75.0, "n": 1}, "ocr": {"score": 37.5, "n": 2}}
    assert set(result.details["by_integration"]) == {"ocr", "ocr_math"}


def test_mmvet_refuses_what_is_no_grade() -> None:
    with pytest.raises(HoldfastError, match="no grade"):
        ask("mmvet", Prediction("v1_0", "x"))
    with pytest.raises(HoldfastError, match="not a number from 0 to 1"):
        ask("mmvet", Prediction("v1_0", "x", extra={"grades": 7}))
    with pytest.raises(HoldfastError, match="1 and 2 times"):
        ask("mmvet", *(Prediction(str(n), "x", extra={"grades": [1.0] * n}) for n in (1, 2)))


# Single choice: what each tool prints


def choice(key: str, said: str, gold: str, **extra: Any) -> Prediction:
    return Prediction(key, said, (gold,), choices=ANIMALS, extra=extra)


def test_mmstar_headline_of_each_tool() -> None:
    items = [
        choice("1", "A", "A", category="math", l2_category="geometry"),
        choice("2", "A", "A", category="math", l2_category="geometry"),
        choice("3", "dog", "B", category="math", l2_category="statistical reasoning"),
    ]
    assert ask("mmstar", *items).score == pytest.approx(200 / 3)  # D opens 'dog'
    assert ask("mmstar", *items, variant="vlmevalkit").score == 100.0
    averaged = ask("mmstar", *items, variant="lmms_eval")
    assert (averaged.score, averaged.details["mean_of_items"]) == (50.0, pytest.approx(200 / 3))


def test_options_that_stand_in_the_question() -> None:
    item = Prediction("7", "The answer is D", ("D",), question="Which?\nOptions: A: 1, B: 2, C: 3, D: 4")
    assert [ask("mmstar", item, variant=v).score for v in ("official", "vlmevalkit", "lmms_eval")] == [100.0] * 3


def test_an_item_without_its_right_option_is_wrong_and_said() -> None:
    lost = Prediction("7", "C", ("C",), choices=("1", "2"))
    result = ask("seedbench", lost, choice("1", "A", "A"), choice("2", "B", "B"))
    assert (result.score, result.details["unjudged"]) == (pytest.approx(200 / 3), 1)


def test_seedbench_dimensions() -> None:
    result = ask(
        "seedbench",
        choice("1", "B", "B", question_type_id=5),
        choice("2", "A", "B", question_type_id="9"),
        choice("3", "B", "B", question_type_id=12),
        choice("4", "D.", "D", category="Spatial Relation"),
    )
    assert {name: table["score"] for name, table in result.details["by_dimension"].items()} == {
        "Instances Counting": 100.0, "Text Understanding": 0.0, "Procedure Understanding": 100.0,
        "Spatial Relation": 100.0,
    }  # fmt: skip
    assert result.details["image"] == {"score": pytest.approx(200 / 3), "n": 3}
    assert result.details["video"] == {"score": 100.0, "n": 1}
    assert [one("seedbench", "D.", "D", choices=ANIMALS, variant=v) for v in ("lmms_eval", "official")] == [1, 0]


def test_mmt_bench_weighs_subtasks_alike_in_a_meta_task() -> None:
    rows = (("1", "A", "food", "VR"), ("2", "A", "food", "VR"), ("3", "B", "cars", "VR"), ("4", "A", "lines", "OCR"))
    result = ask("mmtbench", *(choice(k, s, "A", category=c, l2_category=m) for k, s, c, m in rows))
    assert result.score == 75.0
    assert result.details["by_meta_task"] == {
        "OCR": {"score": 100.0, "subtasks": 1}, "VR": {"score": 50.0, "subtasks": 2},
    }  # fmt: skip
    assert result.details["by_l2_category"]["VR"]["score"] == pytest.approx(200 / 3)


def test_realworldqa_with_and_without_options() -> None:
    def score(said: str, gold: str, choices: tuple[str, ...] = (), variant: str | None = None) -> Score:
        return ask("realworldqa", Prediction("q", said, (gold,), choices=choices), variant=variant)

    assert [score(said, "Downhill").score for said in ("downhill.", "it goes downhill")] == [100.0, 0.0]
    assert score("it goes downhill", "Downhill").details["lenient"] == 100.0
    assert score("B.", "B", ANIMALS).score == score("B.", "B", variant="lmms_eval").score == 100.0


def test_ai2d_rules() -> None:
    assert [one("ai2d", "dog", "B", choices=ANIMALS, variant=v) for v in ("vlmevalkit", "lmms_eval")] == [1, 0]
    assert one("ai2d", "B. dog", "", choices=ANIMALS, variant="lmms_eval", extra={"answer_index": 1}) == 1
