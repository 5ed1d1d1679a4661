"""Reserved tokens that a question or an answer quotes: ``</s>`` in an answer must not end it.

While a text is made such a token is broken up by a character that stands for nothing (:data:`BREAK`), so that the
template, the processor and the tokenizer leave it alone. The character's own tokens are then left out, so that the
model reads and learns the quoted token as its visible characters. What a model has written in that way is told from
the reserved token itself by the tokens, and broken up again before it is judged.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from itertools import groupby
from typing import Any

import torch

BREAK = "\N{WORD JOINER}"
"""Stands inside a reserved token that a question or an answer quotes, so that it stays text."""


class Quoting:
    """How a tokenizer's reserved tokens are quoted.

    Args:
        tokenizer: Whose tokens are reserved.
        image_mark: What stands for an image in a text; empty where nothing does.
    """

    def __init__(self, tokenizer: Any, image_mark: str = "") -> None:
        self.tokenizer = tokenizer
        names = {*tokenizer.all_special_tokens, *_specials(tokenizer), *([image_mark] if image_mark else [])}
        self._names = sorted((name for name in names if len(name) > 1), key=len, reverse=True)  # the longest first
        self._reserved = _any_of(self._names)
        self._broken = _any_of([name[0] + BREAK + name[1:] for name in self._names])

    def escape(self, text: str) -> str:
        """A text in which quoted reserved tokens are broken up; single characters are left alone."""
        return self._reserved.sub(lambda found: found[0][0] + BREAK + found[0][1:], text)

    def unescape(self, text: str) -> str:
        """What :meth:`escape` was given."""
        return text.replace(BREAK, "")

    def breaks(self, text: str) -> list[int]:
        """The places of the characters that :meth:`escape` wrote into a text."""
        return [found.start() + 1 for found in self._broken.finditer(text)] if BREAK in text else []

    def broken_up(self, tokens: Sequence[int]) -> list[int]:
        """Generated tokens in which reserved tokens that are written as text are broken up."""
        whole = str(self.tokenizer.decode(list(tokens)))
        real = sum(token in self._ids for token in tokens)
        if not self._joiner or sum(1 for _ in self._reserved.finditer(whole)) <= real:
            return list(tokens)
        found: list[int] = []
        for reserved, group in groupby(tokens, key=self._ids.__contains__):
            run = list(group)
            found += run if reserved else self._run_broken_up(run)
        return found

    def _run_broken_up(self, run: list[int]) -> list[int]:
        text = str(self.tokenizer.decode(run))
        ends = [len(str(self.tokenizer.decode(run[: place + 1]))) for place in range(len(run))]
        behind = set()  # the places in the run behind which the character goes
        for found in self._reserved.finditer(text):
            behind.add(next((n for n, end in enumerate(ends) if found.start() < end < found.end()), len(run)))
        return [token for n, own in enumerate(run) for token in (own, *(self._joiner if n in behind else ()))]

    @cached_property
    def _ids(self) -> frozenset[int]:
        known = self.tokenizer.get_vocab()
        return frozenset(int(known[name]) for name in self._names if name in known)

    @cached_property
    def _joiner(self) -> tuple[int, ...]:
        """What the tokenizer makes of the character between two others."""
        made = self.tokenizer(f"<{BREAK}/", add_special_tokens=False, return_offsets_mapping=True)
        pairs = zip(made["input_ids"], made["offset_mapping"], strict=True)
        return tuple(int(token) for token, (start, end) in pairs if (start, end) == (1, 2))


def alone_at(places: Sequence[Sequence[int]], offsets: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """Which tokens stand for one of some characters and for nothing else.

    Args:
        places: Of the characters, a row's each.
        offsets: ``[batch, length, 2]``, first and last character (exclusive) of each token.
        kept: ``[batch, length]``, False where there is padding.

    Returns:
        ``[batch, length]``; a character that shares a token with another is left where it is.
    """
    found = torch.zeros_like(kept)
    start, end = offsets[..., 0], offsets[..., 1]
    for row, own in enumerate(places):
        for place in own:
            here = (start[row] <= place) & (end[row] > place) & kept[row]
            if not bool((here & (end[row] - start[row] != 1)).any()):
                found[row] |= here
    return found


def left_out(
    tensors: dict[str, torch.Tensor], out: torch.Tensor, *, fill: dict[str, int], side: str
) -> dict[str, torch.Tensor]:
    """A batch without some tokens, padded anew.

    Args:
        tensors: Each ``[batch, length, ...]``, ``attention_mask`` among them.
        out: ``[batch, length]``, the tokens to leave out.
        fill: What stands in the padding, by name; 0 where nothing is said.
        side: Where the padding stands, ``right`` or ``left``.
    """
    order = torch.argsort(out if side == "right" else ~out, dim=1, stable=True)
    gone = out.gather(1, order)
    lengths = (tensors["attention_mask"].bool() & ~out).sum(dim=1)
    longest, whole = int(lengths.max()), out.shape[1]
    # Rows keep their columns of padding, so that only those columns are cut that are padding in all of them.
    columns = slice(0, longest) if side == "right" else slice(whole - longest, whole)
    found = {}
    for name, tensor in tensors.items():
        rows = torch.arange(len(tensor), device=tensor.device)[:, None]
        moved = tensor[rows, order]
        moved[gone] = fill.get(name, 0)
        found[name] = moved[:, columns].contiguous()
    return found


def _any_of(tokens: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, tokens)) or "(?!)")


def _specials(tokenizer: Any) -> set[str]:
    """Added tokens that are special or look like marks (``<|im_end|>`` is plain in some tokenizers)."""
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    return {str(token) for token in added if token.special or (len(str(token)) > 2 and str(token)[0] in "<[◁")}
