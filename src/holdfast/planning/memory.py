"""Peak memory of one training step on its device, in parts, from shapes.

``w`` is the width of a computed value: 2 bytes under bf16, 4 under fp32. ``T`` counts positions.

- **weights**: every tensor of the attached model at its own width. A weight of four bits takes 4.127 bits with its
  scales (4.5 where those are not quantised themselves), one of eight bits 8 and a float32 scale a row, and the largest
  such matrix stands unpacked for the length of its product, ``w`` a weight. Under bf16 frozen weights take 2 bytes a
  value; trained ones take 4, and trained matrices have a bf16 copy for the length of a step (autocast's cache).
- **gradients**: 4 bytes a trained value. A sparse selection adds the dense gradient of its largest matrix, which is all
  that ever lives at once.
- **optimizer**: AdamW's two float32 moments, 8 bytes a trained value.
- **method**: what a method keeps beside that: a selection's places (4 bytes) and base values (``w``), SPIDER's base
  copy and gradient sum (8 bytes).
- **activations**: what autograd keeps for the backward pass, wherever gradients pass (see :func:`kept`). With
  checkpointing: each block's input (``w`` times the width of the model) and one block's whole.
- **logits**: ``T (12 + w) V`` under bf16 and ``12 T V`` under fp32, ``T`` the positions that the head runs at: the
  logits, their float32 copy (bf16 only), their log-softmax and the gradient of that.

The peak is their sum. Left out: what a method needs while it chooses (LT-SFT's first phase is a full tuning), what the
forward pass of frozen parts needs for a moment, the allocator's gaps, the accelerator's own context (0.3 to 1 GB), and
workspaces of kernels. The attention is taken to be a fused kernel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from holdfast.methods.recipe import Recipe
from holdfast.models.kinds import is_norm
from holdfast.models.packed import is_packed, values_in
from holdfast.models.quantised import packed_layers
from holdfast.planning.flops import FUSED, attention_width
from holdfast.planning.meta import Sketch
from holdfast.planning.sites import WRAPPED, Site
from holdfast.planning.workload import Workload
from holdfast.planning.wrapped import Keeps, keeps

COPIES = {"spider": 8}
"""Bytes a trained value of methods that keep float32 copies beside it."""

_RETURN = ("down_proj", "fc2", "linear_fc2", "w2", "lin2", "dense_4h_to_h")
"""Layers whose output is added to the residual stream, which keeps nothing."""

_GATES = ("gate_proj", "w1")
"""Gates of a gated MLP: the gate and its activation are both kept."""

_SHARED = (("q_proj", "k_proj", "v_proj"), ("query", "key", "value"), ("gate_proj", "up_proj"), ("w1", "w3"))
"""Layers that read the same tensor."""


@dataclass(frozen=True)
class Memory:
    """Bytes of each part; the formulas stand at the top of this file."""

    weights: int
    gradients: int
    optimizer: int
    method: int
    activations: int
    logits: int

    @property
    def peak(self) -> int:
        """The sum of the parts."""
        return sum(asdict(self).values())

    def to_json(self) -> dict[str, int]:
        """The parts and the peak."""
        return {**asdict(self), "peak": self.peak}


def estimate_memory(recipe: Recipe, sketch: Sketch, sites: Sequence[Site], workload: Workload) -> Memory:
    """Peak memory of one step of ``workload`` with an attached recipe."""
    trained = {id(p): p for p in recipe.named_trainable().values()}
    count = sum(p.numel() for p in trained.values())
    # Values that a method trains beside the model, such as a prefix or a selection, are no part of the model.
    tensors = {id(p): p for p in sketch.model.parameters()} | trained
    weights = sum(p.numel() * p.element_size() for p in tensors.values())
    weights += _packed(recipe, sketch, workload.width)
    if workload.precision == "bf16":
        linears = (site.module for site in sites if isinstance(site.module, nn.Linear))
        weights += 2 * sum(layer.weight.numel() for layer in linears if id(layer.weight) in trained)
    gradients, extra = 4 * count, 0
    for key, method in recipe.parts.items():
        component = key.partition(".")[0]
        own = sum(p.numel() for p in method.named_trainable().values())
        extra += COPIES.get(method.card.name, 0) * own
        if hasattr(method, "selected"):
            matrices = [sketch.anatomy.component(component).parameters[name] for name in method.moves()]
            gradients += max(p.numel() * p.element_size() for p in matrices)
            extra += own * (4 + workload.width)
    head = next((site for site in sites if site.head), None)
    vocabulary = head.module.weight.shape[0] if head is not None and isinstance(head.module, nn.Linear) else 0
    per_logit = 12 + (workload.width if workload.precision == "bf16" else 0)
    return Memory(
        weights=weights,
        gradients=gradients,
        optimizer=8 * count,
        method=extra,
        activations=estimate_activations(sites, workload),
        logits=per_logit * workload.logits * vocabulary if trained else 0,
    )


def _packed(recipe: Recipe, sketch: Sketch, width: int) -> int:
    """What packing adds to the bytes of the weights as they stand: less than nothing where they are shapes yet."""
    added, largest = 0.0, 0
    load = recipe.config.load
    for bits, layers in packed_layers(sketch.anatomy, sketch.config, load).values():
        for name in layers:
            layer: Any = sketch.model.get_submodule(name)
            weight = layer.weight
            count, rows = values_in(weight), layer.out_features
            scales = 4 * rows if bits == 8 else count / 64 + count / 4096 if load.double else count / 16
            if not is_packed(weight):
                added += count * bits / 8 - count * weight.element_size()
            added, largest = added + scales, max(largest, count)
    return round(added) + width * largest


def estimate_activations(sites: Sequence[Site], workload: Workload) -> int:
    """Bytes that autograd keeps for one batch."""
    changes = changed(sites, workload.width)
    blocks: dict[tuple[str, int], int] = {}
    outside = 0
    for site, count in kept(sites, workload, changes).items():
        total = count * (workload.logits if site.head else workload.tokens(site.component))
        if site.name in changes:
            total += changes[site.name].once
        if site.block is None:
            outside += total
        else:
            key = (site.component, site.block)
            blocks[key] = blocks.get(key, 0) + total
    if not workload.checkpointing:
        return outside + sum(blocks.values())
    inputs = sum(_block_input(sites, workload, component) for component, _ in blocks)
    return outside + inputs + max(blocks.values(), default=0)


def changed(sites: Sequence[Site], width: int) -> dict[str, Keeps]:
    """By the name of their site, what changed layers keep that can be called by themselves and pass gradients."""
    alike: dict[str, dict[Any, Keeps | None]] = {}  # by component: each has its method
    found: dict[str, Keeps] = {}
    for site in sites:
        if site.reached and site.changed is not None and isinstance(site.module, nn.Linear):
            asked = keeps(site.changed, site.module, width, alike.setdefault(site.component, {}))
            if asked is not None:
                found[site.name] = asked
    return found


def kept(sites: Sequence[Site], workload: Workload, changes: Mapping[str, Keeps]) -> Mapping[Site, int]:
    """Bytes that each reached layer keeps per position.

    - a norm: its input as float32, ``4 d``; with a trained weight the normalised input too, ``w d``, or ``4 d``
      where embeddings train, which are float32 and so is what is added to them;
    - queries, keys, values and the attention's output: ``w`` times their width; keys and values that several heads
      share count as often as they are read, since a padded batch repeats them;
    - an attention of the llm over several rows: the mask that a padded batch brings, which the kernel converts to
      numbers for each layer anew, ``w`` times the length;
    - a gate: itself and its activation, ``2 w ff``; what it multiplies, ``w ff``; the first layer of a plain MLP,
      ``w ff`` (quick GELU keeps twice that, which is not counted);
    - a trained matrix: its input, ``w`` times its width, once where layers read the same tensor (under bf16 behind
      a trained norm each has its own copy);
    - a layer that a method changed: what it said when it was asked, and its input likewise;
    - an added matrix elsewhere: its input likewise; behind dropout always its own, and one byte a value for the mask;
    - an added vector elsewhere: what it scales, ``w`` times its length.

    Args:
        sites: Of the attached model.
        workload: The step.
        changes: From :func:`changed`.
    """
    result: dict[Site, int] = {}
    shared: set[tuple[str, ...]] = set()
    heads = _queries(sites)
    asked = {name.removesuffix(WRAPPED) for name in changes}
    # A trained norm is float32 and so is what it puts out; under autocast each of its readers makes a copy of its own.
    mixed = {
        (site.component, site.block) for site in sites if site.trained and is_norm(site.module) and workload.width < 4
    }
    # Embeddings that train are float32, and so is all that is added to them.
    whole = {site.component for site in sites if site.trained and isinstance(site.module, nn.Embedding)}
    for site in sites:
        if not site.reached:
            continue
        if (site.component, site.block) in mixed:
            shared.clear()
        change = changes.get(site.name)
        result[site] = _own(site, workload.width, heads, 4 if site.component in whole else workload.width)
        if site.component == "llm" and workload.batch > 1 and attention_width(site):
            result[site] += workload.width * workload.length
        if change is not None:
            result[site] += change.position
            if change.reads or site.trained:
                result[site] += _read(site, workload.width, shared)
        elif site.owner not in asked:
            result[site] += _input(site, workload.width, shared)
    return result


def _is_vector(parameter: nn.Parameter) -> bool:
    return parameter.numel() == max(parameter.shape, default=1)


def _own(site: Site, width: int, queries: Mapping[str, int], stream: int) -> int:
    """What a layer's output, or a norm's input, keeps; ``stream``: bytes of a value that goes from block to block."""
    module = site.module
    if is_norm(module):
        size = next(module.parameters(recurse=False)).numel()
        parent = site.name.rpartition(".")[0]
        if site.last in ("q_norm", "k_norm") and queries.get(parent, 0) > size:
            size = queries[parent]  # one norm runs over every head
        return size * (4 + stream if site.trained else 4)
    if not isinstance(module, nn.Linear) or site.added or site.head:
        return 0
    if site.last in _RETURN:
        return 0
    if site.last in _GATES:
        return 2 * width * module.out_features
    if site.last in ("k_proj", "v_proj", "key", "value"):
        return width * max(module.out_features, queries.get(_unwrapped(site).rpartition(".")[0], 0))
    return width * module.out_features


def _input(site: Site, width: int, shared: set[tuple[str, ...]]) -> int:
    """What a trained weight needs of its input."""
    module = site.module
    if not site.trained:
        return 0
    if not isinstance(module, nn.Linear):
        return width * sum(p.numel() for p in module.parameters(recurse=False) if site.added and _is_vector(p))
    if site.added and site.dropout:
        mask = module.in_features if module.in_features > module.out_features else 0
        return width * module.in_features + mask
    if site.added and module.in_features < module.out_features:
        return width * module.in_features
    return _read(site, width, shared)


def _read(site: Site, width: int, shared: set[tuple[str, ...]]) -> int:
    """The input of a linear layer, if no other layer that reads the same tensor keeps it already."""
    module = site.module
    assert isinstance(module, nn.Linear)
    name = ".".join(site.name.split(".")[:-2]) if site.added else _unwrapped(site)
    parent, _, last = name.rpartition(".")
    if last in ("o_proj", "out_proj") and not site.added:
        return 0  # the attention's output, which is kept anyway
    group = next((group for group in _SHARED if last in group), (last,))
    key = (parent, *group, str(module.in_features))
    if key in shared:
        return 0
    shared.add(key)
    return width * module.in_features


def _unwrapped(site: Site) -> str:
    return site.name.removesuffix(WRAPPED)


def _queries(sites: Iterable[Site]) -> dict[str, int]:
    """Width of the queries by the name of their attention."""
    return {
        _unwrapped(site).rpartition(".")[0]: site.module.out_features // (3 if site.last in FUSED else 1)
        for site in sites
        if isinstance(site.module, nn.Linear) and site.last in ("q_proj", "query", *FUSED)
    }


def _block_input(sites: Sequence[Site], workload: Workload, component: str) -> int:
    norms = [s.module for s in sites if s.component == component and s.block is not None and is_norm(s.module)]
    width = max((next(norm.parameters(recurse=False)).numel() for norm in norms), default=0)
    return workload.width * width * workload.tokens(component)
