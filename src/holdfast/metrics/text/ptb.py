"""A PTB-compatible tokenizer for caption metrics, without Java."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from holdfast.metrics.text.ptb_rules import rules

DROPPED = frozenset(
    ("''", "'", "``", "`", "-LRB-", "-RRB-", "-LCB-", "-RCB-", ".", "?", "!", ",", ":", "-", "--", "...", ";")
)
"""What the caption scripts leave out. Tokens are lower-cased by then, so ``-lrb-`` stays, officially too."""

_PLAIN = re.compile(r"[A-Za-z]+(?= |\Z|\n)")
_BRACKETS = {"(": "-LRB-", ")": "-RRB-", "[": "-LSB-", "]": "-RSB-", "{": "-LCB-", "}": "-RCB-"}
_SPLIT_IN_TWO = frozenset(("cannot", "gonna", "gotta", "lemme", "gimme", "wanna"))
_BLANK = re.compile("(?:&nbsp;|[ \t\u00a0\u2000-\u200a\u3000\r\n\u000b\u000c\u0085\u2028\u2029])+")


def tokenise(lines: Sequence[str]) -> list[list[str]]:
    """Tokens of each line, lower-cased, as ``PTBTokenizer -preserveLines -lowerCase`` (3.4.1) gives them.

    A rule may look at the start of the next line (``vitamin c.`` before ``The``), so lines go in together and in order.
    """
    flat = [line.replace("\n", " ").replace("\r", " ") for line in lines]
    return [_line(text, flat[at + 1] if at + 1 < len(flat) else None) for at, text in enumerate(flat)]


def words(lines: Iterable[str]) -> list[list[str]]:
    """Tokens of each line without the punctuation that caption metrics leave out."""
    return [[token for token in tokens if token not in DROPPED] for tokens in tokenise(list(lines))]


def _line(text: str, following: str | None) -> list[str]:
    context = text if following is None else f"{text}\n{following[:40]}"
    tokens: list[str] = []
    at, end = 0, len(text)
    while at < end:
        plain = _PLAIN.match(context, at)
        if plain is not None and plain.group().lower() not in _SPLIT_IN_TWO:
            tokens.append(plain.group().lower())
            at = plain.end()
            continue
        blank = _BLANK.match(context, at)
        if blank is not None:
            at = blank.end()
            continue
        token, at = _longest(context, at)
        if token:
            tokens.append(token.lower())
    return tokens


def _longest(text: str, at: int) -> tuple[str, int]:
    """The token at this place, rewritten, and where the next one starts; nothing for a character no rule knows."""
    best, kind, length = None, "", 0
    for pattern, name in rules(ascii_only=text.isascii()):
        match = pattern.match(text, at)
        if match is not None and match.end() - at > length:
            best, kind, length = match, name, match.end() - at
    if best is None:
        return "", at + 1
    # The period of an abbreviation that ends its sentence is read once more, as the sentence's own.
    return _REWRITE[kind](best.group(1)), best.end(1) - (kind == "sentence")


_QUOTES = {
    **dict.fromkeys("\u0091\u2018\u201b\u2039", "`"),
    **dict.fromkeys("\u0092\u2019\u203a", "'"),
    **dict.fromkeys("\u0093\u201c\u00ab", "``"),
    **dict.fromkeys("\u0094\u201d\u00bb", "''"),
}


def _quote(text: str, *, opening: bool) -> str:
    text = text.replace("&apos;", "'").replace("&quot;", '"')
    straight = {"'": "`", '"': "``"} if opening else {'"': "''"}
    return "".join(straight.get(char, _QUOTES.get(char, char)) for char in text)


def _apostrophe(text: str) -> str:
    text = re.sub("&apos;|[\u0092\u2019]", "'", text)
    return re.sub("[\u0091\u2018\u201b]", "`", text)


def _brackets(text: str) -> str:
    return "".join(_BRACKETS.get(char, char) for char in text)


_FRACTIONS = {"\u00bc": "1/4", "\u00bd": "1/2", "\u00be": "3/4", "\u2153": "1/3", "\u2154": "2/3"}
_CURRENCIES = {"\u00a2": "cents", "\u00a3": "#", "\u00a4": "$", "\u0080": "$", "\u20a0": "$", "\u20ac": "$"}

_REWRITE: dict[str, Callable[[str], str]] = {
    "keep": lambda text: text,
    "sentence": lambda text: text,
    "word": lambda text: text.replace("\u00ad", ""),
    "number": lambda text: text.replace("\u00ad", ""),
    "apostrophe": _apostrophe,
    "ampersand": lambda text: text.replace("&amp;", "&"),
    "markup": lambda text: text.replace(" ", "\u00a0"),
    "dash": lambda text: text if text == "-" or (len(text) > 4 and text[0] == "-") else "--",
    "space": lambda text: text.replace(" ", "\u00a0"),
    "fraction": lambda text: _FRACTIONS.get(text, text),
    "currency": lambda text: _CURRENCIES.get(text, text),
    "phone": lambda text: _brackets(text).replace(" ", "\u00a0"),
    "open": lambda text: _quote(text, opening=True),
    "close": lambda text: _quote(text, opening=False),
    "brackets": _brackets,
    "parentheses": lambda text: text.replace("(", "-LRB-").replace(")", "-RRB-"),
    "less": lambda text: "<",
    "greater": lambda text: ">",
    "ellipsis": lambda text: "...",
}
