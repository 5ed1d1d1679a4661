"""The one way in which this room says no."""

from __future__ import annotations

from holdfast.errors import HoldfastError


class NotPossible(HoldfastError):  # noqa: N818 - an answer, not a fault
    """Features cannot be kept for this model or recipe; the run goes on without the cache.

    Attributes:
        reason: Why, as a clause for people without its full stop.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)
