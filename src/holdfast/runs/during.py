"""Scores at several moments of one training: what was trained by then is kept beside the run, and asked afterwards.

The loop only writes tensors down, so that a training that is looked at ends in the same bits as one that is not. When
it has ended, each moment is put back on the base, in order, answers every task as the tuned model does, and its tensors
are deleted. What is killed in between goes on at the item where it stopped.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch

from holdfast.config.schema import RunConfig
from holdfast.errors import HoldfastError
from holdfast.methods.guard import check_restored, look_at
from holdfast.methods.recipe import Recipe
from holdfast.models.loading import Loaded
from holdfast.ranks import here
from holdfast.results.during import DURING
from holdfast.runs.folder import RunFolder
from holdfast.runs.hallucinations import hallucinations
from holdfast.runs.lengths import within_length
from holdfast.runs.reading import Tasks
from holdfast.runs.teaching import open_teacher
from holdfast.training.batches import count_steps
from holdfast.training.checkpoint import load_checkpoint
from holdfast.training.memory import Randomness
from holdfast.training.pools import Pools
from holdfast.values import JSON
from holdfast.verdict.compare import compare
from holdfast.verdict.records import Comparison

ANSWERED = "answered.json"
"""There when every item of every task was asked at a moment; says how long that took."""


def check_moments(config: RunConfig) -> None:
    """Refuse moments of a recipe that ends in something else than its training.

    Raises:
        HoldfastError: It has a fusion.
    """
    if config.evaluate.during is not None and config.fuse is not None:
        raise HoldfastError(
            "evaluate.during looks at a training, and a fusion edits what that ends in",
            remedy="leave out evaluate.during, or fuse",
            key="evaluate.during",
        )


def moments_of(config: RunConfig, examples: int) -> tuple[int, ...]:
    """The steps behind which a training is looked at; the last is left out, for its scores are those of the run.

    Args:
        config: Of the run.
        examples: That it trains on.

    Raises:
        HoldfastError: A step behind the end is named.
    """
    during, train = config.evaluate.during, config.train
    steps = count_steps(train, examples)
    found: Sequence[int] = ()
    if during == "epoch":
        size = train.batch_size * train.accumulate
        found = [-(-number * examples // size) for number in range(1, steps * size // examples + 1)]
    elif isinstance(during, int):
        found = range(during, steps, during)
    elif during is not None and steps:  # the untouched base has no moments
        found = during
        if max(found) > steps:
            raise HoldfastError(
                f"evaluate.during names step {max(found)}, and training ends with step {steps}",
                remedy="leave it out, or train longer",
                key="evaluate.during",
            )
    return tuple(sorted({step for step in found if step < steps}))


class KeptMoments:
    """The moments of one run, each a folder by the number of its step."""

    def __init__(self, folder: RunFolder) -> None:
        self.run, self.path = folder, folder.path / DURING

    def at(self, step: int) -> RunFolder:
        """Where what belongs to a moment stands."""
        return RunFolder(self.path / str(step))

    def folders(self, steps: Sequence[int]) -> dict[int, Path]:
        """Step -> its folder, for the loop."""
        return {step: self.at(step).path for step in steps}

    def begin(self) -> None:
        """Forget those of a try that ended before its first checkpoint."""
        shutil.rmtree(self.path, ignore_errors=True)

    def steps(self, *, answered: bool) -> list[int]:
        """Those that were asked, or those that are still to be."""
        there = [int(place.name) for place in self.path.glob("*") if place.name.isdigit()]
        return sorted(step for step in there if (self.at(step).path / ANSWERED).exists() == answered)

    def close(self, step: int, seconds: float) -> None:
        """Write down that all is asked, and let the tensors go."""
        place = self.at(step)
        place.write_json(ANSWERED, {"step": step, "seconds": round(seconds, 2)})
        if here().first:
            shutil.rmtree(place.path / "checkpoint", ignore_errors=True)


def answer_moments(loaded: Loaded, tasks: Tasks, config: RunConfig, moments: KeptMoments, ask: Ask) -> None:
    """Ask what was trained at each moment; the base is untouched before and afterwards.

    Args:
        loaded: The base.
        tasks: Of the run.
        config: Its configuration.
        moments: Which there are.
        ask: Called with a step while the model is what it was behind that step.

    Raises:
        HoldfastError: What was kept is damaged, or the model cannot be asked.
    """
    left = here().same(moments.steps(answered=False))
    if not left:
        return
    assert tasks.target is not None
    train = config.train
    own, _ = within_length(tasks.target.train, loaded, train.max_length, skip=config.skip_bad)
    validation, _ = within_length(tasks.target.validation, loaded, train.max_length, skip=config.skip_bad)
    sources = tasks.shown(Recipe(config))
    base = look_at(loaded, loaded.chat.encode(own[:1], with_answers=True, max_length=train.max_length))
    # Stabilisers act on steps; there are none here.
    plain = config.model_copy(update={"keep": ()})
    for step in left:
        begun = time.perf_counter()
        pools = Pools(loaded, train, config.seed, own, validation, sources, config.speed.head)
        with _put_back(loaded, plain, moments.at(step).path, pools):
            ask(step)
        check_restored(base, loaded)
        moments.close(step, time.perf_counter() - begun)


Ask = Callable[[int], None]


@contextmanager
def _put_back(loaded: Loaded, config: RunConfig, place: Path, pools: Pools) -> Iterator[None]:
    """Inside, the model is what it was when ``place`` was written."""
    recipe, random = Recipe(config), Randomness()
    recipe.attach(loaded, config.seed, pools, pools.loss, partial(open_teacher, head=config.speed.head))
    groups = recipe.parameter_groups(config.train.weight_decay)
    recipe.bind(torch.optim.AdamW(groups or [{"params": []}]))
    with here().in_turn():
        found = load_checkpoint(place, recipe, None)
    random.restore()
    if found is None:
        remedy = "delete this folder to leave the moment out"
        raise HoldfastError("what was trained by this step is gone", file=place, remedy=remedy)
    yield
    recipe.detach()


def scores_during(folder: RunFolder, tasks: Tasks, entry: JSON, last: int) -> JSON:
    """The scores of a run over its training, from the base to what it ended in.

    Args:
        folder: The run.
        tasks: Of it.
        entry: What it came to, of which the last moment is made.
        last: The step behind which it ended.

    Returns:
        Nothing where no moment was asked for; else ``during``, a list by ``step`` of ``E``, ``F``, ``O``, ``H``,
        ``intervals``, ``target`` and ``sources`` (task -> score after), ``learned``, ``forgot`` and, of captions,
        ``hallucinated``; and ``during_seconds``, what asking took, which is in no other figure.
    """
    assert tasks.target is not None
    moments, target = KeptMoments(folder), tasks.target.name
    steps = [step for step in moments.steps(answered=True) if step < last]
    if not steps:
        return {}
    rows = [_base_row(folder, entry, target)]
    for step in steps:
        place = moments.at(step)
        comparison = compare(folder.path / "base", place.path, target=target, seed=0)
        rows.append(_row(step, comparison, target) | _named(hallucinations(folder, tasks.all, answers=place)))
    final = {key: entry[key] for key in (*"EFOH", "intervals", "learned", "forgot")}
    after = {part: {name: row["after"] for name, row in entry[part].items()} for part in ("target", "sources")}
    rows.append({"step": last} | final | after | _named(entry))
    seconds = [moments.at(step).read_json(ANSWERED, "seconds")["seconds"] for step in steps]
    return {"during": rows, "during_seconds": round(sum(seconds), 2)}


def _base_row(folder: RunFolder, entry: JSON, target: str) -> JSON:
    """Before step 1: the base, or what attaching alone made of it."""
    start = folder.path / "start"
    if (start / "predictions").is_dir():
        return _row(0, compare(folder.path / "base", start, target=target, seed=0), target)
    before = {part: {name: row["before"] for name, row in entry[part].items()} for part in ("target", "sources")}
    changes = {letter: None if entry[letter] is None else 0.0 for letter in "EFO"}
    told = {"hallucinated": entry["hallucinated_before"]} if "hallucinated_before" in entry else {}
    return {"step": 0, **changes, "H": None, "intervals": {}, **before, "learned": 0, "forgot": 0, **told}


def _row(step: int, comparison: Comparison, target: str) -> JSON:
    summary, compared = comparison.summary.to_json(), comparison.to_json()["tasks"]
    after = {name: row["after"] for name, row in compared.items()}
    return {
        "step": step,
        **{letter: summary[letter] for letter in "EFOH"},
        "intervals": summary["intervals"],
        "target": {target: after.pop(target)},
        "sources": after,
        **{kind: sum(row[kind] for row in compared.values()) for kind in ("learned", "forgot")},
    }


def _named(found: JSON) -> JSON:
    return {key: found[key] for key in ("hallucinated", "hallucinated_names") if key in found}
