"""The option that a free-text answer chooses, by the rule of each tool that scores multiple choice.

One function a rule, named by its source; each takes the answer and the option texts in the order shown, and gives the
index of the option or ``None``. Where the original draws an option at random the answer chooses none here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from string import ascii_uppercase, punctuation

Rule = Callable[[str, Sequence[str]], int | None]

_FOUR = "ABCD"
_MARKS = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))
_REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)
_API_FAILED = "Failed to obtain answer via API"
_ANSWER_IS = re.compile(r"answer\s+is\s+\**([ABCD])", re.IGNORECASE)
_LAST_WORDS = 4


def vlmevalkit(answer: str, choices: Sequence[str]) -> int | None:
    """``can_infer`` of VLMEvalKit e8e78f0 with VERBOSE unset.

    Exactly one letter stands alone, and among the last four words; then ``answer is B``; then exactly one option's text
    stands in an answer at most twice as long as all options. A refusal, or a lone ``Z``, chooses none.
    """
    letters = ascii_uppercase[: len(choices)]
    if _API_FAILED not in answer:
        if any(refusal in answer for refusal in _REFUSALS):
            return None
        words = answer.translate(_MARKS).split()
        alone = [letter for letter in letters if letter in words]
        if len(alone) == 1 and words.index(alone[0]) >= len(words) - _LAST_WORDS:
            return letters.index(alone[0])
        if not alone and "Z" in words:
            return None
        named = _ANSWER_IS.search(answer)
        if named and named.group(1).upper() in letters:
            return letters.index(named.group(1).upper())
    lowered = answer.lower()
    if len(lowered) > 2 * sum(map(len, choices)):
        return None
    inside = [index for index, choice in enumerate(choices) if choice and choice.lower() in lowered]
    return inside[0] if len(inside) == 1 else None


def mmmu(answer: str, choices: Sequence[str]) -> int | None:
    """``parse_multi_choice_response`` of MMMU bb0b95a.

    ``(B)``, then `` B ``, then in answers of more than five words an option's text; the last of several candidates.
    """
    text = _edged(answer)
    for form in ("({})", " {} "):
        found = _last_letter(text, form, len(choices))
        if found is not None:
            return found
    return _last_text(text, choices)


def mmmu_lmms_eval(answer: str, choices: Sequence[str]) -> int | None:
    """``parse_mmmu_multi_choice_response`` of lmms-eval 75571cf.

    As :func:`mmmu`, but no space is needed in front of the letter (``APPLE pie`` chooses E), and ``B.`` is tried
    before an option's text.
    """
    text = _edged(answer)
    for form, ranked_by in (("({})", "({})"), ("{} ", " {} "), ("{}.", " {} ")):
        found = _last_letter(text, form, len(choices), ranked_by)
        if found is not None:
            return found
    return _last_text(text, choices)


def mmt_lmms_eval(answer: str, choices: Sequence[str]) -> int | None:
    """MMT-Bench in lmms-eval 75571cf (``parse_multi_choice_response``): ``(B)``, `` B ``, ``B.``; no option text."""
    text = _edged(answer)
    for form in ("({})", " {} ", "{}."):
        found = _last_letter(text, form, len(choices), " {} ")
        if found is not None:
            return found
    return None


def mmstar(answer: str, choices: Sequence[str]) -> int | None:
    """``MMStar_eval`` of MMStar 88f243a: the letter opens the answer, alone, after ``(``, ``option `` or ``the answer
    is ``; case aside, so ``A cat`` and ``because`` choose A and B."""
    text = answer.lower().strip().replace("\n", " ")
    for opening in ("", "(", "option ", "the answer is "):
        at = text[len(opening) : len(opening) + 1]
        if text.startswith(opening) and at and at in ascii_uppercase[: len(choices)].lower():
            return ord(at) - ord("a")
    return None


def letter_alone(answer: str, choices: Sequence[str]) -> int | None:
    """The answer is one capital letter and nothing else (SEED-Bench's and MMMU's files of parsed answers)."""
    return _index(answer, len(choices)) if len(answer) == 1 else None


def first_character(answer: str, choices: Sequence[str]) -> int | None:
    """``seed_process_result`` of lmms-eval 75571cf: the first character, case aside."""
    return _index(answer.strip()[:1].upper(), len(choices))


def letter_with_point(answer: str, choices: Sequence[str]) -> int | None:
    """AI2D in lmms-eval 75571cf: the answer opens with ``B.``, or is ``B`` once punctuation is taken out."""
    opening = re.match(r"\s*([A-Z])\.", answer)
    text = opening.group(1) if opening else answer
    return _index(text.upper().translate(str.maketrans("", "", punctuation)), len(choices))


_PHRASES = (
    *("the answer is", "answer is", "the correct answer is", "correct answer is", "the best answer is"),
    *("best answer is", "the correct option is", "correct option is", "the best option is", "best option is"),
    *("the choice is", "choice is", "the correct choice is", "correct choice is", "i choose", "i select", "i pick"),
    *("my answer is", "my choice is", "옵션", "정답은", "답은", "답:", "答案是", "答案为", "选", "答えは"),
)
_FORMS = (("({})", 6), ("{}.", 5), ("{}:", 4), ("{})", 3), ("{} ", 2))
_OPENS, _CLOSES, _AFTER_PHRASE = 10, 9, 7


def ranked(answer: str, choices: Sequence[str]) -> int | None:
    """``extract_mcq_answer`` of lmms-eval 75571cf over A to D, for MMStar and RealWorldQA.

    Every place where a letter could be the answer gets a rank by its form (it opens the answer, closes it, follows
    ``the answer is``, ``(B)``, ``B.``, ``B:``, ``B)``, ``B ``); of the highest rank the last place wins. Without any,
    the last capital A to D anywhere.
    """
    text = answer.strip()
    for mark in ",.!?;:'\"":
        text = text.strip(mark)
    if not text:
        return None
    inner, text = text.strip(), f" {text} "
    places = [
        (rank, text.rfind(form.format(letter)), letter)
        for form, rank in _FORMS
        for letter in _FOUR
        if form.format(letter) in text
    ]
    lowered = text.lower()
    for phrase in _PHRASES:
        if phrase in lowered:
            behind = lowered.find(phrase) + len(phrase)
            places += [(_AFTER_PHRASE, text.find(each, behind), each) for each in _FOUR if each in text[behind:]]
    for letter in _FOUR:
        if inner.startswith(letter) and not inner[1:2].isalpha():
            places.append((_OPENS, 0, letter))
        if inner.endswith(letter) and not inner[-2:-1].isalpha():
            places.append((_CLOSES, len(text) - 1, letter))
    if not places:
        places = [(0, text.rfind(letter), letter) for letter in _FOUR if letter in text]
    if not places:
        return None
    best = max(places, key=lambda place: place[:2])
    return _index(best[2], len(choices))


def _index(letter: str, options: int) -> int | None:
    """0 for ``A``; ``None`` for what is no letter of an option."""
    index = ascii_uppercase.find(letter) if len(letter) == 1 else -1
    return index if 0 <= index < options else None


def _edged(answer: str) -> str:
    """The answer without each mark in turn at its ends, and with a space on either side."""
    for mark in ",.!?;:'":
        answer = answer.strip(mark)
    return f" {answer} "


def _last_letter(text: str, form: str, options: int, ranked_by: str | None = None) -> int | None:
    """Of the letters that stand in ``text`` in this form the last one; the first of those that ``ranked_by`` (the form
    itself by default) does not tell apart."""
    found = [index for index in range(options) if form.format(ascii_uppercase[index]) in text]
    rank = ranked_by or form
    return max(found, key=lambda index: text.rfind(rank.format(ascii_uppercase[index])), default=None)


def _last_text(text: str, choices: Sequence[str]) -> int | None:
    """The option whose text comes last in an answer of more than five words."""
    if len(text.split()) <= 5:
        return None
    lowered = text.lower()
    found = [index for index, choice in enumerate(choices) if choice and choice.lower() in lowered]
    return max(found, key=lambda index: lowered.rfind(choices[index].lower()), default=None)
