"""Answer processing of the VQA family: one core, and the three ways official code wraps it.

Facts follow GT-Vision-Lab/VQA ``vqaEval.py`` (a013f00) and the M4C processor of mmf that EvalAI and LLaVA use, their
slips included, because published scores contain the slips.
"""

from __future__ import annotations

import re
from functools import lru_cache

_MARKS = ';/[]"{}()=+\\_-><@`,?!'
_COUNTING = "zero one two three four five six seven eight nine ten"
_NUMBERS = {word: str(value) for value, word in enumerate(_COUNTING.split())} | {"none": "0"}
_ARTICLES = frozenset(("a", "an", "the"))
_DIGIT_COMMA_DIGIT = re.compile(r"\d,\d")
# The official lookbehind is mistyped, so a period survives only before a digit; and ``re.UNICODE`` (32) is passed where
# the count of replacements goes, so only the first 32 periods are dropped.
_PERIOD = re.compile(r"\.(?!\d)")
_PERIODS_AT_MOST = 32

# Each contraction is also recognised with any one of its apostrophes left out.
_CONTRACTED = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've
    he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've
    o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's
    someone'd someone'd've someone'll someone's something'd something'd've something'll that's there'd there'd've
    there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's
    what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't would've
    wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've
"""
CONTRACTIONS = {
    word[:at] + word[at + 1 :]: word for word in _CONTRACTED.split() for at, mark in enumerate(word) if mark == "'"
} | {"somebody'd": "somebodyd"}


def strip_lines(text: str) -> str:
    """Newlines and tabs become spaces; outer space goes."""
    return text.replace("\n", " ").replace("\t", " ").strip()


def drop_punctuation(text: str) -> str:
    """Delete or blank out each mark, as the *whole input* decides, then drop periods."""
    out = text
    thousands = _DIGIT_COMMA_DIGIT.search(text) is not None
    for mark in _MARKS:
        if mark in out:
            beside_space = f"{mark} " in text or f" {mark}" in text
            out = out.replace(mark, "" if beside_space or thousands else " ")
    return _PERIOD.sub("", out, count=_PERIODS_AT_MOST)


def drop_articles(text: str) -> str:
    """Lower case, number words to digits, no articles, apostrophes restored, single spaces."""
    words = [_NUMBERS.get(word, word) for word in text.lower().split()]
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


@lru_cache(maxsize=200_000)
def official(text: str) -> str:
    """Steps 1 to 4 of the official evaluator."""
    return drop_articles(drop_punctuation(strip_lines(text)))


@lru_cache(maxsize=200_000)
def evalai(text: str) -> str:
    """The M4C (mmf, EvalAI, LLaVA TextVQA) processor: ``,`` and ``?`` go first and ``'s`` stands apart."""
    text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's")
    return drop_articles(drop_punctuation(strip_lines(text.strip())))
