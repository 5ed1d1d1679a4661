"""IA3: trained scales, by PEFT."""

from __future__ import annotations

from typing import ClassVar

from holdfast.methods.peft_bridge import PeftMethod, peft_card
from holdfast.models.anatomy import Component
from holdfast.models.kinds import MLP_LAST
from holdfast.values import Keywords


class Ia3(PeftMethod):
    """A trained scale on every output of keys and values, and on every input of the MLP's second layer."""

    over_quantised: ClassVar[tuple[int, ...]] = (4, 8)
    card = peft_card(
        name="ia3",
        paradigm="additive",
        family="scaling",
        paper="arXiv 2205.05638",
        year=2022,
        summary="trained scales on keys, values and the MLP's inside",
    )
    config_type = "IA3Config"

    def _kinds(self, component: Component) -> tuple[str, ...]:
        if self.options.modules or component.name == "connector":
            return super()._kinds(component)
        present = {name.rsplit(".", 1)[-1] for name in component.linears(("attention", "mlp"))}
        return "k_proj", "v_proj", *sorted(present & MLP_LAST)

    def _values(self, component: Component) -> Keywords:
        inside = [name for name in self.layers if name.rsplit(".", 1)[-1] in MLP_LAST]
        return {**super()._values(component), "feedforward_modules": inside}
