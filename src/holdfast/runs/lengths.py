"""Find the examples that do not fit into ``train.max_length`` before step 1, not in the middle of a run."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.data.examples import Example
from holdfast.errors import HoldfastError
from holdfast.models.loading import Loaded
from holdfast.speed.sharing.expansion_cache import Rows


def within_length(
    examples: Sequence[Example], loaded: Loaded, max_length: int | None, *, skip: bool
) -> tuple[tuple[Example, ...], list[HoldfastError]]:
    """The examples without those whose image or whole answer would be cut.

    Args:
        examples: What is to be trained on.
        loaded: The model, whose processor knows how many tokens an image takes.
        max_length: Tokens of a row; ``None``: everything fits.
        skip: Drop what does not fit and say so, instead of refusing.

    Raises:
        HoldfastError: An example does not fit and ``skip`` is off.
    """
    kept: list[Example] = []
    problems: list[HoldfastError] = []
    if max_length is None:
        return tuple(examples), problems
    rows = Rows(loaded.model, loaded.chat, answers=True, max_length=max_length)
    for example in examples:
        try:
            rows([example])
            kept.append(example)
        except HoldfastError as error:
            if not skip:
                remedy = f"{error.remedy}, or leave it out with --skip-bad"
                key = ".".join(error.key)
                raise HoldfastError(error.problem, item=example.id, remedy=remedy, key=key) from error
            problems.append(HoldfastError(error.problem, item=example.id, remedy=error.remedy))
    return tuple(kept), problems
