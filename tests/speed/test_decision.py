"""One language for every speed-up: the first no of several, a switch that insists, and the form on disk."""

from __future__ import annotations

import pytest

from holdfast.errors import HoldfastError
from holdfast.speed.decision import OFF, Decision, NotPossible, insist, to_json

YES, NO, NEVER = Decision(True, "it fits"), Decision(False, "it does not fit"), Decision(False, "it never does")


def test_the_first_no_counts_and_else_the_last_yes() -> None:
    last = Decision(True, "compared")
    assert (YES and NO and NEVER) == NO
    assert (YES and last) == last
    assert (OFF and last) == OFF


def test_a_switch_that_is_on_insists_and_names_its_key() -> None:
    for switch in ("auto", "off"):
        assert insist("speed.share_images", switch, NO) == NO  # type: ignore[arg-type]
    assert insist("speed.share_images", "on", YES) == YES
    with pytest.raises(HoldfastError, match=r"share_images is on, and it does not fit\. Set speed.share_images: auto"):
        insist("speed.share_images", "on", NO)
    with pytest.raises(HoldfastError) as caught:
        insist("speed.share_images", "on", NO)
    assert caught.value.key == ("speed", "share_images")


def test_what_is_not_possible_carries_a_no() -> None:
    assert NotPossible("its connector trains").decision == Decision(False, "its connector trains")


def test_the_form_on_disk_is_that_of_older_runs() -> None:
    report = {"share_images": YES, "precision": "bf16", "compile": OFF}
    assert to_json(report) == {
        "share_images": {"on": True, "why": "it fits"},
        "precision": "bf16",
        "compile": {"on": False, "why": "switched off"},
    }
