"""Items are paired by id, never by position, and only with themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from holdfast.errors import HoldfastError
from holdfast.predictions.record import ROW, Prediction
from holdfast.verdict.records import Pair

Tasks = Mapping[str, Sequence[Prediction]]


def pair_tasks(
    base: Tasks, tuned: Tasks, *, names: tuple[str, str], intersect: bool
) -> tuple[dict[str, list[Pair]], list[str]]:
    """Pair the items of every task.

    Args:
        base: Predictions before, by task.
        tuned: Predictions after, by task.
        names: What to call the two in messages.
        intersect: Compare what both have instead of refusing.

    Returns:
        The pairs by task in the order of ``tuned``, and notes on what was left out.

    Raises:
        HoldfastError: Tasks or items stand on one side only (and ``intersect`` is off), nothing is shared, an item
            has other references or another metric on the other side, or an item has no score.
    """
    notes: list[str] = []
    lonely = [(name, names[0]) for name in base if name not in tuned]
    lonely += [(name, names[1]) for name in tuned if name not in base]
    if lonely:
        listing = ", ".join(f"'{task}' only in {name}" for task, name in lonely[:4])
        listing += f" and {len(lonely) - 4} more" if len(lonely) > 4 else ""
        if not intersect:
            raise HoldfastError(
                f"the two sides hold different tasks: {listing}",
                remedy="predict the missing ones, or compare what both have with --intersect",
            )
        notes.append(f"Left out: {listing}.")
    shared = [name for name in tuned if name in base]
    if not shared:
        raise HoldfastError(f"{names[0]} and {names[1]} have no task in common")
    pairs: dict[str, list[Pair]] = {}
    for name in shared:
        pairs[name] = _pair_items(name, base[name], tuned[name], names, intersect, notes)
    return pairs, notes


def check_asked(name: str, base: Mapping[str, str], tuned: Mapping[str, str], names: tuple[str, str]) -> None:
    """Refuse answers of a task that were not asked alike, as far as both sides say how they were.

    Args:
        name: Of the task.
        base: What :attr:`holdfast.predictions.reading.Reading.asked` says of it before.
        tuned: The same after.
        names: What to call the two in the message.

    Raises:
        HoldfastError: Other pictures, questions or settings; other items are told by their ids.
    """
    whole = base.get("items") == tuned.get("items")
    for what, words in (("pictures", "pictures"), ("questions", "questions or another prompt"), ("settings", "")):
        before, after = base.get(what), tuned.get(what)
        if before is None or after is None or before == after or (words and not whole):
            continue
        sides = f"in {names[0]} than in {names[1]}" if words else f"({before} in {names[0]}, {after} in {names[1]})"
        raise HoldfastError(
            f"task '{name}' was asked with other {words or 'generation settings'} {sides}",
            remedy="ask both models the same way, with holdfast eval",
        )


def _pair_items(
    task: str,
    base: Sequence[Prediction],
    tuned: Sequence[Prediction],
    names: tuple[str, str],
    intersect: bool,
    notes: list[str],
) -> list[Pair]:
    after = _by_id(task, tuned, names[1])
    before = _by_id(task, base, names[0])
    pairs = [Pair(item, after[item.id]) for item in base if item.id in after]
    only_base, only_tuned = len(before) - len(pairs), len(after) - len(pairs)
    if only_base or only_tuned:
        first, where, other = (
            (next(key for key in before if key not in after), names[0], names[1])
            if only_base
            else (next(key for key in after if key not in before), names[1], names[0])
        )
        what = f"task '{task}': {only_base} items only in {names[0]}, {only_tuned} only in {names[1]}"
        if not intersect or not pairs:
            raise HoldfastError(
                f"{what}; the first is in {where} and not in {other}",
                item=first,
                remedy="compare the same items, or only the shared ones with --intersect"
                if pairs
                else "the two do not share one id; are they of the same split?",
            )
        notes.append(
            f"Left out of {what}; {len(pairs)} shared items compared. A figure of a whole file is over other items: "
            f"{len(before):,} in {names[0]}, {len(after):,} in {names[1]}; do not set the two beside each other."
        )
    for pair in pairs:
        _same_item(task, pair, names)
    return pairs


def _by_id(task: str, predictions: Sequence[Prediction], name: str) -> dict[str, Prediction]:
    table = {prediction.id: prediction for prediction in predictions}
    if len(table) < len(predictions):
        seen: set[str] = set()
        twice = next(p.id for p in predictions if p.id in seen or seen.add(p.id))  # type: ignore[func-returns-value]
        raise HoldfastError(f"task '{task}' has the id twice in {name}", item=twice)
    if not table:
        raise HoldfastError(f"task '{task}' has no items in {name}")
    return table


def _same_item(task: str, pair: Pair, names: tuple[str, str]) -> None:
    before, after = pair.before, pair.after
    for side, name in ((before, names[0]), (after, names[1])):
        if side.score is None:
            from holdfast.metrics.registry import metric_names  # imports every metric

            raise HoldfastError(
                f"task '{task}': the item has no score",
                file=name,
                line=side.line,
                item=side.id,
                remedy="name an official --task or a --metric, and --references where the file has none; metrics: "
                + ", ".join(metric_names()),
            )
    if before.id.startswith(ROW):
        for what, one, other in (
            ("question", before.question, after.question),
            ("image", before.image, after.image),
        ):
            if one and other and one.strip() != other.strip():
                raise HoldfastError(
                    f"task '{task}': the row has another {what} in {names[0]} than in {names[1]}, and rows are all "
                    "that these files can be paired by",
                    item=before.id,
                    remedy="write both from the same data in the same order, or give every record an id",
                )
    both = before.references and after.references and before.references != after.references
    if both and sorted(before.references) != sorted(after.references):
        raise HoldfastError(
            f"task '{task}': the item has other references in {names[0]} than in {names[1]}",
            item=before.id,
            remedy="the files are of different splits or versions of the task",
        )
    if before.metric != after.metric and before.metric and after.metric:
        raise HoldfastError(
            f"task '{task}' is scored with '{before.metric}' in {names[0]} and '{after.metric}' in {names[1]}",
            item=before.id,
            remedy="score both with one metric",
        )
