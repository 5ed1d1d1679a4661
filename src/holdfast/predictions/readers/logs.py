"""Logs of evaluations: the JSON logs of inspect_ai, and the reviews of EvalScope, which are a log a subset."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.files import Record
from holdfast.predictions.columns import as_id, as_key, as_list, as_score, spoken
from holdfast.predictions.layout import Layout, reading_of
from holdfast.predictions.reading import Ask, Look, Reading
from holdfast.predictions.record import NOTHING, Prediction
from holdfast.values import JSON

_LETTERS = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
"""What inspect_ai writes for correct, partially correct, incorrect and no answer, and counts them as."""
_CUT = ("max_tokens", "model_length")


def fits_inspect(look: Look) -> bool:
    """The object of a log: its ``eval``, and samples unless it ended before."""
    content = look.content
    return isinstance(content, dict) and isinstance(content.get("eval"), dict) and "plan" in content


def read_inspect(look: Look, ask: Ask) -> Reading:
    """Samples of a log. Of several epochs the first one's answer is kept, with the mean score of those that have one,
    as inspect_ai reduces them.

    Raises:
        HoldfastError: The log holds no samples, one twice in an epoch, or scores of several scorers to choose from.
    """
    samples = look.content.get("samples")
    if not isinstance(samples, list) or not samples:
        status = look.content.get("status")
        raise HoldfastError(
            f"the log of an evaluation that ended as '{status}' holds no samples",
            file=look.path,
            remedy="evaluate again and keep the samples in the log",
        )
    rows = _objects(samples)
    if len(rows) < len(samples):
        raise HoldfastError("one of the log's samples is no JSON object", file=look.path)
    names = list(dict.fromkeys(name for one in rows for name in _scores(one)))
    scorer = None if ask.judges else _chosen(names, ask, look)
    answers: dict[str, dict[str, Prediction]] = {}
    for sample in rows:
        made, epoch = _sample(sample, scorer, look, ask.scale), str(sample.get("epoch"))
        if epoch in answers.setdefault(made.id, {}):
            raise HoldfastError("the id stands twice in one epoch", file=look.path, item=made.id)
        answers[made.id][epoch] = made
    told = "inspect_ai log" + (f", scored by '{scorer}'" if scorer else ", without scores")
    reading = reading_of(look, told, (_reduced(list(epochs.values())) for epochs in answers.values()))
    if any(len(epochs) > 1 for epochs in answers.values()):
        scores = "the mean score of several epochs, and " if scorer else ""
        reading.notes.append(f"{look.path.name}: {scores}the answers of the first epoch.")
    task = look.content["eval"].get("task")
    return reading.called(str(task).rpartition("/")[2]) if task else reading


def _scores(sample: Mapping[str, Any]) -> JSON:
    """What each scorer says of a sample; ``SCORER/NAME`` where one says several things."""
    scores = sample.get("scores")
    found: JSON = {}
    for scorer, score in scores.items() if isinstance(scores, dict) else ():
        value = score.get("value") if isinstance(score, dict) else None
        several = value if isinstance(value, dict) else {}
        found |= {f"{scorer}/{name}": one for name, one in several.items()} or {scorer: value}
    return found


def _chosen(names: list[str], ask: Ask, look: Look) -> str | None:
    """The score that counts: the one that was asked for, or the only one."""
    wanted = ask.columns.get("score")
    if wanted in names or len(names) < 2:
        return wanted if wanted in names else next(iter(names), None)
    raise HoldfastError(
        f"the items have several scores: {', '.join(sorted(names)[:12])}",
        file=look.path,
        remedy="choose one with --column score=NAME",
    )


def _sample(sample: Mapping[str, Any], scorer: str | None, look: Look, scale: float) -> Prediction:
    item = as_id(sample.get("id"), "id", look.path, None)
    given = sample.get("output")
    output = given if isinstance(given, dict) else {}
    said, stopped = output.get("completion"), [one.get("stop_reason") for one in _objects(output.get("choices"))]
    value = _scores(sample).get(scorer) if scorer else None
    asked = sample.get("input")
    if isinstance(value, str):
        value = _LETTERS.get(value, value)
    return Prediction(
        item,
        said if isinstance(said, str) else None,
        as_list(sample.get("target"), "target", look.path, None, item),
        question=asked if isinstance(asked, str) else spoken(asked, "user") or "",
        image=_pictures(asked),
        choices=as_list(sample.get("choices"), "choices", look.path, None, item),
        truncated=bool(stopped) and stopped[0] in _CUT,
        extra=_scalars(sample.get("metadata")),
        metric=scorer if value is not None else None,
        score=as_score(value, str(scorer), scale, look.path, None, item),
    )


def _reduced(epochs: list[Prediction]) -> Prediction:
    scored = [one for one in epochs if one.score is not None]
    if len(epochs) == 1 or not scored:
        return epochs[0]
    mean = math.fsum(one.score or 0.0 for one in scored) / len(scored)
    return replace(epochs[0], metric=scored[0].metric, score=mean)


def _pictures(messages: Any) -> str:
    """The key of the pictures of a conversation."""
    parts = [part for turn in _objects(messages) for part in _objects(turn.get("content"))]
    return as_key([part["image"] for part in parts if part.get("image")] or None)


def _objects(value: Any) -> list[Mapping[str, Any]]:
    """The objects of a list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _scalars(metadata: Any) -> Mapping[str, Any]:
    found = metadata if isinstance(metadata, dict) else {}
    return {name: value for name, value in found.items() if isinstance(value, (str, int, float))} or NOTHING


def fits_evalscope(look: Look) -> bool:
    """An item's review, or (in the folder beside) its answer before it was reviewed."""
    return look.has("index", "sample_score model_output") and look.has("messages")


def read_evalscope(look: Look, ask: Ask) -> Reading:
    """Reviews of a subset.

    Raises:
        HoldfastError: They hold several scores, and the log does not say which is the main one.
    """
    named: str | None = None
    rows = [_review(row, look) for row in look.rows()]
    names = list(dict.fromkeys(name for _, scores in rows for name in scores))
    if not ask.judges and names:
        main = _judgement(look.first).get("main_score_name")
        wanted = ask.columns.get("score")
        named = main if main in names and wanted not in names else _chosen(names, ask, look)
    told = "EvalScope reviews" + (f", scored by '{named}'" if named else ", without scores")
    return reading_of(look, told, _scored(rows, named, look, ask.scale))


def _judgement(values: Mapping[str, Any]) -> Mapping[str, Any]:
    sample = values.get("sample_score")
    score = sample.get("score") if isinstance(sample, dict) else None
    return score if isinstance(score, dict) else {}


def _review(row: Record, look: Look) -> tuple[Prediction, Mapping[str, Any]]:
    """An item without its score, and its scores by name."""
    values, item = row.values, as_id(row.values.get("index"), "index", look.path, row.line)
    judged, sample = _judgement(values), values.get("sample_score")
    said = judged.get("prediction")
    if not isinstance(said, str):
        said = spoken(values.get("messages"), "assistant")
    scores = judged.get("value")
    made = Prediction(
        item,
        said,
        as_list(values.get("target"), "target", look.path, row.line, item),
        question=spoken(values.get("messages"), "user") or "",
        image=_pictures(values.get("messages")),
        extra=_scalars(sample.get("sample_metadata") if isinstance(sample, dict) else None),
        line=row.line,
    )
    return made, scores if isinstance(scores, dict) else {}


def _scored(
    rows: list[tuple[Prediction, Mapping[str, Any]]], named: str | None, look: Look, scale: float
) -> Iterator[Prediction]:
    for row, scores in rows:
        value = scores.get(named) if named else None
        score = as_score(value, str(named), scale, look.path, row.line, row.id)
        yield row if score is None else replace(row, metric=named, score=score)


LAYOUTS = (
    Layout("inspect_ai log", fits_inspect, read_inspect, nan=True, many_scores=True),
    Layout("EvalScope reviews", fits_evalscope, read_evalscope, many_scores=True),
)
