"""PromptKD against its formula over several steps, on a teacher from a run, and the teachers it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from holdfast.config.loading import load_config
from holdfast.errors import HoldfastError
from holdfast.events import Event
from holdfast.methods.contract import Teacher
from holdfast.methods.recipe import Recipe
from holdfast.speed.decision import Engaged, Report
from holdfast.training.batches import Stream
from holdfast.training.loop import Trainer
from holdfast.training.loss import answer_logits
from holdfast.training.pools import Pools
from tests.support.closeness import assert_near
from tests.support.desk import Desk
from tests.support.methods import examples, fresh, logits

TUNE = {"llm": {"method": "prompt_tuning", "tokens": 3, "lr": 1e-2}}
HEAT = 2.0


def teacher_of(folder: Path) -> Any:
    """The base with another head."""
    loaded = fresh(folder)
    with torch.no_grad():
        loaded.model.lm_head.weight.normal_(0, 0.3, generator=torch.Generator().manual_seed(8))  # type: ignore[union-attr, operator]
    loaded.model.requires_grad_(False).eval()
    return loaded


def trained(folder: Path, taught: Any, *, answers: bool = False, **train: Any) -> tuple[Any, Report]:
    config = load_config(
        {
            "tune": TUNE,
            "keep": [{"stabiliser": "promptkd", "run": "big", "temperature": HEAT, "answers": answers}],
            "train": {"steps": 3, "batch_size": 4, "weight_decay": 0.0, "clip": None, "schedule": "constant",
                      "warmup": 0.0, **train},
            "speed": {"feature_cache": "auto"},
        }
    )  # fmt: skip
    loaded, data, recipe = fresh(folder), examples(), Recipe(config)
    pools = Pools(loaded, config.train, 0, data)

    def says(batch: Any) -> Tensor:
        with torch.no_grad():
            return answer_logits(taught.model, batch)[0]

    def open_(run: str) -> Teacher:
        assert run == "big"
        return Teacher(taught.model, taught.chat.tokenizer, says)

    recipe.attach(loaded, 0, pools, pools.loss, open_)
    report: Report = {}

    def listen(event: Event) -> None:
        report.update(event.report if isinstance(event, Engaged) else {})

    Trainer(loaded, recipe, config.train, data, (), seed=0, listen=listen, speed=config.speed).fit()
    return (loaded, recipe), report


@pytest.mark.parametrize("answers", [False, True])
def test_it_follows_the_teacher_in_place_of_the_answers(answers: bool, tiny_llava: Path) -> None:
    taught = teacher_of(tiny_llava)
    (loaded, recipe), report = trained(tiny_llava, taught, answers=answers)
    assert not report["feature_cache"].on and "promptkd" in report["feature_cache"].why  # type: ignore[union-attr]
    other = fresh(tiny_llava)
    own = Recipe(load_config({"tune": TUNE}))
    own.attach(other, 0)
    table = own.methods["llm"].named_trainable()["table"]
    optimizer = torch.optim.AdamW([table], lr=1e-2, weight_decay=0.0)
    stream = Stream(examples(), 4, 1, 0)
    for step in range(3):
        batch = other.chat.encode(next(stream.step(step)), with_answers=True)
        labels = batch.pop("labels")
        said = other.model(**batch).logits[:, :-1][labels[:, 1:] >= 0]
        wanted = labels[:, 1:][labels[:, 1:] >= 0]
        with torch.no_grad():
            right = (taught.model(**batch).logits[:, :-1][labels[:, 1:] >= 0] / HEAT).softmax(-1)
        apart = (right * (right.log() - (said / HEAT).softmax(-1).log())).sum(-1) * HEAT**2
        loss = apart.mean()
        if answers:
            loss = loss - said.log_softmax(-1)[torch.arange(len(wanted)), wanted].mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert_near(recipe.methods["llm"].named_trainable()["table"].detach(), table.detach(), 1e-3)
    assert_near(logits(loaded), logits(other), 1e-3)


def test_teachers_that_do_not_fit_are_refused(tiny_llava: Path) -> None:
    from types import SimpleNamespace

    taught = teacher_of(tiny_llava)
    tokens = SimpleNamespace(get_vocab=lambda: {"other": 0})
    stranger = SimpleNamespace(model=taught.model, chat=SimpleNamespace(tokenizer=tokens))
    with pytest.raises(HoldfastError, match="has other tokens"):
        trained(tiny_llava, stranger)
    stranger = SimpleNamespace(model=torch.nn.Linear(2, 2), chat=taught.chat)
    with pytest.raises(HoldfastError, match="is a Linear, and the model is a LlavaFor"):
        trained(tiny_llava, stranger)
    config = load_config({"tune": TUNE, "keep": ["promptkd"]})
    with pytest.raises(HoldfastError, match=r"needs a teacher\. Set run to the folder"):
        Recipe(config).attach(fresh(tiny_llava), 0)


@pytest.mark.slow
def test_a_run_teaches_another(tiny_llava: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command line, twice: the second learns from the first."""
    desk = Desk(tmp_path, tiny_llava, capsys)
    assert desk.tune(out="big").code == 0
    keep = [{"stabiliser": "promptkd", "run": str(tmp_path / "big")}]
    tune = {"llm": {"method": "prompt_tuning", "tokens": 2}}
    said = desk.tune(config=desk.config(tune=tune, keep=keep), out="small")
    assert said.code == 0, said.err
    keep = [{"stabiliser": "promptkd", "run": str(tmp_path / "nowhere")}]
    desk.tune(config=desk.config(tune=tune, keep=keep), out="other").refused("nowhere")
