"""SPICE is not computed here; asking for it says why and what to do."""

from __future__ import annotations

from holdfast.errors import HoldfastError
from holdfast.metrics.captions import Captions


class SPICE(Captions):
    """Refuses with the reason."""

    name = "spice"

    def __init__(self, variant: str | None = None) -> None:
        """Raises:
        HoldfastError: Always.
        """
        raise HoldfastError(
            "SPICE is not part of Holdfast: it needs Java 8, a download of Stanford CoreNLP 3.6.0 and 8 GB of heap",
            remedy="run pycocoevalcap's own SPICE on the same files, or take cider, bleu, rouge_l or meteor",
        )
