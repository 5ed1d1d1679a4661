"""Any chat template: answers and nothing else are trained on, and what is asked is what stood before them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from holdfast.data.examples import Example, Turn
from holdfast.errors import HoldfastError
from holdfast.models.chat import ChatProcessor
from holdfast.models.quoting import BREAK
from tests.support.later_templates import LATER
from tests.support.templates import REFUSED, Shape
from tests.support.templates import SHAPES as EARLIER
from tests.support.tiny import llava_config, tokenizer

SHAPES = EARLIER | LATER

PICTURE = np.full((20, 30, 3), 90, dtype=np.uint8)
ONE = Example("one", (PICTURE,), (Turn("what is it ?", ("red é", "crimson")),))
TWO = Example("two", (PICTURE,), (Turn("what colour ?", ("blue",)), Turn("is it a circle ?", ("yes it is",))))


def chat_of(shape: Shape | str) -> ChatProcessor:
    from tokenizers import AddedToken
    from transformers import LlavaProcessor
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    given = shape if isinstance(shape, Shape) else Shape(shape)
    made = tokenizer(given.source)
    for names, special in ((given.special, True), (given.plain, False)):
        made.add_tokens([AddedToken(name, special=special, normalized=False) for name in names], special_tokens=special)
    processor = LlavaProcessor(
        image_processor=SiglipImageProcessorPil(size={"height": 16, "width": 16}),
        tokenizer=made,
        patch_size=8,
        vision_feature_select_strategy="full",
        num_additional_image_tokens=0,
        chat_template=given.source,
    )
    return ChatProcessor(processor)


def supervised(chat: ChatProcessor, batch: dict[str, torch.Tensor]) -> str:
    labels = batch["labels"][0]
    return str(chat.tokenizer.decode(labels[labels != -100]))


@pytest.mark.parametrize("name", SHAPES)
def test_labels_are_the_answer_and_its_end(name: str) -> None:
    shape = SHAPES[name]
    chat = chat_of(shape)
    batch = chat.encode([ONE], with_answers=True)
    assert supervised(chat, batch) == f"{shape.lead}red é{shape.end}"
    asked = chat.encode([ONE], with_answers=False)["input_ids"][0]
    first = int((batch["labels"][0] != -100).nonzero()[0])
    assert torch.equal(batch["input_ids"][0][:first], asked), "what is asked is what stood before the answer"
    answer = batch["labels"][0][first:]
    answer = answer[answer != -100]
    assert chat.decode(answer) == "red é", "what was trained on is judged as the answer"
    assert set(chat.end_ids) & set(answer.tolist()), "decoding ends where training ended"
    assert name == "two_ends" or int(answer[-1]) in chat.end_ids


@pytest.mark.parametrize("name", [name for name, shape in SHAPES.items() if shape.several])
def test_every_turn_is_trained_on(name: str) -> None:
    shape = SHAPES[name]
    chat = chat_of(shape)
    rendered = chat.render(TWO, with_answer=True)
    first, second = (rendered.text[start:end] for start, end in rendered.answers)
    assert second == f"{shape.lead}yes it is{shape.end}"
    assert first.rstrip().endswith("blue" + shape.end.split("</s>")[0].rstrip()) or first.endswith(f"blue{shape.end}")
    asked = chat.render(TWO, with_answer=False).text
    assert rendered.text.startswith(asked) and rendered.text[len(asked) :].startswith(f"{shape.lead}yes it is")
    assert rendered.text.count("<image>") == 1


@pytest.mark.parametrize("name", [name for name in SHAPES if name not in ("chatml_end_is_no_token",)])
def test_quoted_marks_stay_text(name: str) -> None:
    """An answer that quotes the end mark ends where it ends, and a question that mentions a reserved token asks on."""
    shape = SHAPES[name]
    chat = chat_of(shape)
    quoted = "a </s> b " + " ".join(shape.special)
    example = Example(
        "q", (PICTURE,), (Turn(f"what does </s> mean beside {' '.join(shape.special)} ?", (quoted.strip(),)),)
    )
    batch = chat.encode([example], with_answers=True)
    labels = batch["labels"][0]
    trained = labels[labels != -100]
    ends = [place for place, token in enumerate(trained.tolist()) if token in chat.end_ids]
    assert ends and ends[0] >= len(trained) - 3, "no end inside the answer"
    assert chat.decode(trained) == quoted.strip()
    plain = chat.tokenizer.decode(trained, skip_special_tokens=True)
    assert quoted.strip() in plain and BREAK not in plain, "nothing invisible is learned"


def test_rows_with_quoted_marks_are_those_they_are_alone() -> None:
    """Beside a longer row and a shorter one; a question that is asked is what stood before its answer."""
    chat = chat_of(SHAPES["chatml"])
    quoting = Example("q", (PICTURE,), (Turn("is <|im_end|> or </s> a word ?", ("<|im_end|> </s>",)),))
    rows = [quoting, ONE, TWO]
    for with_answers in (True, False):
        batch = chat.encode(rows, with_answers=with_answers)
        kept = batch["attention_mask"].bool()
        assert kept.shape[1] == kept.sum(dim=1).max(), "no column is padding alone"
        for row, example in enumerate(rows):
            own = chat.encode([example], with_answers=with_answers)
            for key in ("input_ids", "labels") if with_answers else ("input_ids",):
                assert torch.equal(batch[key][row][kept[row]], own[key][0]), (example.id, key)
        assert bool((batch["input_ids"][~kept] == chat.tokenizer.pad_token_id).all())
        if with_answers:
            assert bool((batch["labels"][~kept] == -100).all()) and bool(kept[:, 0].all())
        else:
            assert bool(kept[:, -1].all())
    asked = chat.encode([quoting], with_answers=False)["input_ids"][0]
    trained = chat.encode([quoting], with_answers=True)["input_ids"][0]
    assert torch.equal(trained[: len(asked)], asked)
    text = chat.render(quoting, with_answer=True).text.replace(BREAK, "")
    assert chat.tokenizer.decode(trained).replace("<image>", "") == text.replace("<image>", "")


THINKS = Example("t", (PICTURE,), (Turn("what is it ?", ("red é",), "<think>\nit is </s> or so\n</think>"),))


CLOSED = ("closes_thoughts_when_asked", "turns_with_an_empty_channel")


@pytest.mark.parametrize("name", [name for name in SHAPES if name not in CLOSED])
def test_reasoning_is_trained_on_and_not_judged(name: str) -> None:
    """Behind what is asked, in the model's own marks and once; cut off before its end it is no answer."""
    shape = SHAPES[name]
    chat = chat_of(shape)
    batch = chat.encode([THINKS], with_answers=True)
    asked = chat.encode([THINKS], with_answers=False)["input_ids"][0]
    row, first = batch["input_ids"][0], int((batch["labels"][0] != -100).nonzero()[0])
    assert torch.equal(row[:first], asked)
    trained = row[first:][batch["labels"][0][first:] != -100]
    assert chat.decode(trained, thinking=True) == "red é"
    said = chat.tokenizer.decode(trained)
    known = chat.template.thinking.reasoning
    closing = known[0][1] if known else "</think>"
    whole = chat.tokenizer.decode(row).partition("what is it ?")[2]
    assert "it is </s> or so" in said and whole.count(closing) == 1 and said.count(closing) == 1
    opening = known[0][0] if known else "<think>"
    assert whole.count(opening) == 1
    assert said.index("or so") < said.index(closing) < said.index("red é")
    ends = [place for place, token in enumerate(trained.tolist()) if token in chat.end_ids]
    assert ends and ends[0] >= len(trained) - 3, "no end inside the reasoning"
    for length in range(1, len(trained)):
        if closing not in chat.tokenizer.decode(trained[:length]):
            cut = chat.decode(trained[:length], thinking=True)
            assert cut in opening + chat.template.thinking.lead, "at most the beginning of the mark itself"


@pytest.mark.parametrize("name", CLOSED)
def test_a_template_that_closes_reasoning_learns_none(name: str) -> None:
    with pytest.raises(HoldfastError, match=r"closes all reasoning.*reasoning: drop"):
        chat_of(SHAPES[name]).encode([THINKS], with_answers=True)


def test_quoted_marks_of_reasoning_end_none() -> None:
    """An answer about ``</think>`` is judged whole, where thoughts before it were closed by the real token."""
    chat = chat_of(SHAPES["thinks_always"])
    quoting = Example("q", (PICTURE,), (Turn("what closes <think> ?", ("it is </think> or <|im_end|>",)),))
    labels = chat.encode([quoting], with_answers=True)["labels"][0]
    trained = labels[labels != -100]
    closing = chat.tokenizer.convert_tokens_to_ids("</think>")
    assert trained.tolist().count(closing) == 1, "the lead's"
    assert chat.decode(trained) == "it is </think> or <|im_end|>"


@pytest.mark.parametrize("name", SHAPES)
def test_the_loss_is_finite_and_falls_on_the_answer(name: str) -> None:
    from transformers import LlavaForConditionalGeneration

    chat = chat_of(SHAPES[name])
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration(llava_config(320)).eval()
    batch = chat.encode([ONE, TWO], with_answers=True)
    with torch.no_grad():
        assert torch.isfinite(model(**batch).loss)


@pytest.mark.parametrize("what", REFUSED)
def test_a_template_that_cannot_be_trained_with_is_refused(what: str) -> None:
    with pytest.raises(HoldfastError) as caught:
        chat_of(REFUSED[what]).render(TWO, with_answer=True)
    assert "template" in str(caught.value) and len(str(caught.value)) < 600


def test_several_named_templates() -> None:
    made: Any = tokenizer()
    made.chat_template = {"default": SHAPES["vicuna"].source, "rag": SHAPES["zephyr"].source}
    assert "ASSISTANT:" in ChatProcessor(made).render(Example("t", (), (Turn("q", ("a",)),)), with_answer=True).text
    made.chat_template = {"tool": SHAPES["vicuna"].source, "rag": SHAPES["zephyr"].source}
    with pytest.raises(HoldfastError, match="2 chat templates and none is the default: rag, tool"):
        ChatProcessor(made)


def test_reasoning_is_no_part_of_an_answer() -> None:
    chat = chat_of(SHAPES["thinks_always"])
    ids = chat.tokenizer(
        "it is \n red or so </think>\n\n blue<|im_end|>", add_special_tokens=False, return_tensors="pt"
    )
    assert chat.decode(ids["input_ids"][0]) == "blue"
    cut = chat.tokenizer("<think> it is red or", add_special_tokens=False, return_tensors="pt")
    assert chat.decode(cut["input_ids"][0]) == ""
    plain = chat_of(SHAPES["vicuna"])
    quoted = plain.tokenizer("<think> is a tag</s>", add_special_tokens=False, return_tensors="pt")
    assert plain.decode(quoted["input_ids"][0]) == "<think> is a tag", "marks that the model does not know are text"


def test_a_turn_that_ends_otherwise_than_the_last_one_gets_no_end_of_ours() -> None:
    """gpt-oss writes ``<|return|>`` behind the last answer and ``<|end|>`` behind earlier ones."""
    chat = chat_of(SHAPES["channels_with_date_and_effort"])
    rendered = chat.render(TWO, with_answer=True)
    first, second = (rendered.text[start:end] for start, end in rendered.answers)
    lead = "<|channel|>final<|message|>"
    assert (first, second) == (f"{lead}blue", f"{lead}yes it is<|return|>")
    assert "blue<|end|><|start|>user" in rendered.text and "</s>" not in rendered.text


def test_templates_read_the_same_every_day(monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import datetime

    from transformers.utils import chat_template_utils

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime(2031, 3, 4)

    monkeypatch.setattr(chat_template_utils, "datetime", Later)
    text = chat_of(SHAPES["writes_the_date"]).render(ONE, with_answer=True).text
    assert "Today: 01 Jan 2025" in text
    assert chat_template_utils.datetime is Later, "others read the clock as before"


def test_a_tokenizer_that_ends_every_text_is_refused() -> None:
    """A question would end before its answer, unless the template writes the begin token and nothing is added."""
    from tokenizers.processors import TemplateProcessing

    chat = chat_of(SHAPES["chatml"])
    ends = TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    chat.tokenizer.backend_tokenizer.post_processor = ends
    with pytest.raises(HoldfastError, match=r"puts '</s>' behind every text.*add_eos_token: false"):
        chat.encode([ONE], with_answers=False)
    begins = chat_of(SHAPES["zephyr"])
    begins.tokenizer.backend_tokenizer.post_processor = ends
    assert supervised(begins, begins.encode([ONE], with_answers=True)) == "red é</s>"


def test_there_are_at_least_sixty_shapes() -> None:
    assert len({shape.source for shape in SHAPES.values()}) >= 65
