"""The ledger: what will train, said before step 1 and checked after step 1 and at the end."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import torch
from torch import Tensor

from holdfast.errors import HoldfastError
from holdfast.events import Ledger, LedgerRow
from holdfast.methods.contract import Method
from holdfast.methods.recipe import Recipe
from holdfast.methods.several import Several
from holdfast.models.anatomy import Anatomy
from holdfast.models.packed import values_in
from holdfast.models.quantised import packed_components
from holdfast.values import JSON


def write_ledger(recipe: Recipe, anatomy: Anatomy) -> Ledger:
    """Count what an attached recipe trains."""
    rows = []
    added_total = 0
    packed = packed_components(anatomy)
    for component, method in recipe.methods.items():
        part = anatomy.component(component)
        active = component in recipe.active
        trainable = list(method.named_trainable().values()) if active else []
        count = sum(tensor.numel() for tensor in trainable)
        added = method.added() if active else 0
        added_total += added
        rows.append(
            LedgerRow(
                component=component,
                method=method.card.name,
                options=method.options.model_dump(mode="json", exclude_defaults=True),
                trainable=count,
                total=part.count() + added,
                lr=_rate(method, recipe.learning_rates[component]) if active else None,
                checkpoint_bytes=sum(_saved_bytes(part) for part in method.parts()) if active else 0,
                notes=(_notes(recipe, method) if active else {})
                | ({"bits": packed[component]} if component in packed else {}),
            )
        )
    base = sum(values_in(parameter) for parameter in {id(p): p for p in anatomy.names().values()}.values())
    return Ledger(tuple(rows), base, added_total)


def _rate(method: Method, rate: float) -> float | None:
    """A component's rate; None where several methods on it train at different ones, which their notes say."""
    return rate if not isinstance(method, Several) or len(set(method.rates)) == 1 else None


def _saved_bytes(method: Method) -> int:
    # A sparse delta stores an index of four bytes beside each value.
    index = 4 if hasattr(method, "selected") else 0
    return sum(t.numel() * (t.element_size() + index) for t in method.named_trainable().values())


def _notes(recipe: Recipe, method: Method) -> JSON:
    """What the method decided, and which stabilisers do not hold what it changes."""
    notes, parts = method.notes(), method.parts()
    for part, own in zip(parts, notes["parts"] if len(parts) > 1 else [notes], strict=True):
        left_out = [stabiliser.card.name for stabiliser in recipe.stabilisers if stabiliser.leaves_out(part)]
        own |= {"not_held_by": left_out} if left_out else {}
    return notes


def without_gradient(recipe: Recipe, reached: Collection[Tensor] = ()) -> list[str]:
    """Trainable tensors that the first backward did not reach; ``reached`` are those that have no gradient any more."""
    gone = set(map(id, reached))
    return [name for name, p in recipe.named_trainable().items() if p.grad is None and id(p) not in gone]


def check_gradients(
    recipe: Recipe, anatomy: Anatomy, *, images: bool = True, reached: Collection[Tensor] = ()
) -> list[str]:
    """After the first backward: what the ledger names may have a gradient, and nothing else.

    Args:
        recipe: Attached.
        anatomy: Of the model.
        images: Whether the step had any; without, only the llm can be reached.
        reached: Trainable tensors whose gradients have been there and were taken away.

    Returns:
        Trainable tensors that the loss did not reach, such as the last layer of a tower that is read before its end.

    Raises:
        HoldfastError: A tensor that the ledger does not name has a gradient, or a tuned component has none at all.
    """
    trainable = recipe.named_trainable()
    known = set(map(id, trainable.values()))
    strays = [n for n, p in anatomy.names().items() if p.grad is not None and id(p) not in known]
    if strays:
        raise HoldfastError(
            f"{len(strays)} parameters have a gradient that the ledger does not name: {', '.join(strays[:5])}",
            remedy="this is a fault of the method; please report it with the configuration",
        )
    missing = without_gradient(recipe, reached)
    for component, prefix in _prefixes(recipe):
        own = [name for name in trainable if name.startswith(prefix)]
        if own and set(own) <= set(missing) and (images or component == "llm"):
            raise HoldfastError(
                f"the loss does not reach component '{component}': none of its {len(own)} trainable tensors has a "
                f"gradient after step 1 ({', '.join(own[:3])}...)",
                remedy="give examples with images, tune other layers, or freeze this component",
                key=f"tune.{component}",
            )
    return missing


def _prefixes(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Every method's component, and how the names of what it trains begin."""
    for component, method in recipe.active.items():
        inner = [method.prefix(place) for place in range(len(method.methods))] if isinstance(method, Several) else [""]
        yield from ((component, f"{component}/{prefix}") for prefix in inner)


def fingerprint(anatomy: Anatomy) -> dict[str, bytes]:
    """A digest of every base parameter: of all its values, and of its dtype."""
    return {name: content(parameter) + f" {parameter.dtype}".encode() for name, parameter in anatomy.names().items()}


def _values(fingerprint: bytes) -> bytes:
    """Without the dtype: a half-precision weight that trains in float32 has not moved by that."""
    return fingerprint.rsplit(b" ", 1)[0]


@torch.no_grad()
def content(tensor: Tensor) -> bytes:
    """Digest of shape and every value; on the tensor's own device, in slices. Half precision counts as float32.

    Two sums modulo 2^64 of the raw values, one of them weighted by odd numbers that differ from place to place: a
    change of one value always shows, changes of several show but for a chance of about 2^-64.
    """
    flat = tensor.detach().contiguous().view(-1)
    half = flat.dtype in (torch.float16, torch.bfloat16)
    plain, weighted = 0, 0
    for begin in range(0, flat.numel(), _SLICE):
        part = flat[begin : begin + _SLICE]
        part = part.float() if half else part
        values = part.view(_BITS[part.element_size()]).to(torch.int64)
        weights = torch.arange(begin, begin + len(values), device=values.device) * _MIX
        weights ^= weights >> 29
        plain += int(values.sum())
        weighted += int((values * (weights * _MIX | 1)).sum())
    return f"{tuple(tensor.shape)}{plain % 2**64}:{weighted % 2**64}".encode()


_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_SLICE = 1 << 22
_MIX = -7046029254386353131  # 2^64 divided by the golden ratio, as a signed number


def check_moved(before: dict[str, bytes], recipe: Recipe, anatomy: Anatomy) -> list[str]:
    """Stop if anything moved that the ledger does not name; entry by entry where a method trains some entries only.

    Args:
        before: What :func:`fingerprint` gave before the recipe was attached.
        recipe: Attached, after training.
        anatomy: Of the model.

    Returns:
        Tensors that the ledger names and that did not move.

    Raises:
        HoldfastError: With the names.
    """
    whole, entries = set[str](), dict[str, tuple[Tensor, Tensor]]()
    for method in recipe.active.values():
        partly = method.changed_entries()
        entries |= partly
        whole |= method.moves() - set(partly)
    names = anatomy.names()
    moved = {name for name, parameter in names.items() if content(parameter) != _values(before[name])}
    strays = sorted(moved - whole - set(entries))
    for name in moved & set(entries):
        index, base = entries[name]
        rewound = names[name].detach().clone().view(-1)
        rewound[index.long()] = base.to(rewound.dtype)
        if content(rewound.view(names[name].shape)) != _values(before[name]):
            strays.append(f"{name} (entries that were not selected)")
    if strays:
        raise HoldfastError(
            f"{len(strays)} parameters moved that the ledger does not name: {', '.join(strays[:5])}",
            remedy="this is a fault of the method; please report it with the configuration",
        )
    return sorted((whole | set(entries)) - moved)
