"""``holdfast study run --dry-run``: what a study takes, before anything runs."""

from __future__ import annotations

from textwrap import wrap

from rich.markup import escape

from holdfast.cli.study_view import duration
from holdfast.cli.terminal import console, size
from holdfast.studies.choices import RULES
from holdfast.studies.estimate import by_reason, estimate
from holdfast.studies.studyfile import StudyFile

A100 = 125e12
"""Operations a second that a training step reaches on an A100: 40 % of what bfloat16 could."""


def show_plan(study: StudyFile, *, calibrate: bool, workers: int | None) -> None:
    """Print it; exits with 1 where points cannot run."""
    found = estimate(study, calibrate=calibrate)
    console.print(f"[bold]{escape(study.title)}[/]" + (f" ({escape(study.scale)})" if study.scale else ""))
    for name, axis in study.axes.items():
        _listed(name, ", ".join(axis.levels))
    for choice in study.choices:
        per = f" for each {' and '.join(choice.per)}" if choice.per else ""
        outwards = f", from {choice.start} outwards" if choice.start else ""
        _listed(f"{choice.axis.name}, chosen{per} by {choice.rule}", f"{', '.join(choice.axis.levels)}{outwards}")
        _listed(choice.rule, RULES[choice.rule])
    fused = f", {found.fusions} of them edit a finished training" if found.fusions else ""
    chosen = f", {found.candidates} of them to choose on validation parts" if found.candidates else ""
    console.print(f"{found.points} points{fused}; {found.trainings} trainings{chosen}.")
    least, most = found.trainable
    console.print(f"Trainable values: {least:,} to {most:,}. Largest step: {size(found.memory)} of memory.")
    if found.unknown:
        console.print(f"{found.unknown} trainings are as long as their data are, which nobody has counted here.")
    if found.unplanned:
        console.print(f"{found.unplanned} trainings are in no sum: their methods read weights before they count.")
    if found.flops:
        at = f", {duration(found.flops / A100)} of an A100 at 40 %" if found.flops > 1e16 else ""
        console.print(f"Training: {found.flops:.2e} operations{at}.")
    if found.hours is not None:
        count = workers or 1
        share = f", {duration(3600 * found.hours / count)} on {count} workers" if count > 1 else ""
        console.print(
            f"By {found.timed} recipes timed on this machine: {duration(3600 * found.hours)} on one worker{share}."
        )
    else:
        console.print("[dim]Hours on this machine: add --calibrate, which trains a few steps.[/]")
    for line in by_reason(found.problems):
        console.print(f"[yellow]cannot run[/] {escape(line)}", soft_wrap=True)
    if found.problems:
        raise SystemExit(1)


def _listed(name: str, values: str) -> None:
    """``name: values`` in as many lines as the terminal needs, the later ones further in."""
    width = max(40, console.width)
    for line in wrap(f"  {name}: {values}", width, subsequent_indent="    ", break_on_hyphens=False):
        console.print(escape(line), soft_wrap=True)
