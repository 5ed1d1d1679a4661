"""Options by likelihood, against one forward pass an option."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from holdfast.config.schema import Speed
from holdfast.data.examples import Example, Turn
from holdfast.inference.likelihood import candidates, likeliest, option_scores
from holdfast.inference.options import options_of, yes_or_no
from holdfast.inference.predict import predict
from holdfast.models.loading import Loaded
from holdfast.predictions.file import read_predictions
from holdfast.speed.decision import Decision
from holdfast.speed.sharing.batcher import Batcher
from tests.support.shop import MIXED, ONE, TWO, ending, family, question, task

COLOURS = ("red", "dark blue", "red and blue")
CLOSED = tuple(
    replace(example, choices=COLOURS[: 2 + index % 2]) if example.id != "a2" else example
    for index, example in enumerate(MIXED)
)
"""All but one question have options; one option begins like another."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@torch.no_grad()
def brute(loaded: Loaded, example: Example, option: str) -> float:
    """The sum over the tokens of the option and its end mark, in a row of its own."""
    turns = (*example.turns[:-1], Turn(example.turns[-1].question, (option,)))
    whole = loaded.chat.encode([replace(example, turns=turns)], with_answers=True)
    begin = loaded.chat.encode([example], with_answers=False)["input_ids"].shape[1]
    labels = whole.pop("labels")[0]
    scores = loaded.model(**whole).logits[0].double().log_softmax(dim=-1)
    ids = whole["input_ids"][0]
    return float(sum(scores[t - 1, ids[t]] for t in range(begin, len(ids)) if labels[t] != -100))


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl", "internvl", "paligemma"])
def test_scores_are_those_of_a_row_an_option(name: str, share: bool, place: Path) -> None:
    loaded = family(name, place)
    if name == "paligemma" and share:
        pytest.skip("refused")
    two_turns = Example(
        "z", (ONE,), (Turn("what ?", ("red",)), Turn("sure ?", ("yes",))), "one", ("yes", "no"), {}
    )  # fmt: skip
    asked = [(e, e.choices) for e in (*CLOSED, two_turns) if e.choices]
    with torch.no_grad():
        found = option_scores(Batcher(loaded, layout="shared" if share else "separate"), asked, rows=4)
    for (example, options), scores in zip(asked, found, strict=True):
        assert list(scores) == list(options)
        for option in options:
            assert scores[option] == pytest.approx(brute(loaded, example, option), abs=2e-3), (example.id, option)


def test_one_forward_pass_for_all_options_of_an_image(place: Path) -> None:
    loaded = family("llava", place)
    about = [example for example in CLOSED if example.image_key == "one" and example.choices]
    passes: list[int] = []
    handle = loaded.model.register_forward_hook(lambda *_: passes.append(1))
    with torch.no_grad():
        option_scores(Batcher(loaded, layout="shared"), [(example, example.choices) for example in about], rows=1)
    handle.remove()
    assert len(about) == 2 and passes == [1]


def test_predict_takes_the_likeliest_and_generates_the_rest(place: Path, tmp_path: Path) -> None:
    loaded = family("qwen2_5_vl", place)
    ending(loaded, MIXED, 6)
    files: dict[Any, list[Any]] = {}
    for size in (1, 3, 32):
        for share in ("auto", "off"):
            file = tmp_path / f"{size}{share}"
            report = predict(
                loaded, task(CLOSED), file, batch_size=size, max_new_tokens=6, options="likelihood",
                speed=Speed(share_images=share),
            )  # fmt: skip
            files[size, share] = read_predictions(file)
            assert report["likelihood"] == Decision(True, "9 of 10 items have options")
    first = files[3, "auto"]
    for found in files.values():
        assert [p.id for p in found] == [p.id for p in first]
        assert [p.prediction for p in found] == [p.prediction for p in first]
    predict(loaded, task(CLOSED), tmp_path / "free", max_new_tokens=6)
    free = {p.id: p for p in read_predictions(tmp_path / "free")}
    for one in first:
        example = next(e for e in CLOSED if e.id == one.id)
        if not example.choices:
            assert "option_scores" not in one.extra and one.prediction == free[one.id].prediction
            continue
        scores = {option: brute(loaded, example, option) for option in example.choices}
        assert one.extra["option_scores"] == pytest.approx(scores, abs=2e-3)
        assert one.prediction == max(scores, key=scores.__getitem__) and not one.truncated


def test_one_question_an_image_shares_its_options(place: Path, tmp_path: Path) -> None:
    loaded = family("llava", place)
    single = (question("s", "what ?", (ONE,), "one", choices=COLOURS), question("r", "who ?", (TWO,), "two"))
    report = predict(loaded, task(single[:1]), tmp_path / "one", options="likelihood")
    assert report["share_images"].on
    assert "early_stop" not in report, "nothing was generated"
    report = predict(loaded, task(single[1:]), tmp_path / "none", options="likelihood", max_new_tokens=2)
    assert report["likelihood"] == Decision(False, "0 of 1 items have options")


def test_of_equals_the_first() -> None:
    assert likeliest({"b": -1.0, "a": -1.0, "c": -2.0}) == "b"


def test_candidates_keep_earlier_turns() -> None:
    example = Example("x", (), (Turn("a", ("b",)), Turn("c", ("d",))))
    assert [c.turns for c in candidates(example, ("e", "f"))] == [
        (Turn("a", ("b",)), Turn("c", ("e",))),
        (Turn("a", ("b",)), Turn("c", ("f",))),
    ]


def asked(answer: str, choices: tuple[str, ...] = (), **extra: Any) -> Example:
    return Example("x", (), (Turn("which ?", (answer,)),), choices=choices, extra=extra)


@pytest.mark.parametrize(
    ("example", "options"),
    [
        (asked("B", ("cat", "dog")), ("A", "B")),  # ScienceQA, MMBench
        (asked("dog", ("cat", "dog"), answer_index=1), ("cat", "dog")),  # IconQA
        (asked("A", ("B", "A"), answer_index=1), ("B", "A")),  # the options are letters, and the text is meant
        (asked("B", ("B", "A"), answer_index=1), ("A", "B")),
        (asked("C", ("cat", "dog")), ("cat", "dog")),  # beyond the options
        (asked("dog", ("cat", "dog", "cat")), ("cat", "dog")),
        (asked("yes"), ("yes", "no")),
        (asked("No"), ("Yes", "No")),
        (asked("YES"), ("YES", "NO")),
        (asked("maybe"), ()),
    ],
)
def test_options(example: Example, options: tuple[str, ...]) -> None:
    assert options_of(example, yes_no=True) == options


def test_open_tasks_do_not_give_yes_and_no_away() -> None:
    assert options_of(asked("yes"), yes_no=False) == ()
    assert yes_or_no(task((asked("Yes"), asked("no"))))
    assert not yes_or_no(task((asked("yes"), asked("no"), asked("two"))))
    assert not yes_or_no(task((asked("yes"),)))
    assert yes_or_no(task((asked("yes"),), metric="pope"))
