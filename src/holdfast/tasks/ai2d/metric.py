"""AI2D: science diagrams, four options a question."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from holdfast.metrics.ruled_choice import RuledChoice
from holdfast.metrics.text.choosing import Rule, letter_with_point, vlmevalkit


class AI2D(RuledChoice):
    """Accuracy in points; by the diagram's category where the files hold it.

    Variants: ``vlmevalkit``, and ``lmms_eval`` (``B.`` in front, or the letter alone once punctuation is gone).
    """

    name = "ai2d"
    rules: ClassVar[Mapping[str, Rule]] = {"vlmevalkit": vlmevalkit, "lmms_eval": letter_with_point}
    variants = tuple(rules)
