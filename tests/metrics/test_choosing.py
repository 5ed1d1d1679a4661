"""Each tool's rule for the option that an answer chooses, on answers worked out by hand from its code."""

from __future__ import annotations

import pytest

from holdfast.metrics.text.choosing import (
    Rule,
    first_character,
    letter_alone,
    letter_with_point,
    mmmu,
    mmmu_lmms_eval,
    mmstar,
    mmt_lmms_eval,
    ranked,
    vlmevalkit,
)

ANIMALS = ("cat", "dog", "red cow", "goat")
LETTERS = "ABCD"


def chosen(rule: Rule, answer: str) -> str | None:
    """The letter of the option, for reading."""
    index = rule(answer, ANIMALS)
    return None if index is None else LETTERS[index]


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"),
        ("(B) dog", "B"),
        ("A dog, a goat: B", None),  # two letters stand alone; all texts together are 14 letters, and two are named
        ("B is what I would say of this one", None),  # the letter is not among the last four words
        ("B is what I see", None),
        ("what I see is B", "B"),
        ("Between A and C, the correct answer is **c**", "C"),
        ("it is the dog", "B"),
        ("the dog, not the goat", None),
        ("it is certainly, beyond all doubt, the dog", None),  # longer than twice the options
        ("Z", None),
        ("Cannot determine the answer. B", None),
        ("Failed to obtain answer via API B", None),  # no letter is looked for then
    ],
)
def test_vlmevalkit(answer: str, letter: str | None) -> None:
    assert chosen(vlmevalkit, answer) == letter


@pytest.mark.parametrize(
    ("answer", "official", "copy"),
    [
        ("B", "B", "B"),
        ("B.", "B", "B"),  # marks at the ends go
        ("(A) or (C)? I say (A)", "A", "A"),  # the last place wins, and A's is behind C's
        ("A or C", "C", "C"),
        ("\nB\n", None, None),  # a line break is no space
        ("Answer:B because", None, "B"),  # no space in front: the copy needs none
        ("B.\nBecause it barks", None, "B"),  # the copy knows B. as well
        ("I believe that it shows a dog there", "B", "B"),
        ("a dog", None, None),  # texts are looked for in answers of more than five words only
        ("CD and so on", None, "D"),
    ],
)
def test_mmmu_and_its_copy(answer: str, official: str | None, copy: str | None) -> None:
    assert (chosen(mmmu, answer), chosen(mmmu_lmms_eval, answer)) == (official, copy)


def test_of_several_texts_the_last_counts() -> None:
    assert chosen(mmmu, "Not the dog but I think the red cow here") == "C"


def test_letters_that_no_space_tells_apart() -> None:
    # Both stand as "X." without spaces around, so that the copies rank neither and take the first.
    assert chosen(mmmu_lmms_eval, "x:C.B.y") == chosen(mmt_lmms_eval, "x:C.B.y") == "B"
    assert chosen(mmt_lmms_eval, "I think that it is the red cow") is None


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("b", "B"),
        ("(c) red cow", "C"),
        ("Option D", "D"),
        ("The answer is B", "B"),
        ("The answer is: B", None),
        ("Because", "B"),  # whatever opens with the letter
        ("Elephant", None),
        ("  A\n", "A"),
    ],
)
def test_mmstar(answer: str, letter: str | None) -> None:
    assert chosen(mmstar, answer) == letter


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B) dog", "B"),
        ("First (A), then (C)", "C"),
        ("The answer is B.", "B"),
        ("The answer is (B), not A: it barks", "A"),  # behind the phrase the later letter wins
        ("A dog is in it, so B", "A"),  # B closes the answer, A opens it, and opening ranks first
        ("no letter", None),
        ("xCx", "C"),  # any capital A to D if there is nothing better
        ("答案是D吧", "D"),
        (".,", None),
    ],
)
def test_ranked(answer: str, letter: str | None) -> None:
    assert chosen(ranked, answer) == letter


def test_short_rules() -> None:
    assert [chosen(letter_alone, text) for text in ("B", "B.", "b", "E")] == ["B", None, None, None]
    assert [chosen(first_character, text) for text in (" b", "Dog", "", "E")] == ["B", "D", None, None]
    assert [chosen(letter_with_point, text) for text in ("B. dog", "(b)", "B dog", "e.")] == ["B", "B", None, None]


def test_options_without_text_are_told_by_letter_alone() -> None:
    unseen = ("", "", "", "")
    for rule in (vlmevalkit, mmmu, mmmu_lmms_eval, ranked):
        assert rule("it is a dog that I see here", unseen) is None
        assert rule("D", unseen) == 3
