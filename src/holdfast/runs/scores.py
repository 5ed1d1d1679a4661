"""The entry of one recipe in ``scores.json``: what was gained, what was lost, and at what cost."""

from __future__ import annotations

from holdfast.config.schema import RunConfig
from holdfast.methods.recipe import Recipe
from holdfast.runs.divergence import FILE as DIVERGENCE
from holdfast.runs.divergence import NAMES as DIVERGENCES
from holdfast.runs.during import scores_during
from holdfast.runs.environment import versions
from holdfast.runs.folder import RunFolder
from holdfast.runs.hallucinations import hallucinations
from holdfast.runs.leaks import FILE as LEAKS
from holdfast.runs.reading import Tasks
from holdfast.runs.still_learning import still_learning
from holdfast.values import JSON
from holdfast.verdict.compare import compare
from holdfast.verdict.records import Comparison


def compare_run(folder: RunFolder, target: str | None) -> Comparison:
    """The base of a run against its tuned model."""
    return compare(folder.path / "base", folder.path, target=target, seed=0)


def recipe_scores(folder: RunFolder, config: RunConfig, recipe: Recipe, tasks: Tasks) -> JSON:
    """Compare and write down.

    Returns:
        ``name``, ``method``, ``paradigm``, ``trainable``, ``trainable_percent``, ``target`` and ``sources`` (task ->
        before, after, n, learned, forgot, verdict, blind_floor), ``E``, ``F``, ``O``, ``H`` with ``intervals``,
        ``verdicts``, ``rule`` and ``left_out`` (tasks that cannot show what E or F measures), ``learned`` and
        ``forgot`` over all tasks, ``start`` (``E`` and ``F`` before step 1, of methods that do not begin at the base),
        ``kl_to_base``, ``kl_reverse`` and ``kl_without_target`` (see :mod:`holdfast.runs.divergence`, where asked for),
        ``hallucinated`` and its kin (see :func:`holdfast.runs.hallucinations.hallucinations`, of captions),
        ``during`` and ``during_seconds`` (see :func:`holdfast.runs.during.scores_during`, where asked for),
        ``seconds`` of training, ``memory`` (bytes that its step is counted to need), ``leaks`` and ``still_learning``
        (a sentence, or nothing), ``seed``, ``versions``.
        Scores are in points.
    """
    assert tasks.target is not None
    target = tasks.target.name
    comparison = compare_run(folder, target)
    ledger = folder.read_json("ledger.json", "trainable", "trainable_percent")
    training = folder.read_json("training.json", "seconds")
    keys = (
        *("before", "after", "n", "difference", "interval", "p_value", "p_holm", "verdict", "blind_floor"),
        *("cannot_fall", "cannot_rise", "learned", "forgot"),
    )
    compared = comparison.to_json()["tasks"]
    rows = {name: {key: task[key] for key in keys} for name, task in compared.items()}
    summary = comparison.summary.to_json()
    entry: JSON = {
        "name": config.name or folder.path.name,
        "method": method_name(recipe),
        "paradigm": recipe.paradigm,
        "trainable": ledger["trainable"],
        "trainable_percent": ledger["trainable_percent"],
        "target": {target: rows[target]},
        "sources": {task.name: rows[task.name] for task in tasks.sources},
        **{letter: summary[letter] for letter in "EFOH"},
        **{name: summary[name] for name in ("intervals", "verdicts", "left_out")},
        "rule": comparison.rule,
        "leaks": folder.read_json(LEAKS) if (folder.path / LEAKS).exists() else [],
        "still_learning": None if training.get("stopped_early") else still_learning(folder.path / "train.jsonl"),
        **_start(folder, target),
        **_divergence(folder),
        **hallucinations(folder, tasks.all),
        "learned": sum(row["learned"] for row in rows.values()),
        "forgot": sum(row["forgot"] for row in rows.values()),
        "seconds": round(training["seconds"], 2),
        "memory": training.get("memory"),
        "seed": config.seed,
        "versions": versions(),
    }
    return entry | scores_during(folder, tasks, entry, training.get("last", training.get("steps", 0)))


def _start(folder: RunFolder, target: str) -> JSON:
    """What attaching alone did, where a method does not begin at the base; nothing where it does."""
    if not folder.start_predictions(target).exists():
        return {}
    summary = compare(folder.path / "base", folder.path / "start", target=target, seed=0).summary.to_json()
    return {"start": {letter: summary[letter] for letter in "EF"}}


def _divergence(folder: RunFolder) -> JSON:
    """How far the tuned model is from the base on the target, where ``evaluate.kl`` asked for it."""
    if not (folder.path / DIVERGENCE).exists():
        return {}
    found = folder.read_json(DIVERGENCE, *DIVERGENCES)
    return {name: found[name] for name in DIVERGENCES}


def method_name(recipe: Recipe) -> str:
    """The recipe in a few words: ``lora on llm, full on connector + replay, fused by wise_ft``."""
    parts: dict[str, list[str]] = {}
    for component, method in recipe.active.items():
        parts.setdefault(method.card.name, []).append(component)
    words = [f"{name} on {' and '.join(components)}" for name, components in parts.items()]
    if len(parts) == 1 and len(next(iter(parts.values()))) == 3:
        words = list(parts)
    text = ", ".join(words) or "nothing"
    text += "".join(f" + {stabiliser.card.name}" for stabiliser in recipe.stabilisers)
    fusions = " and ".join(fusion.card.name for fusion in recipe.fusions)
    return text + (f", fused by {fusions}" if fusions else "")
