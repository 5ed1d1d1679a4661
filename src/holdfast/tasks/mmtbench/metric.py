"""MMT-Bench: 162 subtasks of 32 meta-tasks, single choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from holdfast.metrics.base import breakdown
from holdfast.metrics.ruled_choice import RuledChoice
from holdfast.metrics.text.choosing import Rule, mmt_lmms_eval, vlmevalkit
from holdfast.predictions.record import ItemScore, Prediction
from holdfast.values import JSON


class MMTBench(RuledChoice):
    """Accuracy in points over all questions; by subtask, and by meta-task as the mean over its subtasks.

    So the official report (``report_acc_MMT``): the headline weighs questions alike, a meta-task its subtasks.
    lmms-eval weighs a meta-task's questions alike: ``by_l2_category``. Variants: ``vlmevalkit`` (the official
    evaluation is a copy of that tool) and ``lmms_eval``.
    """

    name = "mmtbench"
    rules: ClassVar[Mapping[str, Rule]] = {"vlmevalkit": vlmevalkit, "lmms_eval": mmt_lmms_eval}
    variants = tuple(rules)
    tables: ClassVar[Mapping[str, str]] = {
        "by_category": "category",
        "by_l2_category": "l2_category",
        "by_split": "split",
    }

    def details(self, items: Sequence[Prediction], verdicts: Sequence[ItemScore]) -> JSON:
        details = super().details(items, verdicts)
        subtasks = breakdown(items, verdicts, "category")
        members: dict[str, set[str]] = {}
        for item in items:
            meta, subtask = item.extra.get("l2_category"), item.extra.get("category")
            if meta and subtask:
                members.setdefault(str(meta), set()).add(str(subtask))
        if members:
            details["by_meta_task"] = {
                meta: {
                    "score": sum(subtasks[name]["score"] for name in sorted(names)) / len(names),
                    "subtasks": len(names),
                }
                for meta, names in sorted(members.items())
            }
        return details
