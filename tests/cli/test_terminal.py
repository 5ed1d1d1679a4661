"""What a person sees of a run's events, and that no event is without a place to be heard."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast import events
from holdfast.cli import terminal as place
from holdfast.cli.terminal import Terminal
from holdfast.events import Event, Ledger, LedgerRow
from holdfast.speed.decision import OFF, Decision, Engaged

ROW = LedgerRow("llm", "lora", {}, trainable=10, total=1000, lr=1e-4, checkpoint_bytes=40)
HEARD: list[tuple[Event, str]] = [
    (events.FinishedBefore(Path("runs/a")), "runs/a is finished already"),
    (events.Waiting("the base's answers", "process 7"), "Waiting for the base's answers, made by process 7."),
    (events.Dividing("gradients are divided"), "While it trains, gradients are divided."),
    (events.LeaksFound(["2 pictures stand in both."]), "2 pictures stand in both."),
    (events.MemoryShort(3 * 10**10, 2 * 10**10, "cuda", ["a", "b", "c"]), "need 30 GB of memory, and the cuda has 20"),
    (events.Resumed(3, 9), "Resumed after step 3 of 9"),
    (events.LedgerWritten(Ledger((ROW,), 990, 10)), "1.000 %"),
    (events.ExampleShown([("what ? ", False), ("red", True)]), "what ? ⟦red⟧"),
    (events.GradientsChecked(["llm/a[0]"]), "llm/a[0]"),
    (events.GradientsChecked([]), ""),
    (events.Validated(4, 1.25, 50.0), "step 4: validation loss 1.2500, 50.0 % answered exactly"),
    (events.MemorySplit(2, 4), "Out of memory at step 2"),
    (Engaged({"share_images": Decision(True, "x"), "compile": OFF, "precision": "no"}), "Speed-ups: share images;"),
]
MOVING: list[Event] = [
    events.PicturesChecked(0, 9),
    events.PicturesChecked(9, 9),
    events.PicturesChecked(3, 3),
    events.LoadingModel("a [model]"),
    events.StepDone(step=1, steps=2, seconds=0.5, loss=1.0, lr=1e-3, norm=1.0, tokens=4),
    events.CachingFeatures(5),
    events.FeaturesCached(5),
    events.Predicting("digits", "base", 3),
    events.Predicted("digits", "base", 3),
]
STUDY = {
    *(events.RecipeDone, events.PointBegun, events.PointMoved, events.PointEnded),
    events.StudyMoved,
}
"""Heard by the narrators of the demo and of a study."""


@pytest.mark.parametrize(("event", "text"), HEARD)
def test_each_event_is_told(event: Event, text: str) -> None:
    with place.console.capture() as captured, Terminal() as terminal:
        terminal(event)
    assert text in captured.get()


def test_a_study_keeps_the_details_to_itself() -> None:
    with place.console.capture() as captured, Terminal(quiet=True) as terminal:
        for event, _ in HEARD:
            terminal(event)
    told = captured.get()
    assert "Resumed" in told and "Out of memory" in told
    assert "1.000 %" not in told and "Speed-ups" not in told and "validation" not in told


def test_bars_follow_what_goes_on() -> None:
    with Terminal() as terminal:
        for event in MOVING:
            terminal(event)
            assert terminal.progress.tasks[-1].completed in (0, 1, 5, 3, 9)
        assert terminal.progress.tasks[-1].completed == 3 and len(terminal.progress.tasks) == 1


def test_every_event_of_a_run_is_among_them() -> None:
    tried = {type(event) for event, _ in HEARD} | set(map(type, MOVING)) | STUDY
    assert {kind for kind in Event.__subclasses__() if kind.__module__.startswith("holdfast.")} == tried
