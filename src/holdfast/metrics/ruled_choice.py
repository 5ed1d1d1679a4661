"""Multiple choice as several tools score the same benchmark: the variant names the tool whose rule reads the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from holdfast.metrics.base import ItemMetric, add_breakdowns, verdict
from holdfast.metrics.text.choosing import Rule
from holdfast.metrics.text.options import exact_choice, gold_index, infer, letter
from holdfast.predictions.record import ItemScore, Prediction
from holdfast.values import JSON

UNSEEN = 4
"""Options of an item whose texts are not known (they stand in its question): A to D."""


class RuledChoice(ItemMetric):
    """Base of the benchmarks of single choice; accuracy in points.

    A subclass gives ``rules`` (variant to rule, the default first) and ``tables`` (name in the details to the field of
    ``extra`` it groups by). An answer in which the rule finds no option is wrong and counted as unparsed, also where
    the original draws one at random. Lenient: whatever option the answer names, by letter or text.
    """

    rules: ClassVar[Mapping[str, Rule]]
    tables: ClassVar[Mapping[str, str]] = {"by_category": "category", "by_split": "split"}

    def judge(self, item: Prediction, text: str) -> ItemScore:
        gold, options = gold_and_options(item)
        choice = self.rules[self.variant](text, options)
        loose = choice if choice is not None or not item.choices else named(text, item.choices)
        return verdict(item, float(choice == gold), None if choice is None else letter(choice), float(loose == gold))

    def details(self, items: Sequence[Prediction], verdicts: Sequence[ItemScore]) -> JSON:
        return add_breakdowns({}, items, verdicts, self.tables)


def gold_and_options(item: Prediction) -> tuple[int, tuple[str, ...]]:
    """Index of the right option, and the option texts as the rules take them: empty ones where they are not known.

    Raises:
        UnjudgeableError: The right one is none of the options, as in tables made with pandas, which lose options that
            read ``None`` or ``NA``.
    """
    gold = gold_index(item)
    return gold, item.choices or ("",) * max(UNSEEN, gold + 1)


def named(text: str, choices: Sequence[str]) -> int | None:
    """The option that an answer names by its text alone or by letter and text together, read leniently."""
    exact = exact_choice(text, choices)
    return infer(text, choices) if exact is None else exact
