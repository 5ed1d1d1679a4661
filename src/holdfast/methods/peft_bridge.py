"""Everything that PEFT implements well, through one bridge: give it full module names, take back what it added."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import ConfigDict, Field
from torch import nn

from holdfast.errors import HoldfastError, nearest
from holdfast.methods.contract import Artifact, Card, Context, Method, Options, Paradigm
from holdfast.methods.registry import register
from holdfast.models.anatomy import Component


class PeftOptions(Options):
    """``modules`` as everywhere; every further option is a field of PEFT's own configuration."""

    model_config = ConfigDict(extra="allow", frozen=True)

    modules: tuple[str, ...] | None = Field(default=None, description="attention, mlp, all, or names such as q_proj")


@dataclass(frozen=True)
class Provided:
    """How one of PEFT's methods is called here."""

    config: str
    fixed: Mapping[str, Any]
    renamed: Mapping[str, str]
    modules: tuple[str, ...] = ("attention", "mlp")
    rank: str | None = None


_RANKED = {"alpha": "lora_alpha", "dropout": "lora_dropout"}


def _provided(
    name: str,
    paradigm: Paradigm,
    family: str,
    summary: str,
    paper: str,
    year: int,
    provided: Provided,
    *,
    mergeable: bool = True,
    default_lr: float = 2e-4,
) -> None:
    card = Card(
        name,
        paradigm,
        family,
        summary,
        paper,
        year,
        mergeable,
        provided_by="peft",
        official_code="huggingface/peft",
        extra_inference_cost="none once merged" if mergeable else "its own layers",
        checked_against="plain PEFT: same file, same logits",
        default_lr=default_lr,
    )
    register(card)(type(name, (PeftMethod,), {"provided": provided, "__doc__": summary}))


class PeftMethod(Method):
    """Injects a PEFT adapter into the layers that the anatomy names."""

    Settings = PeftOptions
    provided: Provided

    def _config(self, component: Component) -> Any:
        import peft

        kind = getattr(peft, self.provided.config)
        known = {field.name for field in dataclasses.fields(kind)}
        values: dict[str, Any] = dict(self.provided.fixed)
        for key, value in (self.options.model_extra or {}).items():
            field = self.provided.renamed.get(key, key)
            if field not in known:
                names = sorted(known | set(self.provided.renamed) | {"modules"})
                raise HoldfastError(f"method '{self.card.name}' has no option '{key}'", remedy=nearest(key, names))
            values[field] = value
        kinds = self.options.modules or (("all",) if component.name == "connector" else self.provided.modules)
        self.layers = component.linears(kinds)
        values["target_modules"] = list(self.layers)
        if self.provided.config == "IA3Config":
            values["feedforward_modules"] = [
                name for name in self.layers if name.rsplit(".", 1)[-1] in ("down_proj", "fc2", "linear_fc2", "w2")
            ]
        self._check_rank(values)
        try:
            return kind(**values)
        except (TypeError, ValueError) as error:
            raise HoldfastError(f"method '{self.card.name}' refuses its options: {error}") from error

    def _check_rank(self, values: Mapping[str, Any]) -> None:
        rank = values.get(self.provided.rank or "")
        if rank is None:
            return
        if not isinstance(rank, int) or isinstance(rank, bool) or rank < 1:
            raise HoldfastError(
                f"method '{self.card.name}', option 'r' is {rank!r}", remedy="give a whole number above 0"
            )
        for name, layer in self.layers.items():
            width = min(layer.in_features, layer.out_features)
            if rank > width:
                raise HoldfastError(
                    f"rank {rank} is above the width {width} of layer '{name}'", remedy=f"choose r of at most {width}"
                )

    def attach(self, component: Component, context: Context) -> None:
        self.component = component
        self.config = self._config(component)
        self._inject(context.generator)

    def _inject(self, generator: torch.Generator | None) -> None:
        from peft import inject_adapter_in_model
        from peft.tuners.tuners_utils import BaseTunerLayer

        model = self.component.model
        before = {id(parameter) for parameter in model.parameters()}
        beside = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
        active = [module.active_adapters for module in beside]
        outer = {id(p): p.requires_grad for p in model.parameters()}
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # several adapters side by side are meant
            # PEFT draws from the global generator; the run's own seed decides what it draws.
            torch.manual_seed(0 if generator is None else int(torch.randint(2**31, (1,), generator=generator)))
            inject_adapter_in_model(self.config, model, adapter_name=self._adapter)
        for module, names in zip(beside, active, strict=True):
            # PEFT makes the newest adapter the only active one, in the layers of other components too.
            module.set_adapter(names)
        self._check_wrapped(BaseTunerLayer)
        self.new = {name: parameter for name, parameter in model.named_parameters() if id(parameter) not in before}
        for parameter in model.parameters():
            if id(parameter) in outer:
                parameter.requires_grad_(outer[id(parameter)])

    def _check_wrapped(self, wrapper: type[Any]) -> None:
        """Refuse a model for which PEFT rewrites the targets it is given (some mixtures of experts)."""
        model = self.component.model
        left = [name for name in self.layers if not isinstance(model.get_submodule(name), wrapper)]
        if not left:
            return
        self.layers = {name: layer for name, layer in self.layers.items() if name not in left}
        self._unwrap()
        raise HoldfastError(
            f"PEFT leaves out '{left[0]}' and {len(left) - 1} more layers that method '{self.card.name}' was given",
            remedy="it rewrites the targets of this model; name other modules, such as modules: [attention]",
        )

    @property
    def _adapter(self) -> str:
        return f"holdfast_{self.component.name}"

    def named_trainable(self) -> dict[str, nn.Parameter]:
        return {name: parameter for name, parameter in self.new.items() if parameter.requires_grad}

    def added(self) -> int:
        return sum(parameter.numel() for parameter in self.named_trainable().values())

    @contextmanager
    def suspended(self) -> Iterator[None]:
        layers: list[Any] = [self.component.model.get_submodule(name) for name in self.layers]
        flags = {parameter: parameter.requires_grad for parameter in self.new.values()}
        try:
            for layer in layers:
                layer.enable_adapters(False)
            yield
        finally:
            for layer in layers:
                layer.enable_adapters(True)
            # PEFT decides anew what trains when it switches; what the ledger said is what counts.
            for parameter, flag in flags.items():
                parameter.requires_grad_(flag)

    def detach(self) -> Artifact:
        from peft import get_peft_model_state_dict

        tensors = get_peft_model_state_dict(
            self.component.model, adapter_name=self._adapter, save_embedding_layers=False
        )
        config = {
            key: sorted(value) if isinstance(value, set) else value
            for key, value in self.config.to_dict().items()
            if isinstance(value, str | int | float | bool | list | set | dict | type(None))
        }
        artifact = self._artifact(tensors, peft_config=config)
        self._unwrap()
        return artifact

    def _unwrap(self) -> None:
        model = self.component.model
        for name in self.layers:
            parent, _, child = name.rpartition(".")
            wrapper = model.get_submodule(name)
            setattr(model.get_submodule(parent), child, wrapper.get_base_layer())  # type: ignore[operator]
        configs: Any = getattr(model, "peft_config", {})
        configs.pop(self._adapter, None)
        if not configs and hasattr(model, "peft_config"):
            del model.peft_config
        self.new = {}

    def restore(self, component: Component, artifact: Artifact) -> None:
        from peft import set_peft_model_state_dict

        self.component = component
        self.config = self._config(component)
        self._inject(None)
        result = set_peft_model_state_dict(component.model, artifact.tensors, adapter_name=self._adapter)
        if getattr(result, "unexpected_keys", None):
            raise HoldfastError(
                f"the adapter holds '{result.unexpected_keys[0]}', which this model does not have",
                remedy="load it on the model it was trained on",
            )
        for parameter in self.new.values():
            parameter.requires_grad_(False)

    def merge(self) -> None:
        if not self.card.mergeable:
            raise HoldfastError(
                f"method '{self.card.name}' cannot be folded into the weights", remedy="export it as a PEFT adapter"
            )
        for name in self.layers:
            self.component.model.get_submodule(name).merge()  # type: ignore[operator]
        self._unwrap()


_provided("lora", "reparameterization", "low rank", "W + (alpha / r) B A", "arXiv 2106.09685", 2021,
          Provided("LoraConfig", {"r": 128, "lora_alpha": 256, "lora_dropout": 0.05}, _RANKED, rank="r"))  # fmt: skip
_provided("dora", "reparameterization", "low rank", "LoRA on the direction, a vector for the length",
          "arXiv 2402.09353", 2024,
          Provided("LoraConfig", {"r": 128, "lora_alpha": 256, "lora_dropout": 0.05, "use_dora": True}, _RANKED,
                   rank="r"))  # fmt: skip
_provided("rslora", "reparameterization", "low rank", "LoRA scaled by alpha / sqrt(r)", "arXiv 2312.03732", 2023,
          Provided("LoraConfig", {"r": 128, "lora_alpha": 16, "use_rslora": True}, _RANKED, rank="r"))  # fmt: skip
_provided("loha", "reparameterization", "low rank", "Hadamard product of two low-rank products", "arXiv 2108.06098",
          2022, Provided("LoHaConfig", {"r": 8, "alpha": 16}, {"dropout": "rank_dropout"}, rank="r"))  # fmt: skip
_provided("lokr", "reparameterization", "low rank", "Kronecker product of small factors", "arXiv 2309.14859", 2023,
          Provided("LoKrConfig", {"r": 8, "alpha": 16}, {"dropout": "rank_dropout"}))  # fmt: skip
_provided("oft", "reparameterization", "orthogonal", "block-diagonal rotation of the weights", "arXiv 2306.07280",
          2023, Provided("OFTConfig", {"oft_block_size": 32, "r": 0}, {"block": "oft_block_size"}))  # fmt: skip
_provided("boft", "reparameterization", "orthogonal", "butterfly product of rotations", "arXiv 2311.06243", 2024,
          Provided("BOFTConfig", {"boft_block_size": 4}, {"block": "boft_block_size"}))  # fmt: skip
_provided("hra", "reparameterization", "orthogonal", "a chain of Householder reflections", "arXiv 2405.17484", 2024,
          Provided("HRAConfig", {"r": 8}, {}, rank="r"))  # fmt: skip
_provided("delora", "reparameterization", "low rank", "normalised LoRA with a trained strength", "arXiv 2503.18225",
          2025, Provided("DeloraConfig", {"r": 8}, {}, rank="r"), default_lr=1e-3)  # fmt: skip
_provided("ia3", "additive", "scaling", "trained scales on keys, values and the MLP's inside", "arXiv 2205.05638", 2022,
          Provided("IA3Config", {}, {}, modules=("k_proj", "v_proj", "down_proj")), default_lr=2e-4)  # fmt: skip
