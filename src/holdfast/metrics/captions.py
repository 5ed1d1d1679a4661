"""Caption metrics over items: one tokenisation, four measures, and a choice of which one is the headline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum

from holdfast.errors import HoldfastError
from holdfast.metrics.base import ItemMetric, check_items
from holdfast.metrics.bleu import Statistics, bleu, statistics
from holdfast.metrics.cider import cider
from holdfast.metrics.rouge import rouge_l
from holdfast.metrics.text.ptb import words
from holdfast.predictions.record import ItemScore, Prediction, Score
from holdfast.values import JSON

Tokens = list[str]


def tokens(items: Sequence[Prediction]) -> tuple[list[Tokens], list[list[Tokens]]]:
    """Tokenised captions and references of each item; a missing caption has no tokens.

    Raises:
        HoldfastError: On an item without references.
    """
    for item in items:
        if not item.references:
            raise HoldfastError("the image has no reference caption", item=item.id)
    said = [words([item.prediction or ""])[0] for item in items]
    return said, [words(item.references) for item in items]


@dataclass(frozen=True, slots=True)
class Measures:
    """The four measures of a set of captions, image by image, on the official scale."""

    captions: list[Tokens]
    references: list[list[Tokens]]
    bleu: list[Statistics]
    rouge: list[float]
    cider: list[float]

    def corpus(self) -> dict[str, float]:
        """Corpus scores under the names and on the scale of the official tools."""
        n = len(self.captions)
        blue = {f"Bleu_{k}": value for k, value in enumerate(bleu(self.bleu), start=1)}
        return blue | {"ROUGE_L": fsum(self.rouge) / n, "CIDEr": fsum(self.cider) / n}


def measure(items: Sequence[Prediction]) -> Measures:
    """Tokenise captions and references and take all four measures."""
    said, references = tokens(items)
    return Measures(
        said,
        references,
        [statistics(caption, group) for caption, group in zip(said, references, strict=True)],
        [rouge_l(caption, group) for caption, group in zip(said, references, strict=True)],
        cider(said, references),
    )


class Captions(ItemMetric):
    """Base of the caption metrics.

    Each reports BLEU-1 to 4, ROUGE-L and CIDEr in its details on the official scale (CIDEr 0.5998), and its headline in
    points, a hundred times that, as papers print it (CIDEr 60.0). CIDEr's document frequencies are those of the
    references scored.
    """

    graded = True

    def judge(self, item: Prediction, text: str) -> ItemScore:
        """One caption by itself. CIDEr of a single image is 0 by definition."""
        return self.score([item]).items[0]

    def per_item(self, measures: Measures) -> list[float]:
        """Score of each image."""
        raise NotImplementedError

    def headline(self, measures: Measures) -> float:
        """Score of the set, on the official scale."""
        return fsum(self.per_item(measures)) / len(measures.captions)

    def score(self, items: Sequence[Prediction], *, task: str = "") -> Score:
        check_items(items, task or self.name)
        ordered = sorted(items, key=lambda item: item.id)
        measures = measure(ordered)
        verdicts = []
        for item, caption, score in zip(ordered, measures.captions, self.per_item(measures), strict=True):
            if item.prediction is None or not item.prediction.strip():
                verdicts.append(self.blank(item))
            else:
                status = "truncated" if item.truncated else "ok"
                verdicts.append(ItemScore(item.id, score, " ".join(caption), status))  # type: ignore[arg-type]
        details: JSON = dict(measures.corpus())
        details["document_frequency"] = f"references of the {len(ordered)} images scored"
        details |= _lengths(measures)
        return self.assembled(task, verdicts, 100.0 * self.headline(measures), details)


class CIDEr(Captions):
    """CIDEr-D times 100; an image scores 0 to 10."""

    name = "cider"
    top = 10.0

    def per_item(self, measures: Measures) -> list[float]:
        return measures.cider


class ROUGEL(Captions):
    """ROUGE-L in points."""

    name = "rouge_l"

    def per_item(self, measures: Measures) -> list[float]:
        return measures.rouge


class BLEU(Captions):
    """Corpus BLEU in points; the variant is the highest order.

    The mean of the images' own BLEU is *not* the corpus score: the corpus adds up matches and lengths first. An image's
    item score is its own BLEU.
    """

    name = "bleu"
    variants = ("bleu4", "bleu3", "bleu2", "bleu1")

    @property
    def order(self) -> int:
        """Highest order of n-grams."""
        return int(self.variant[-1])

    def per_item(self, measures: Measures) -> list[float]:
        return [bleu([part])[self.order - 1] for part in measures.bleu]

    def headline(self, measures: Measures) -> float:
        return bleu(measures.bleu)[self.order - 1]


def _lengths(measures: Measures) -> JSON:
    """Mean lengths, and a warning where CIDEr's length penalty, not the content, decides."""
    said = fsum(map(len, measures.captions)) / len(measures.captions)
    sizes = [len(reference) for group in measures.references for reference in group]
    wanted = fsum(sizes) / len(sizes)
    details: JSON = {"mean_words": said, "mean_reference_words": wanted}
    if said > 2 * wanted:
        details["warning"] = "captions are more than twice as long as the references: CIDEr's length penalty rules"
    return details
