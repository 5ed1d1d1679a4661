"""PromptKD (arXiv 2403.02781): what trains learns from a tuned teacher's answers, without labels."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Context, Method, Options, Seen
from holdfast.methods.stabilisers.base import Stabiliser, StabiliserCard, divergence
from holdfast.speed.sharing.supports import WHOLE_ROWS


class PromptKdOptions(Options):
    """The teacher, and how hard it is followed."""

    source = "zhengli97/PromptKD, whose weight of 1000 stands before a mean over classes"
    run: str | None = Field(default=None, description="folder of the finished run that teaches")
    strength: float = Field(default=1.0, ge=0, description="before the divergence")
    temperature: float = Field(default=1.0, gt=0, description="of both distributions")
    answers: bool = Field(default=False, description="learn from the right answers, too; the paper has none")


class PromptKd(Stabiliser):
    """``strength T^2 KL(teacher / T || model / T)`` over answer tokens, in place of the answer loss.

    The paper trains prompts so; here it goes with any method: ``prompt_tuning`` on the llm and ``vpt`` on the tower is
    its recipe. The teacher is a finished run of a model of the same family with the same tokens, usually a larger one.
    It costs a forward pass of the teacher a batch, and looks at pixels itself.
    """

    card = StabiliserCard(
        name="promptkd",
        family="distillation",
        summary="KL to the answers of a tuned teacher, in place of labels",
        paper="arXiv 2403.02781",
        year=2024,
        official_code="zhengli97/PromptKD",
        checked_against="the formula, over several steps",
    )
    Settings = PromptKdOptions
    wants_logits = True
    wants_pixels = True

    def check(self, methods: Mapping[str, Method]) -> None:
        if self.options.run is None:
            raise HoldfastError(
                "stabiliser 'promptkd' needs a teacher", remedy="set run to the folder of a finished run"
            )

    def begin(self, methods: Mapping[str, Method], context: Context) -> None:
        assert context.teacher is not None, "whoever trains opens teachers"
        self.teacher = context.teacher(self.options.run)
        for method in methods.values():
            mine, other = type(method.component.model).__name__, type(self.teacher.model).__name__
            if mine != other:
                raise HoldfastError(
                    f"the teacher {self.options.run} is a {other}, and the model is a {mine}",
                    remedy="choose a teacher of the same family",
                )
        if self.teacher.tokenizer.get_vocab() != context.tokenizer.get_vocab():
            raise HoldfastError(
                f"the teacher {self.options.run} has other tokens than the model",
                remedy="choose a teacher with the same tokenizer",
            )
        self.per_token = not hasattr(self.teacher.model, WHOLE_ROWS)

    def batch_penalty(self, seen: Seen) -> Tensor | None:
        heat = self.options.temperature
        apart = divergence(seen.logits, self.teacher.says(seen.batch), heat) * float(self.options.strength * heat**2)
        if self.options.answers:
            return apart
        # The loop adds the answer loss to this.
        return apart - cross_entropy(seen.logits.float(), seen.targets, reduction="sum")
