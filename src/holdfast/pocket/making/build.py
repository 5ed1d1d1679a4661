"""Make a pocket model from nothing: stage by stage, with a checkpoint after each, so that the same call resumes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from holdfast.data.contents import cores
from holdfast.errors import HoldfastError
from holdfast.files import beside, read_json, write_json
from holdfast.pocket.making.plan import BuildPlan, Stage
from holdfast.values import JSON

if TYPE_CHECKING:
    from holdfast.pocket.making.designs import Design

Report = Callable[[str, int, int, str], None]
"""Called with (stage, step, steps, text) every few steps."""

STAGES_FOLDER = "stages"


def silent(stage: str, step: int, steps: int, text: str) -> None:
    """A report that says nothing."""


def build(
    out: Path,
    *,
    model: str = "pocket",
    seed: int = 0,
    quick: bool = False,
    report: Callable[[str, int, int, str], None] = silent,
) -> JSON:
    """Make a model and write its folder; finished stages found in ``out/stages`` are not made again.

    Args:
        out: Folder for the model, made if it is missing.
        model: Which, by the name of its design.
        seed: Decides initialisation, pictures and order. Draws for evaluation do not depend on it.
        quick: A few steps of every stage (for tests): the whole path, no skill.
        report: Told of progress.

    Returns:
        The card, as written to ``out/card.json``: seed, plan, table, seconds of each stage, digest of the weights.

    Raises:
        HoldfastError: ``out/stages`` was made with another seed or plan, or for another model.
    """
    import torch

    from holdfast.pocket.making.designs import find_design

    design = find_design(model)
    threads = torch.get_num_threads()
    torch.set_num_threads(min(2, cores()))
    try:
        return _build(out, design, seed, design.plan(quick=quick), report)
    finally:
        torch.set_num_threads(threads)


def _build(out: Path, design: Design, seed: int, plan: BuildPlan, report: Report) -> JSON:
    from holdfast.pocket.making.card import write_model
    from holdfast.pocket.making.score import score_table

    stages = out / STAGES_FOLDER
    stages.mkdir(parents=True, exist_ok=True)
    _claim(stages, design.name, seed, plan)
    model = design.make_model(seed)
    names = ["eye", "connector", *(f"language-{number}" for number in range(1, len(plan.language) + 1))]
    seconds: dict[str, float] = {}
    for number, name in enumerate(names):
        file = stages / f"{number + 1}-{name}.safetensors"
        took = _load(model, file)
        if took is None:
            begin = time.perf_counter()
            if name == "eye" and design.take_over is not None:
                design.take_over(model)
                report(name, 1, 1, "taken over")
            else:
                _run(model, name, plan, seed, partial(report, name))
            took = time.perf_counter() - begin
            _save(model, file, took)
        else:
            report(name, 1, 1, "found finished")
        seconds[name] = took
    design.round(model)
    begin = time.perf_counter()
    report("score", 0, 1, f"{plan.scored} items a task")
    rows = score_table(model, n=plan.scored)
    seconds["score"] = time.perf_counter() - begin
    report("score", 1, 1, "done")
    return write_model(out, design, model, rows=rows, seed=seed, plan=plan, seconds=seconds)


class _Course(TypedDict):
    """What every stage's training is told."""

    steps: int
    lr: float
    batch: int
    seed: int


def _run(model: Any, name: str, plan: BuildPlan, seed: int, progress: Callable[[int, int, str], None]) -> None:
    """One stage, in place."""
    from holdfast.pocket.making.align import train_connector
    from holdfast.pocket.making.language import tower_features, train_language
    from holdfast.pocket.making.pool import TOWER_MIX, draw_pool, stack_pixels
    from holdfast.pocket.making.tower import train_tower

    model.train()
    stage = _stage(plan, name)
    options: _Course = {"steps": stage.steps, "lr": stage.lr, "batch": stage.batch, "seed": seed}
    if name == "eye":
        progress(0, stage.steps, f"drawing {stage.pictures} pictures")
        pictures = draw_pool(stage.pictures, seed=seed, stream=1, most=6, per_picture=2, mix=TOWER_MIX)
        train_tower(model, pictures, **options, progress=progress)
        return
    progress(0, stage.steps, f"drawing {stage.pictures} pictures")
    stream = 2 if name == "connector" else 2 + int(name.removeprefix("language-"))
    pictures = draw_pool(stage.pictures, seed=seed, stream=stream)
    progress(0, stage.steps, "computing features")
    features = tower_features(model, stack_pixels(pictures))
    if name == "connector":
        train_connector(model, features, pictures, **options, progress=progress)
    else:
        train_language(model, features, [picture.pairs for picture in pictures], **options, progress=progress)


def _stage(plan: BuildPlan, name: str) -> Stage:
    if name.startswith("language-"):
        return plan.language[int(name.removeprefix("language-")) - 1]
    stage: Stage = getattr(plan, name)
    return stage


def _claim(stages: Path, model: str, seed: int, plan: BuildPlan) -> None:
    """Note what the checkpoints in this folder belong to, or refuse to mix."""
    wanted = {"seed": seed, "plan": json.loads(json.dumps(asdict(plan)))}
    if model != "pocket":  # folders of the first one were begun when it was the only one
        wanted["model"] = model
    file = stages / "plan.json"
    if file.is_file():
        if read_json(file) != wanted:
            raise HoldfastError(
                "the folder holds stages of a build with another seed or plan, or of another model",
                file=stages,
                remedy="give another --out, or delete that folder",
            )
        return
    write_json(file, wanted)


def _save(model: Any, file: Path, seconds: float) -> None:
    from safetensors.torch import save_file

    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    with beside(file) as unfinished:
        save_file(state, unfinished, metadata={"seconds": f"{seconds:.1f}"})


def _load(model: Any, file: Path) -> float | None:
    """Take over a finished stage; the seconds it took, or ``None`` if there is none."""
    from safetensors import safe_open

    if not file.is_file():
        return None
    with safe_open(file, framework="pt") as found:
        model.load_state_dict({name: found.get_tensor(name) for name in found.keys()})  # noqa: SIM118
        return float(found.metadata()["seconds"])
