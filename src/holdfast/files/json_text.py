"""JSON read strictly: no key twice, no NaN, bounded depth and numbers, and the line of every mistake."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from holdfast.values import JSON

DEPTH_LIMIT = 64
NUMBER_LIMIT = 100
"""Digits of a whole number; beyond 308 it is no float, and beyond 4,300 Python itself refuses."""

_STRING = r'"(?:[^"\\]|\\.)*"'
_HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]")
_NESTED = (dict, list)


class Mistake(Exception):  # noqa: N818 - it never leaves the room
    """What is wrong with a JSON text.

    Args:
        problem: As a clause.
        line: One-based, within the text.
        item: The key concerned.
        broken: Whether the text is no JSON at all, so that what follows it cannot be read either.
        cut: Whether it ends in the middle of a value.
    """

    def __init__(
        self, problem: str, line: int, *, item: str | None = None, broken: bool = False, cut: bool = False
    ) -> None:
        self.problem, self.line, self.item, self.broken, self.cut = problem, line, item, broken, cut
        super().__init__(problem)


class _Token(Exception):  # noqa: N818
    def __init__(self, token: str, problem: str) -> None:
        self.token, self.problem = token, problem


class _Twice(Exception):  # noqa: N818
    def __init__(self, key: str) -> None:
        self.key = key


def _whole(token: str) -> int:
    if len(token) > NUMBER_LIMIT:
        raise _Token(token, f"a number has {len(token):,} digits")
    return int(token)


def _real(token: str) -> float:
    value = float(token)
    if not math.isfinite(value):
        raise _Token(token, f"the number {token[:20]} is beyond all that a float can hold")
    return value


def _refuse(token: str) -> NoReturn:
    raise _Token(token, f"{token} is not a value")


def _nan_is_none(token: str) -> None:
    if token != "NaN":
        _refuse(token)


def _unique(pairs: list[tuple[str, Any]]) -> JSON:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        raise _Twice(next(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]
    return made


def _decoder(nan_is_none: bool, **hooks: Any) -> json.JSONDecoder:
    constant = _nan_is_none if nan_is_none else _refuse
    return json.JSONDecoder(parse_float=_real, parse_int=_whole, parse_constant=constant, **hooks)


_QUICK = {nan: _decoder(nan) for nan in (False, True)}
_CAREFUL = {nan: _decoder(nan, object_pairs_hook=_unique) for nan in (False, True)}
_LENIENT = json.JSONDecoder(parse_int=float)
"""Finds the end of an entry that cannot be used."""


def value_at(text: str, start: int = 0, *, nan_is_none: bool = False) -> tuple[Any, int]:
    """The JSON value that begins at ``start``, and the place after it.

    A hook that sees every pair of every object makes reading half as slow again. So the text is read without it, and
    keys are counted: each stands before one ``":``, and only where the numbers differ (a key comes twice, a text holds
    those two marks, or colons stand apart) it is read once more with the hook.

    Raises:
        Mistake: It is no JSON, or JSON that could be read in two ways or not be written again.
    """
    try:
        value, end = _QUICK[nan_is_none].raw_decode(text, start)
        depth, keys = _shape(value)
        if depth > DEPTH_LIMIT:
            raise RecursionError
        if keys != text.count('":', start, end) or _has_spaced_colon(text, start, end):
            _CAREFUL[nan_is_none].raw_decode(text, start)
        if text.find("\\u", start, end) >= 0 and _HALF_PAIR.search(text, start, end) and not _can_be_written(value):
            raise Mistake("a text holds half a surrogate pair", _half_pair_line(text, start, end))
        return value, end
    except json.JSONDecodeError as error:
        raise _broken(error, text) from None
    except _Token as error:
        line, field = _line_of(error.token, text, start)
        within = "" if field is None else f"; it stands in '{field[:100]}'"
        raise Mistake(error.problem + within, line) from None
    except _Twice as error:
        line = _line_of_second(error.key, text, start)
        raise Mistake(f"the key '{error.key[:100]}' comes twice in one object", line, item=error.key[:100]) from None
    except RecursionError:
        line = text.count("\n", 0, start) + 1
        raise Mistake(f"it is nested more than {DEPTH_LIMIT} deep", line, broken=True) from None


def _broken(error: json.JSONDecodeError, text: str) -> Mistake:
    cut = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated")
    problem = "it ends in the middle of a value" if cut else f"{error.msg} at column {error.colno}"
    return Mistake(problem, error.lineno, broken=True, cut=cut)


def whole_value(text: str, *, nan_is_none: bool = False) -> Any:
    """The one JSON value that ``text`` holds.

    Raises:
        Mistake: As :func:`value_at`; also where anything follows.
    """
    start = len(text) - len(text.lstrip(" \t\r\n"))
    value, end = value_at(text, start, nan_is_none=nan_is_none)
    if text[end:].strip(" \t\r\n"):
        end += len(text[end:]) - len(text[end:].lstrip(" \t\r\n"))
        raise Mistake("something follows after the value", text.count("\n", 0, end) + 1, broken=True)
    return value


def list_entries(text: str, *, nan_is_none: bool = False) -> Iterator[tuple[int, Any]]:
    """The entries of a JSON list one by one, each with its line; one that cannot be used comes as its mistake.

    Raises:
        Mistake: The list itself is broken.
    """
    space = re.compile(r"[ \t\n\r]*")
    place, line, counted = text.index("[") + 1, 1, 0
    last = ""
    while True:
        place = space.match(text, place).end()  # type: ignore[union-attr]
        line, counted = line + text.count("\n", counted, place), place
        if text[place : place + 1] == "]" and last != ",":
            break
        try:
            value, place = value_at(text, place, nan_is_none=nan_is_none)
        except Mistake as mistake:
            if mistake.broken:
                raise
            try:
                value, (_, place) = mistake, _LENIENT.raw_decode(text, place)
            except json.JSONDecodeError as error:  # behind the mistake the entry is broken, too
                raise _broken(error, text) from None
            except RecursionError:
                raise Mistake(f"it is nested more than {DEPTH_LIMIT} deep", line, broken=True) from None
        yield line, value
        place = space.match(text, place).end()  # type: ignore[union-attr]
        last = text[place : place + 1]
        if last not in (",", "]") or not last:
            cut = not last
            problem = "it ends in the middle of a value" if cut else "a comma is missing between two entries"
            raise Mistake(problem, text.count("\n", 0, place) + 1, broken=True, cut=cut)
        place += last == ","
    if rest := text[place + 1 :].strip():
        raise Mistake("something follows after the list", text.count("\n", 0, text.rindex(rest)) + 1, broken=True)


def _has_spaced_colon(text: str, start: int, end: int) -> bool:
    return (
        text.find(" :", start, end) >= 0
        or text.find("\n:", start, end) >= 0
        or text.find("\t:", start, end) >= 0
        or text.find("\r:", start, end) >= 0
    )


def _shape(value: Any) -> tuple[int, int]:
    """How deep the value is nested (up to the limit) and how many keys its objects have."""
    depth = keys = 0
    level = [value] if type(value) in _NESTED else []
    while level and depth <= DEPTH_LIMIT:
        depth += 1
        below: list[Any] = []
        for node in level:
            if type(node) is dict:
                keys += len(node)
                node = node.values()
            below += [child for child in node if type(child) in _NESTED]
        level = below
    return depth, keys


def _can_be_written(value: Any) -> bool:
    """Whether every text of the value can become UTF-8 again; JSON may hold half a surrogate pair, UTF-8 may not."""
    try:
        return bool(json.dumps(value, ensure_ascii=False).encode("utf-8"))
    except UnicodeEncodeError:
        return False


def _half_pair_line(text: str, start: int, end: int) -> int:
    for found in re.finditer(_STRING, text[start:end], re.DOTALL):
        if _HALF_PAIR.search(found[0]) and not _can_be_written(json.loads(found[0])):
            return text.count("\n", 0, start + found.start()) + 1
    return text.count("\n", 0, start) + 1


def _line_of(token: str, text: str, start: int) -> tuple[int, str | None]:
    """The line of a number's token, outside texts, and the field whose value it is, if it is one."""
    last = ""
    for found in re.compile(f"{_STRING}|{re.escape(token)}", re.DOTALL).finditer(text, start):
        if found[0] == token:
            is_field = bool(last) and text[: found.start()].rstrip().endswith(":")
            return text.count("\n", 0, found.start()) + 1, json.loads(last, strict=False) if is_field else None
        last = found[0]
    return text.count("\n", 0, start) + 1, None


def _line_of_second(key: str, text: str, start: int) -> int:
    """The line on which an object gets ``key`` for the second time."""
    open_objects: list[set[str]] = []
    for found in re.compile(rf"{_STRING}(\s*:)?|[{{}}]", re.DOTALL).finditer(text, start):
        if found[0] == "{":
            open_objects.append(set())
        elif found[0] == "}":
            open_objects.pop()
        elif found[1] and open_objects:
            name = json.loads(found[0][: -len(found[1])])
            if name == key and name in open_objects[-1]:
                return text.count("\n", 0, found.start()) + 1
            open_objects[-1].add(name)
    return text.count("\n", 0, start) + 1
