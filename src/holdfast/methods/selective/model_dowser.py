"""Model-Dowser (arXiv 2602.04509): weights that the base's own answers hang on stay as they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Card, Context
from holdfast.methods.selective.scores import only, share, top
from holdfast.methods.selective.sparse import Ratio, Sparse, SparseScope
from holdfast.models.anatomy import Component
from holdfast.values import Keywords

PREFIX = 3
"""Random tokens that a prompt begins with, at most (release)."""


class Probing(SparseScope):
    """What the base is probed with, and how often."""

    source = "nguyendinhson-kaist/Model-Dowser"
    ratio: Ratio = Field(default=0.1, description="share of the entries that train, those of least importance")
    prompts: Literal["self", "sources", "train"] = Field(
        default="self", description="text that the base writes itself, or examples of the sources or the target"
    )
    samples: int = Field(default=128, gt=0, description="prompts that are looked at")
    batch_size: int = Field(default=8, gt=0, description="of them in one pass")
    probes: int = Field(default=2, gt=0, description="random signs of the logits a batch")
    length: int = Field(default=64, gt=1, description="tokens of a prompt that the base writes")


class ModelDowser(Sparse):
    """``S_ij = mean over batches and probes of psi_i |W_ij| a_j`` with ``a`` the mean size of the layer's inputs and
    ``psi`` that of the gradient of ``xi . logits`` by its outputs (random signs ``xi``, the last token); of every
    matrix the ``ratio`` of lowest ``S`` trains.

    The base writes its own prompts from one to three random tokens, at temperature 0.9 and top-p 0.9, without pictures
    (the release's --image-off; it puts noise in front otherwise) and without a penalty on repetition; choose
    ``prompts: sources`` where pictures should count, and for ``vision``. In the connector ``a`` is one (release).
    """

    card = Card(
        name="model_dowser",
        paradigm="selective",
        family="mask",
        summary="what the base's own answers hang on stays, the rest may train",
        paper="arXiv 2602.04509",
        year=2026,
        official_code="nguyendinhson-kaist/Model-Dowser",
        default_lr=2e-5,
        checked_against="masked dense gradients, bit for bit; dense scores from hand-made hooks",
    )

    Settings = Probing

    @property
    def needs_sources(self) -> bool:
        return bool(self.options.prompts == "sources")

    def choose(self, component: Component, context: Context) -> dict[str, Tensor]:
        self.model, matrices = component.model, self.matrices(component)
        layers = {name: self.model.get_submodule(name.removesuffix(".weight")) for name in matrices}
        inputs: dict[str, list[Tensor]] = {name: [] for name in layers}
        slopes: dict[str, list[Tensor]] = {name: [] for name in layers}
        with only(self.model, matrices), torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**31, (1,), generator=context.generator)))
            for batch in self._prompts(context):
                for _ in range(self.options.probes):
                    self._probe(batch, layers, inputs, slopes)
        found = {}
        for name, matrix in matrices.items():
            if not inputs[name]:
                raise HoldfastError(
                    f"no prompt of method 'model_dowser' reaches '{name}'",
                    remedy="set prompts: sources, whose examples have pictures",
                )
            a = torch.stack(inputs[name])
            a = torch.ones_like(a) if component.name == "connector" else a
            score = matrix.detach().float().abs() * (torch.stack(slopes[name]).T @ a)
            found[name] = top(-score, share(self.ratio, score.numel())).cpu()
        return found

    def _probe(self, batch: Keywords, layers: dict[str, nn.Module], inputs: Any, slopes: Any) -> None:
        """One pass, one draw of signs."""
        heard: dict[str, tuple[Tensor, Tensor]] = {}

        def hear(name: str) -> Any:
            return lambda layer, given, output: heard.update({name: (given[0].detach(), output)})

        hooks = [layer.register_forward_hook(hear(name)) for name, layer in layers.items()]
        try:
            logits = self.model(**batch).logits[:, -1].float()
        finally:
            for hook in hooks:
                hook.remove()
        signs = torch.randint(0, 2, logits.shape).to(logits.device) * 2.0 - 1
        outputs = [output for _, output in heard.values()]
        if not outputs:
            return
        gradients = torch.autograd.grad((signs * logits).sum() / len(logits), outputs, allow_unused=True)
        for (name, (given, _)), gradient in zip(heard.items(), gradients, strict=True):
            if gradient is not None:
                inputs[name].append(_size(given))
                slopes[name].append(_size(gradient))

    def _prompts(self, context: Context) -> Iterator[Keywords]:
        count, size = self.options.samples, self.options.batch_size
        if self.options.prompts != "self":
            for batch in context.look("method 'model_dowser'", -(-count // size), of=self.options.prompts, size=size):
                yield batch.inputs(self.model)
            return
        for begin in range(0, count, size):
            yield self._written(min(size, count - begin))

    @torch.no_grad()
    def _written(self, count: int) -> Keywords:
        """Text of the base's own, from a beginning of one to three random tokens."""
        model: Any = self.model
        settings, device = model.generation_config, next(model.parameters()).device
        first = settings.bos_token_id if settings.bos_token_id is not None else 1
        vocabulary = model.get_input_embeddings().weight.shape[0]
        ids = torch.randint(vocabulary, (count, 1 + int(torch.randint(1, PREFIX + 1, (1,)))))
        special = {getattr(model.config, name, None) for name in ("image_token_id", "image_token_index")} - {None}
        ids[torch.isin(ids, torch.tensor(sorted(special), dtype=ids.dtype))] = first
        ids[:, 0] = first
        for _ in range(self.options.length - ids.shape[1]):
            batch = {"input_ids": ids.to(device), "attention_mask": torch.ones_like(ids).to(device)}
            chances = _nucleus(model(**batch, use_cache=False).logits[:, -1].float().cpu() / 0.9, 0.9)
            chances[:, sorted(special)] = 0  # a mark without its picture
            ids = torch.cat([ids, torch.multinomial(chances, 1)], dim=1)
        ids = ids.to(device)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _nucleus(logits: Tensor, mass: float) -> Tensor:
    """Chances of the most likely tokens that together hold ``mass``."""
    chances, order = logits.softmax(dim=-1).sort(dim=-1, descending=True)
    chances[chances.cumsum(dim=-1) - chances >= mass] = 0
    return torch.zeros_like(logits).scatter_(1, order, chances)


def _size(values: Tensor) -> Tensor:
    """The mean size over everything but the last dimension."""
    return values.detach().float().abs().reshape(-1, values.shape[-1]).mean(dim=0)
