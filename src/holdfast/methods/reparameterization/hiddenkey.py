"""HiddenKey (arXiv 2403.00812): LoRA under dropout of attention's keys and of what the MLP gives."""

from __future__ import annotations

from typing import Any, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from holdfast.errors import HoldfastError
from holdfast.methods.additive.attention import MARK, with_prefix
from holdfast.methods.additive.front import attention_layers
from holdfast.methods.contract import Context, Seen
from holdfast.methods.low_rank import LowRank, LowRankCard, LowRankOptions
from holdfast.models.anatomy import Component
from holdfast.models.kinds import MLP_LAST


class DroppedOptions(LowRankOptions):
    """LoRA's, what is dropped while training, and how hard two passes are drawn together."""

    source = "arXiv 2403.00812; the strength is R-Drop's, arXiv 2106.14448"
    r: int = Field(default=8, gt=0, description="rank")
    alpha: float | None = Field(default=16, gt=0, description="scale, over r")
    drop_keys: float = Field(default=0.1, ge=0, lt=1, description="chance that a head's queries all miss a key")
    drop_hidden: float = Field(default=0.1, ge=0, lt=1, description="chance of each value that an MLP gives")
    agreement: float = Field(
        default=1.0, ge=0, description="of the KL both ways between two passes; 0 saves the second pass"
    )


class HiddenKey(LowRank):
    """``W0 + s B A`` on keys and values, trained while whole columns of attention logits are minus infinity (keys are
    drawn by head and row) and values that the MLPs give are zero, the others scaled up; the loss gains
    ``agreement / 2 (KL(p1 || p2) + KL(p2 || p1))`` over answer tokens, with ``p2`` from another pass. A query that has
    lost every key takes nothing. Afterwards it is LoRA.
    """

    card = LowRankCard(
        name="hiddenkey",
        family="calibration",
        summary="LoRA under dropout of keys and hidden values, with two passes that agree",
        paper="arXiv 2403.00812",
        year=2024,
        checked_against="softmax over columns of minus infinity, values and gradients; LoRA where nothing is dropped",
        default_lr=2e-4,
    )
    Settings = DroppedOptions
    default_modules = ("k_proj", "v_proj")
    wants_logits = True
    goes_beside = False  # it changes what the attention and the MLPs give while it trains

    def hang(self, component: Component) -> None:
        if component.name != "llm":
            raise HoldfastError(
                f"method 'hiddenkey' works on the llm only, not on '{component.name}'", remedy="write it under tune.llm"
            )
        self.watching: list[RemovableHandle] = []
        self.attention: dict[str, nn.Module] = {}
        super().hang(component)

    def attach(self, component: Component, context: Context) -> None:
        found: dict[str, nn.Module] = {}
        if component.name == "llm":  # the engine refuses every other
            self.decoder = component.model.get_submodule(component.layers()[0][0].rsplit(".", 2)[0])
            self.config = cast(Any, self.decoder.config)
            self.plain = self.config._attn_implementation or "eager"
            if self.options.drop_keys and "flash" in self.plain:
                raise HoldfastError(
                    "method 'hiddenkey' drops keys in a way that flash attention has no kernel for",
                    remedy="load the model with sdpa, or set drop_keys: 0",
                )
            found = attention_layers(component, "hiddenkey") if self.options.drop_keys else found
        super().attach(component, context)
        self.attention = found
        for index, layer in enumerate(found.values()):
            object.__setattr__(layer, MARK, (self, index))
        if found:
            self.config._attn_implementation = with_prefix(self.plain)
        for name, layer in component.linears(("mlp",)).items() if self.options.drop_hidden else ():
            if name.rsplit(".", 1)[-1] in MLP_LAST:
                self.watching.append(layer.register_forward_hook(self._drop_hidden))

    def take_off(self) -> None:
        for handle in self.watching:
            handle.remove()
        for layer in self.attention.values():
            object.__delattr__(layer, MARK)
        if self.attention:
            self.config._attn_implementation = self.plain
        self.watching, self.attention = [], {}
        super().take_off()

    @property
    def _dropping(self) -> bool:
        return self.decoder.training and not any(beside.asleep for beside in self.sites.values())

    def _drop_hidden(self, layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        return functional.dropout(output, self.options.drop_hidden, self._dropping)

    def join(self, index: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Values with a column of ones, both zero where a key is dropped: attention then sums the weights that stay."""
        if not self._dropping:
            return key, value
        kept = torch.rand(value.shape[:-1], device=value.device).ge(self.options.drop_keys).unsqueeze(-1)
        return key, torch.cat([value, torch.ones_like(value[..., :1])], dim=-1) * kept

    def beside(self, index: int, query: Tensor, output: Tensor, scaling: float) -> Tensor:
        """Divided by that sum it is what a softmax without the dropped keys would have given, gradients included."""
        if not self._dropping:
            return output
        return output[..., :-1] / output[..., -1:].clamp(min=1e-6)

    def batch_penalty(self, seen: Seen) -> Tensor | None:
        if not self.options.agreement:
            return None
        first, second = (logits.float().log_softmax(dim=-1) for logits in (seen.logits, seen.again()))
        apart = [
            functional.kl_div(a, b, reduction="sum", log_target=True) for a, b in ((first, second), (second, first))
        ]
        return (apart[0] + apart[1]) * (float(self.options.agreement) / 2)
