"""An example as a row of tokens without padding, and rows as a batch."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from holdfast.data.examples import Example
from holdfast.models.chat import per_token
from holdfast.values import Keywords

Side = Literal["left", "right"]
"""On which side rows are padded."""


@dataclass(frozen=True)
class TokenRow:
    """One example without padding.

    Attributes:
        tokens: Inputs with one entry a token, ``[length]`` each: ``input_ids``, in training ``labels``, types.
        positions: ``[length]``, or ``[3, length]`` for M-RoPE, as the model counts them when this row is alone.
    """

    tokens: Mapping[str, Tensor]
    positions: Tensor

    @property
    def length(self) -> int:
        """Number of tokens."""
        return self.tokens["input_ids"].shape[0]

    def entries(self, name: str) -> Tensor:
        """One input of every token; zeros where this row has none.

        A text encoded without images beside it comes without the types that tell image tokens from others.
        """
        found = self.tokens.get(name)
        return torch.zeros_like(self.tokens["input_ids"]) if found is None else found

    def bytes(self) -> int:
        """Memory that remembering it takes."""
        return sum(t.numel() * t.element_size() for t in (*self.tokens.values(), self.positions))


def images_of(example: Example) -> Any:
    """What examples about the same images have in common; an example without images shares with none."""
    if not example.images:
        return id(example)
    return example.image_key or tuple(str(i) if isinstance(i, Path) else id(i) for i in example.images)


def by_images(examples: Iterable[Example]) -> list[list[int]]:
    """Places of the examples about each set of images, in the order of their first."""
    groups: dict[Any, list[int]] = {}
    for index, example in enumerate(examples):
        groups.setdefault(images_of(example), []).append(index)
    return list(groups.values())


def rows_of(model: nn.Module, batch: Mapping[str, Tensor]) -> list[TokenRow]:
    """The rows of a padded batch with their positions.

    Args:
        model: Whose positions they are.
        batch: As :meth:`holdfast.models.chat.ChatProcessor.encode` makes it.
    """
    kept = batch["attention_mask"].bool()
    positions = positions_of(model, batch)
    rows = enumerate(without_padding(batch))
    return [TokenRow(tokens, positions[..., row, :][..., kept[row]]) for row, tokens in rows]


def without_padding(batch: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """The per-token inputs of each row of a padded batch, ``[length]`` each."""
    kept = batch["attention_mask"].bool()
    names = [name for name in batch if per_token(name) and name != "attention_mask"]
    return [{name: batch[name][row][kept[row]] for name in names} for row in range(kept.shape[0])]


def positions_of(model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """``[rows, length]``, or ``[3, rows, length]`` where the family counts images in three dimensions (M-RoPE)."""
    plain = (batch["attention_mask"].long().cumsum(dim=-1) - 1).clamp(min=0)
    index = _rope_index(model)
    if index is None:
        return plain
    takes = inspect.signature(index).parameters
    if not any(name.startswith("image_grid") for name in batch):
        return plain.expand(3, *plain.shape)
    given: Keywords = {name: value for name, value in batch.items() if name in takes}
    positions: Tensor = index(**given)[0]
    return positions[-3:]


def _rope_index(model: Any) -> Any:
    for owner in (model, getattr(model, "base_model", None), getattr(model, "model", None)):
        found = getattr(owner, "get_rope_index", None)
        if found is not None:
            return found
    return None


def names(rows: Sequence[TokenRow]) -> list[str]:
    """The per-token inputs that any of the rows has."""
    return list(dict.fromkeys(name for row in rows for name in row.tokens))


def collate(rows: Sequence[TokenRow], pad: int, *, side: Side = "right") -> dict[str, Tensor]:
    """Rows as a padded batch: what the processor made, without the images, and with ``position_ids``."""
    length = max(row.length for row in rows)
    fill = {"input_ids": pad, "labels": -100}
    batch = {
        name: torch.stack([padded(row.entries(name), length, fill.get(name, 0), side) for row in rows])
        for name in names(rows)
    }
    ones = [torch.ones(row.length, dtype=torch.long) for row in rows]
    batch["attention_mask"] = torch.stack([padded(one, length, 0, side) for one in ones])
    batch["position_ids"] = stack_positions([row.positions for row in rows], length, side)
    return batch


def padded(values: Tensor, length: int, fill: int, side: Side) -> Tensor:
    """``values [..., n]`` as ``[..., length]``."""
    missing = length - values.shape[-1]
    return torch.nn.functional.pad(values, (missing, 0) if side == "left" else (0, missing), value=fill)


def stack_positions(positions: Sequence[Tensor], length: int, side: Side) -> Tensor:
    """``[rows, length]`` or ``[3, rows, length]``; a row without an image counts alike in all three dimensions."""
    three = any(one.ndim == 2 for one in positions)
    alike = [one.expand(3, -1) if three and one.ndim == 1 else one for one in positions]
    return torch.stack([padded(one, length, 0, side) for one in alike], dim=-2)
