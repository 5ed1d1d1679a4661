"""Average normalised Levenshtein similarity, for text in documents and scenes."""

from __future__ import annotations

from holdfast.errors import HoldfastError
from holdfast.metrics.base import ItemMetric, verdict
from holdfast.metrics.text.edit_distance import edit_distance
from holdfast.metrics.text.normalise import says
from holdfast.predictions.record import ItemScore, Prediction

WORK = 4_000_000_000
"""Pairs of characters that a distance may take; two texts of 63,000 characters take so many, and a few seconds."""


def _collapse(text: str) -> str:
    return " ".join(text.lower().split())


class ANLS(ItemMetric):
    """Mean over items of the best similarity to a reference, in points; below the threshold of .5 it counts as 0.

    Similarity is 1 - distance / longer length. Variants differ in the boundary and the text:

    - ``challenge``: lower case, single spaces; exactly .5 is kept (DocVQA challenge, Qwen).
    - ``paper``: the same text; exactly .5 is dropped (Biten et al. 2019, equation 1: NL < .5).
    - ``m4c``: lower case, outer space stripped; .5 kept (mmf, LLaVA).
    - ``pix2struct``: lower case only; .5 dropped.
    - ``raw_length``: the text of ``challenge``, divided by the length before spaces were collapsed; .5 kept
      (the challenge's released script, VLMEvalKit, lmms-eval).

    Lenient: 1 where a reference stands in the prediction as whole words.
    """

    name = "anls"
    variants = ("challenge", "paper", "m4c", "pix2struct", "raw_length")
    graded = True

    def judge(self, item: Prediction, text: str) -> ItemScore:
        if not item.references:
            raise HoldfastError("the item has no reference answer", item=item.id)
        try:
            score = max(self.similarity(text, reference) for reference in item.references)
        except HoldfastError as error:
            raise HoldfastError(error.problem, item=item.id, remedy=error.remedy) from error
        lenient = 1.0 if any(says(text, reference) for reference in item.references) else None
        return verdict(item, score, self.form(text), lenient)

    def form(self, text: str) -> str:
        """The text that is compared."""
        if self.variant == "m4c":
            return text.lower().strip()
        return text.lower() if self.variant == "pix2struct" else _collapse(text)

    def similarity(self, prediction: str, reference: str) -> float:
        """Similarity in 0 to 1 after the threshold; 0 against a blank reference.

        Raises:
            HoldfastError: Both texts are too long to be compared.
        """
        a, b = self.form(prediction), self.form(reference)
        longer = max(len(a), len(b))
        if self.variant == "raw_length":
            longer = max(len(prediction), len(reference))
        if not a or not b:
            return 0.0
        if 2 * abs(len(a) - len(b)) > longer:  # the distance is at least that
            return 0.0
        if len(a) * len(b) > WORK:
            raise HoldfastError(
                f"an answer of {len(a):,} characters and a reference of {len(b):,} are too long to be compared",
                remedy="lower the length limit of answers, or leave the item out",
            )
        distance = edit_distance(a, b)
        dropped = 2 * distance >= longer if self.variant in ("paper", "pix2struct") else 2 * distance > longer
        return 0.0 if dropped else 1.0 - distance / longer
