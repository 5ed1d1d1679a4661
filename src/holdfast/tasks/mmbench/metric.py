"""MMBench: a question counts only if every rotation of its options is answered right."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from holdfast.errors import HoldfastError
from holdfast.metrics.base import ItemMetric, add_breakdowns, check_items, points
from holdfast.metrics.multiple_choice import MultipleChoice
from holdfast.predictions.columns import as_index
from holdfast.predictions.record import TURN, ItemScore, Prediction, Score
from holdfast.values import JSON


class MMBench(ItemMetric):
    """Circular accuracy over questions, in points; one item score a *question*, not a rotation.

    An item's id is its index; items that agree modulo one million are rotations of one question. Options are read as in
    :class:`MultipleChoice` without a judge, so what matches nothing is wrong, never drawn at random.

    Variants: ``circular`` (all rotations right) and ``vanilla`` (the first pass only).
    """

    name = "mmbench"
    variants = ("circular", "vanilla")

    def score(self, items: Sequence[Prediction], *, task: str = "") -> Score:
        check_items(items, task or self.name)
        groups = _groups(items)
        verdicts = {v.id: v for v in MultipleChoice().judge_all(items)}
        first = [rotations[0] for rotations in groups.values()]
        chosen = {key: (group if self.variant == "circular" else group[:1]) for key, group in groups.items()}
        scores = [_together(key, [verdicts[item.id] for item in chosen[key]], group) for key, group in groups.items()]
        details: JSON = {
            "vanilla": points(verdicts[item.id].score for item in first),
            "rotations": len(items),
        }
        keys = {"by_category": "category", "by_l2_category": "l2_category", "by_split": "split"}
        add_breakdowns(details, first, scores, keys)
        return self.assembled(task, scores, points(each.score for each in scores), details)

    def unit(self, item: Prediction) -> str:
        """The question, where the id is an index."""
        index = as_index(str(item.extra.get("index", item.id)))
        return item.id if index is None else str(index % TURN)

    def judge(self, item: Prediction, text: str) -> ItemScore:
        """One rotation by itself."""
        return MultipleChoice().judge(item, text)


def _groups(items: Sequence[Prediction]) -> dict[str, list[Prediction]]:
    """Rotations of each question, first pass first, questions in the order of their index."""
    groups: dict[str, list[Prediction]] = defaultdict(list)
    for item in sorted(items, key=_index):
        groups[str(_index(item) % TURN)].append(item)
    return dict(sorted(groups.items(), key=lambda group: int(group[0])))


def _index(item: Prediction) -> int:
    """The id, or the table's index where a tool that numbers items anew (lmms-eval) logs it beside."""
    index = as_index(str(item.extra.get("index", item.id)))
    if index is None:
        raise HoldfastError("the id is not an MMBench index", item=item.id)
    return index


def _together(key: str, verdicts: Sequence[ItemScore], group: Sequence[Prediction]) -> ItemScore:
    """The question's verdict from those of its rotations."""
    statuses = [v.status for v in verdicts]
    status = next((s for s in ("missing", "truncated", "unparsed", "unjudged") if s in statuses), "ok")
    score = float(all(v.score for v in verdicts))
    lenient = float(all(v.score if v.lenient is None else v.lenient for v in verdicts))
    return ItemScore(
        key,
        score,
        parsed=None if None in (v.parsed for v in verdicts) else ",".join(v.parsed or "" for v in verdicts),
        status=status,  # type: ignore[arg-type]
        lenient=lenient if lenient > score else None,
        covers=tuple(item.id for item in group),
    )
