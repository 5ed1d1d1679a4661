"""Everything that PEFT implements well, through one bridge: give it full module names, take back what it added."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Artifact, Card, Context, Method, Options, Paradigm, input_of, output_of
from holdfast.methods.selective.dense import layers_in_scope
from holdfast.models.anatomy import Component
from holdfast.values import Keywords


class PeftOptions(Options):
    """Which layers; what else a method takes it lists itself, with bounds. A field of PEFT's own configuration that
    would change other weights, or nothing, is no option here.
    """

    modules: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="attention, mlp, all, or names such as q_proj"
    )
    layers: str | tuple[int, ...] | None = Field(default=None, description="'last:2', 'first:4', or indices")


def peft_card(
    *,
    name: str,
    summary: str,
    paper: str,
    year: int,
    family: str = "low rank",
    paradigm: Paradigm = "reparameterization",
    default_lr: float = 2e-4,
    mergeable: bool = True,
) -> Card:
    """The card of a method that PEFT provides."""
    return Card(
        name=name,
        paradigm=paradigm,
        family=family,
        summary=summary,
        paper=paper,
        year=year,
        mergeable=mergeable,
        provided_by="peft",
        official_code="huggingface/peft",
        extra_inference_cost="none once merged" if mergeable else "a sum a layer",
        checked_against="plain PEFT: same file, same logits",
        default_lr=default_lr,
    )


class PeftMethod(Method):
    """Injects a PEFT adapter into the layers that the anatomy names.

    Attributes:
        config_type: The class of PEFT's configuration.
        fixed: What stands in it always.
        peft_names: PEFT's names of options that are called otherwise here.
        default_modules: The kinds of layers where a recipe names none; in the connector it is all of them.
    """

    Settings: ClassVar[type[Options]] = PeftOptions
    config_type: ClassVar[str]
    fixed: ClassVar[Mapping[str, Any]] = {}
    peft_names: ClassVar[Mapping[str, str]] = {}
    adds: ClassVar[bool] = False
    """Whether the change of a weight is added to it, so that its norm is that of ``get_delta_weight``."""
    leaves_biases: ClassVar[bool] = False
    """Whether a layer's own bias is added to its output as it is, where :attr:`adds` does not say so already."""
    calls_layers: ClassVar[bool] = True
    """Whether it calls the layers that it wraps; some of PEFT's compute with their weights instead."""
    default_modules: ClassVar[tuple[str, ...]] = ("attention", "mlp")
    goes_beside = True
    wraps = True
    whole: ClassVar[bool] = False
    """Whether it is saved with everything it added, because layers share state or PEFT's own file leaves some out."""

    def _config(self, component: Component) -> Any:
        import peft

        self.layers = self._wrapped(component)
        try:
            return getattr(peft, self.config_type)(**self._values(component))
        except (TypeError, ValueError) as error:
            raise HoldfastError(f"method '{self.card.name}' refuses its options: {error}") from error

    def _wrapped(self, component: Component) -> dict[str, nn.Linear]:
        return layers_in_scope(component, self._kinds(component), self.options.layers)

    def ground(self, component: Component) -> set[str]:
        layers = self._wrapped(component)
        parts = ("weight",) if self.adds or self.leaves_biases else ("weight", "bias")
        values = {f"{name}.{part}" for name in layers for part in parts} & component.parameters.keys()
        # What stands in front of or behind a layer that is not called would be passed by in silence.
        return values if self.calls_layers else values.union(*({input_of(name), output_of(name)} for name in layers))

    def _kinds(self, component: Component) -> tuple[str, ...]:
        return self.options.modules or (("all",) if component.name == "connector" else self.default_modules)

    def _values(self, component: Component) -> Keywords:
        """What PEFT's configuration is made of."""
        own = self.options.model_dump(exclude=set(PeftOptions.model_fields))
        named = {self.peft_names.get(key, key): value for key, value in own.items()}
        return {**self.fixed, **named, "target_modules": list(self.layers)}

    def check(self, layer: nn.Linear) -> str | None:
        """Why an option does not fit a layer, as a clause, or nothing."""
        rank = getattr(self.options, "r", None) or 0
        width = min(layer.in_features, layer.out_features)
        return f"rank {rank} is above the width {width}; choose r of at most {width}" if rank > width else None

    def attach(self, component: Component, context: Context) -> None:
        self.component = component
        self.layers = self._wrapped(component)
        for name, layer in self.layers.items():
            fault = self.check(layer)
            if fault is not None:
                what, _, remedy = fault.partition("; ")
                raise HoldfastError(f"{what} of layer '{name}'", remedy=remedy)
        self.config = self._config(component)
        self._inject(context.generator)

    def _inject(self, generator: torch.Generator | None) -> None:
        from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
        from peft.tuners.tuners_utils import BaseTunerLayer

        model = self.component.model
        before = {id(tensor) for tensor in (*model.parameters(), *model.buffers())}
        beside = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
        active = [module.active_adapters for module in beside]
        outer = {id(p): p.requires_grad for p in model.parameters()}
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # several adapters side by side are meant
            # PEFT draws from the global generator; the run's own seed decides what it draws.
            torch.manual_seed(0 if generator is None else int(torch.randint(2**31, (1,), generator=generator)))
            # What layers share stays on the tuner, which PEFT's own inject_adapter_in_model would throw away.
            self.tuner: Any = PEFT_TYPE_TO_TUNER_MAPPING[self.config.peft_type](model, self.config, self._adapter)
        for module, names in zip(beside, active, strict=True):
            # PEFT makes the newest adapter the only active one, in the layers of other components too.
            module.set_adapter(names)
        self._check_wrapped(BaseTunerLayer)
        own = [item for item in _named(self.tuner) if id(item[1]) not in before]
        for _, tensor in own:
            if tensor.dtype in (torch.float16, torch.bfloat16):
                # PEFT gives them the base's precision, in which small steps round to nothing.
                tensor.data = tensor.data.float()
        self.new = {name: tensor for name, tensor in own if isinstance(tensor, nn.Parameter)}
        self.constants = {name: tensor for name, tensor in own if not isinstance(tensor, nn.Parameter)}
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
        # None of these names begins another: PEFT finds what it saves by the beginnings of names.
        place = "" if self.place is None else f"{self.place}_"
        return f"holdfast_{place}{self.component.name}"

    def named_trainable(self) -> dict[str, nn.Parameter]:
        return {name: parameter for name, parameter in self.new.items() if parameter.requires_grad}

    def added(self) -> int:
        return sum(parameter.numel() for parameter in self.named_trainable().values())

    def squares(self) -> list[Tensor]:
        if not self.adds:
            return []
        wrapped: list[Any] = [self.component.model.get_submodule(name) for name in self.layers]
        return [layer.get_delta_weight(self._adapter).square().sum() for layer in wrapped]

    def weight_changes(self) -> dict[str, tuple[Tensor, Tensor]]:
        wrapped: list[tuple[str, Any]] = [(n, self.component.model.get_submodule(n)) for n in self.layers]
        return (
            {}
            if not self.adds
            else {
                name: (layer.get_base_layer().weight, layer.get_delta_weight(self._adapter)) for name, layer in wrapped
            }
        )

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

        if self.whole:
            artifact = self._artifact(self.new | self.constants)
            self._unwrap()
            return artifact
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
        self.new, self.constants, self.tuner = {}, {}, None

    def restore(self, component: Component, artifact: Artifact) -> None:
        from peft import set_peft_model_state_dict

        self.component = component
        self.config = self._config(component)
        self._inject(None)
        if self.whole:
            strays = _fill(self.new | self.constants, artifact.tensors)
        else:
            result = set_peft_model_state_dict(component.model, artifact.tensors, adapter_name=self._adapter)
            strays = getattr(result, "unexpected_keys", None) or []
        if strays:
            raise HoldfastError(
                f"the adapter holds '{strays[0]}', which this model does not have",
                remedy="load it on the model it was trained on",
            )
        for parameter in self.new.values():
            parameter.requires_grad_(False)

    def merge(self) -> None:
        if not self.card.mergeable:
            raise HoldfastError(
                f"method '{self.card.name}' cannot be folded into the weights", remedy="export it as a PEFT adapter"
            )
        for name, layer in self.layers.items():
            dtype = layer.weight.dtype
            self.component.model.get_submodule(name).merge()  # type: ignore[operator]
            layer.weight.data = layer.weight.data.to(dtype)
        self._unwrap()


def undivided(option: str, block: int, layer: nn.Linear) -> str | None:
    """Why blocks of a size do not fit a layer whose inputs and outputs they are to divide, or nothing."""
    for width in (layer.in_features, layer.out_features):
        if width % block:
            return f"{option} {block} does not divide the width {width}; choose a divisor of every width"
    return None


def _named(tuner: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers by their names in the model; what layers share stands under the tuner's own name."""
    for name, tensor in [*tuner.named_parameters(), *tuner.named_buffers()]:
        yield name.removeprefix("model."), tensor


@torch.no_grad()
def _fill(own: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> list[str]:
    """Copy what was saved; the names in which the two differ."""
    odd = sorted(own.keys() ^ saved.keys()) + [n for n in own.keys() & saved.keys() if own[n].shape != saved[n].shape]
    for name, tensor in own.items() if not odd else ():
        tensor.copy_(saved[name])
    return odd
