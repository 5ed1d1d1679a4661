"""What a mistake says: its place, its key path, one line, and never more than a terminal shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.errors import LONGEST, HoldfastError, cut, within


def test_whoever_knows_more_of_the_path_puts_it_in_front() -> None:
    with pytest.raises(HoldfastError) as caught, within("tune", "llm"), within():
        raise HoldfastError("rank 99 is above the width", key="r")
    assert caught.value.key == ("tune", "llm", "r")
    with pytest.raises(HoldfastError) as caught, within("keep", 1):
        raise HoldfastError("it needs sources")
    assert caught.value.key == ("keep", "1")
    assert HoldfastError("x").key == ()


def test_a_path_keeps_the_mistake_that_it_is_given_to() -> None:
    class OwnError(HoldfastError):
        pass

    made = OwnError("x", item="q1", remedy="y", kind="missing")
    with pytest.raises(OwnError) as caught, within("target"):
        raise made
    assert caught.value is made and made.kind == "missing" and str(made) == "item q1: x. Y."


@pytest.mark.parametrize("part", ["problem", "remedy", "item", "file", "all"])
def test_a_message_is_one_line_of_bounded_length(part: str) -> None:
    long = "word\n" * 5000
    given = {name: long if part in (name, "all") else "short" for name in ("problem", "remedy", "item", "file")}
    text = str(HoldfastError(given.pop("problem"), line=10**12, **given))  # type: ignore[arg-type]
    assert len(text) <= LONGEST and "\n" not in text and " ... " in text


def test_cutting_keeps_both_ends() -> None:
    assert cut("abc", 3) == "abc"
    assert cut("a" * 50 + "b" * 50, 25) == "a" * 10 + " ... " + "b" * 10
    assert HoldfastError("x", file=Path("a/b")).where == "a/b"


def test_half_a_surrogate_pair_can_be_written() -> None:
    text = str(HoldfastError("unknown method '\ud800'", file="\udcff.yaml", remedy="known: a"))
    assert text.encode() == b"\\udcff.yaml: unknown method '\\ud800'. Known: a."
