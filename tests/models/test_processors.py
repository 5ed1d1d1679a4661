"""Labels cover answers and nothing else, in every processor, without torchvision."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from holdfast.data.examples import Example, Turn
from holdfast.errors import HoldfastError
from holdfast.models.configuration import why_not_alone
from holdfast.models.loading import Loaded, load_model
from holdfast.models.processing import load_processor
from tests.support.processors import KITS, save
from tests.support.tiny import BARE, ROLES, save_llava


def picture(height: int, width: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


ONE = Example("one", (picture(20, 30),), (Turn("what is it ?", ("red", "crimson")),))
TWO_TURNS = Example(
    "two turns", (picture(30, 20),), (Turn("what colour ?", ("blue",)), Turn("is it a circle ?", ("yes it is",)))
)
TWO_IMAGES = Example(
    "two images", (picture(16, 16), picture(24, 16)), (Turn("first <image> second <image> same ?", ("no é",)),)
)
TEXT = Example("text", (), (Turn("what is red ?", ("a colour",)),))
ALL = (TEXT, ONE, TWO_IMAGES, TWO_TURNS)

_LOADED: dict[tuple[str, str], Loaded] = {}


@pytest.fixture
def load(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """``load(family, template)``, each made once."""

    def get(family: str, template: str = ROLES) -> Loaded:
        if (family, template) not in _LOADED:
            folder = save(tmp_path_factory.mktemp(family), family, template)
            _LOADED[family, template] = load_model(str(folder), device="cpu")
        return _LOADED[family, template]

    return get


def supervised(loaded: Loaded, batch: dict[str, torch.Tensor], row: int) -> str:
    labels = batch["labels"][row]
    return str(loaded.chat.tokenizer.decode(labels[labels != -100]))


@pytest.mark.parametrize("template", [ROLES, BARE], ids=["roles", "bare"])
@pytest.mark.parametrize("family", KITS)
def test_supervised_tokens_are_the_answers_and_their_end_marks(load: Any, family: str, template: str) -> None:
    loaded = load(family, template)
    gap = "" if template == ROLES else " "  # the bare template writes "ASSISTANT: answer"
    for rows in ([ONE], [TEXT], [TWO_TURNS], [TWO_IMAGES], list(ALL), list(ALL[::-1])):
        batch = loaded.chat.encode(rows, with_answers=True)
        for row, example in enumerate(rows):
            expected = "".join(f"{gap}{turn.answers[0]}</s>" for turn in example.turns)
            assert supervised(loaded, batch, row) == expected
            kept = batch["labels"][row] != -100
            assert torch.equal(batch["input_ids"][row][kept], batch["labels"][row][kept])
            assert not bool(kept[batch["attention_mask"][row] == 0].any())


@pytest.mark.parametrize("family", KITS)
def test_the_batch_is_what_the_model_takes(load: Any, family: str) -> None:
    """Image tokens and image features match (the model checks that), in training and in generation."""
    loaded = load(family)
    for rows in (list(ALL), [TEXT]):
        batch = loaded.chat.encode(rows, with_answers=True)
        assert bool(batch["attention_mask"][:, 0].all()), "training pads on the right"
        loaded.model.train()
        with torch.no_grad():
            assert torch.isfinite(loaded.model(**batch).loss)
        loaded.model.eval()
        asked = loaded.chat.encode(rows, with_answers=False)
        assert bool(asked["attention_mask"][:, -1].all()), "generation pads on the left"
        assert "labels" not in asked
        produced = loaded.model.generate(**asked, max_new_tokens=2, do_sample=False)  # type: ignore[operator]
        assert produced.shape == (len(rows), asked["input_ids"].shape[1] + 2) or produced.shape[0] == len(rows)


@pytest.mark.parametrize("family", KITS)
def test_training_text_is_generation_text_plus_answer(load: Any, family: str) -> None:
    """What the model is asked in evaluation is token for token what stood before the answer in training."""
    loaded = load(family)
    for example in (ONE, TWO_IMAGES, TEXT):
        trained = loaded.chat.encode([example], with_answers=True)
        asked = loaded.chat.encode([example], with_answers=False)["input_ids"][0]
        first = int((trained["labels"][0] != -100).nonzero()[0])
        assert torch.equal(trained["input_ids"][0][:first], asked)


@pytest.mark.parametrize("family", KITS)
def test_a_row_alone_and_in_a_batch_has_the_same_loss(load: Any, family: str) -> None:
    from holdfast.training.loss import answer_loss

    loaded = load(family)
    with torch.no_grad():
        alone = sum(float(answer_loss(loaded.model, loaded.chat.encode([e], with_answers=True)).total) for e in ALL)
        together = float(answer_loss(loaded.model, loaded.chat.encode(ALL, with_answers=True)).total)
    assert together == pytest.approx(alone, rel=1e-4)


@pytest.mark.parametrize("family", ["llava", "qwen2_5_vl", "gemma3", "internvl"])
def test_max_length_never_cuts_an_image_or_a_whole_answer(load: Any, family: str) -> None:
    chat = load(family).chat
    whole = chat.encode([ONE], with_answers=True)
    length = whole["input_ids"].shape[1]
    answer = int((whole["labels"][0] != -100).nonzero()[0])
    cut = chat.encode([ONE], with_answers=True, max_length=answer + 2)
    for key, value in cut.items():
        assert value.shape[1] == answer + 2 or torch.equal(value, whole[key])
    assert supervised(load(family), cut, 0) == "re"
    with pytest.raises(HoldfastError, match=f"would cut its whole answer.*{length} or more"):
        chat.encode([ONE], with_answers=True, max_length=answer)
    inside = int(torch.isin(whole["input_ids"][0], torch.tensor(sorted(chat.image_token_ids()))).nonzero()[-1])
    with pytest.raises(HoldfastError, match="would cut its image"):
        chat.encode([ONE], with_answers=True, max_length=inside)


def test_pixels_as_wide_as_a_text_are_not_cut(load: Any) -> None:
    """Told by name and not by shape: ``pixel_values`` of one image may be ``[batch, length]`` by chance."""
    chat = load("qwen2_5_vl").chat
    rows = {"input_ids": torch.full((4, 9), 40), "labels": torch.full((4, 9), 40), "pixel_values": torch.ones(4, 9)}
    cut = chat._truncate(rows, [ONE] * 4, 5)
    assert cut["pixel_values"].shape == (4, 9) and cut["input_ids"].shape == (4, 5)


def test_paligemma_answers_are_causal_and_do_not_see_what_follows(load: Any) -> None:
    loaded = load("paligemma")
    batch = loaded.chat.encode([ONE], with_answers=True)
    answer = int((batch["labels"][0] != -100).nonzero()[0])
    assert batch["token_type_ids"][0].tolist() == [0] * answer + [1] * (batch["labels"].shape[1] - answer)
    changed = {key: value.clone() for key, value in batch.items() if key != "labels"}
    changed["input_ids"][0, answer + 1 :] = 50
    with torch.no_grad():
        one = loaded.model(**{key: value for key, value in batch.items() if key != "labels"}).logits
        two = loaded.model(**changed).logits
    assert torch.allclose(one[0, : answer + 1], two[0, : answer + 1], atol=1e-6)
    assert not torch.allclose(one[0, answer + 1 :], two[0, answer + 1 :], atol=1e-3)


def test_a_template_that_forgets_the_image_is_refused(tmp_path: Path) -> None:
    folder = save_llava(tmp_path, ROLES.replace("<image>", "[picture]"))
    loaded = load_model(str(folder), device="cpu")
    with pytest.raises(HoldfastError, match="one: the prompt has 0 image marks for 1 images"):
        loaded.chat.encode([ONE], with_answers=True)
    stray = Example("stray", (), (Turn("what does <s> mean ?", ("start",)),))
    assert loaded.chat.encode([stray], with_answers=True)


def test_settings_of_a_processor_with_a_video_part_are_kept(tmp_path: Path) -> None:
    """The library refuses such processors without torchvision; ours must not fall back to the class's defaults."""
    folder = save(tmp_path, "internvl", ROLES)
    assert load_processor(str(folder)).image_seq_length == 1
    (folder / "processor_config.json").write_text(json.dumps({"image_seq_length": 7}), encoding="utf-8")
    assert load_processor(str(folder)).image_seq_length == 7


def test_image_settings_inside_processor_config_are_found(tmp_path: Path) -> None:
    """Where newer checkpoints keep them: one file for all parts, the video part included."""
    folder = save(tmp_path, "qwen2_5_vl", ROLES)
    images = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    (folder / "preprocessor_config.json").unlink()
    whole = {
        "image_processor": images,
        "processor_class": "Qwen2_5_VLProcessor",
        "video_processor": {"video_processor_type": "Qwen2VLVideoProcessor", "patch_size": 8},
    }
    (folder / "processor_config.json").write_text(json.dumps(whole), encoding="utf-8")
    loaded = load_model(str(folder), device="cpu")
    assert loaded.chat.processor.image_processor.patch_size == 8
    batch = loaded.chat.encode([ONE], with_answers=True)
    with torch.no_grad():
        loaded.model(**batch)


def test_a_missing_package_is_named(tmp_path: Path) -> None:
    """SmolVLM's processor spells numbers with a package that nothing else needs."""
    import importlib.util

    from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

    from tests.support.families import build
    from tests.support.tiny import tokenizer

    if importlib.util.find_spec("num2words") is not None:
        pytest.skip("num2words is installed")
    build("smolvlm").save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    SmolVLMImageProcessorPil().save_pretrained(tmp_path)
    with pytest.raises(HoldfastError, match=r"needs a package that is not installed.*pip install num2words"):
        load_model(str(tmp_path), device="cpu")


def test_a_processor_that_does_not_say_where_images_stand_is_overheard(load: Any) -> None:
    """Mllama's and Idefics2's call the tokenizer by themselves; begin and image tokens move what stands behind them."""
    template = ROLES.removeprefix("{{ bos_token }}")
    for family in ("mllama", "idefics2"):
        loaded = load(family, template)
        batch = loaded.chat.encode([ONE, TWO_IMAGES], with_answers=True)
        assert [supervised(loaded, batch, row) for row in (0, 1)] == ["red</s>", "no é</s>"]


def test_pieces_are_found_in_what_a_processor_wrote() -> None:
    from holdfast.models.expansion import aligned

    moved = aligned("a<i>b<i>c", "<i>", "<s>a[xbx]b[x]c")
    assert moved is not None
    assert [(one["span"][1], one["new_span"][1]) for one in moved] == [(0, 3), (4, 9), (8, 13)]
    assert aligned("a<i>b", "<i>", "a[x]b</s>") is None, "something was written behind the last piece"
    assert aligned("ab<i>c", "<i>", "a b[x]c") is None, "a piece was changed"
    assert aligned("ab", "", "<s>ab") == [{"span": (0, 0), "new_span": (0, 3)}]


@pytest.mark.parametrize("family", KITS)
def test_the_tokens_that_stand_for_pictures_are_known(load: Any, family: str) -> None:
    """Ovis2's processor writes another token than the mark it reads; rows are cut and shared by these."""
    chat = load(family).chat
    assert chat.tokenizer.convert_tokens_to_ids(KITS[family].fill) in chat.image_token_ids()


def test_pictures_behind_rows_without_any(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With torchvision, Mllama's processor asks the first row for a picture and leaves out rows behind the last one."""
    chat = load("mllama").chat
    batches = ((TEXT, ONE), (ONE, TEXT), (TEXT, TWO_IMAGES, TEXT, ONE, TEXT))
    expected = [chat.encode(rows, with_answers=True) for rows in batches]
    original = chat.processor._process_images

    def strict(images: Any, **options: Any) -> Any:
        assert images[0]
        while not images[-1]:
            images = images[:-1]
        return original(images, **options)

    monkeypatch.setattr(chat.processor, "_process_images", strict)
    for rows, wanted in zip(batches, expected, strict=True):
        found = chat.encode(rows, with_answers=True)
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[key], wanted[key]) for key in wanted)


@pytest.mark.parametrize("family", ["blip-2", "instructblip", "kosmos-2", "idefics", "kosmos-2.5", "mllama", "llava"])
def test_which_models_take_text_alone(family: str) -> None:
    from tests.support.families import build

    model, ids = build(family), torch.tensor([[1, 50, 60, 70]])
    takes = why_not_alone(model) is None
    try:
        with torch.no_grad():
            model(input_ids=ids, attention_mask=torch.ones_like(ids))
    except (TypeError, ValueError):
        assert not takes
    else:
        assert takes


def test_text_alone_is_refused_where_the_model_needs_pixels(tmp_path: Path) -> None:
    from transformers import Blip2Processor, BlipImageProcessorPil

    from tests.support.families import build
    from tests.support.tiny import tokenizer

    build("blip-2").save_pretrained(tmp_path)
    Blip2Processor(BlipImageProcessorPil(), tokenizer(), num_query_tokens=3).save_pretrained(tmp_path)
    (tmp_path / "chat_template.jinja").write_text(ROLES, encoding="utf-8")
    chat = load_model(str(tmp_path), device="cpu").chat
    with pytest.raises(
        HoldfastError, match=r"item text: the item has no picture, and Blip2For.* nothing without pixels"
    ):
        chat.encode([TEXT], with_answers=True)


@pytest.mark.parametrize("told", [True, False], ids=["tokenizer names the image token", "tokenizer does not"])
@pytest.mark.parametrize("queries", [3, None])
@pytest.mark.parametrize("name", ["Blip2Processor", "InstructBlipProcessor"])
def test_image_tokens_in_front_of_the_text_are_refused_in_one_sentence(
    tmp_path: Path, name: str, queries: int | None, told: bool
) -> None:
    """The library's own processors fail in four ways on these folders, one of them in the model's forward."""
    import transformers
    from transformers import BlipImageProcessorPil

    from holdfast.models.chat import ChatProcessor
    from tests.support.tiny import tokenizer

    text: Any = tokenizer(ROLES)
    if not told:
        del text._special_tokens_map["image_token"]
    texts = (text,) if name == "Blip2Processor" else (text, tokenizer())
    processor = getattr(transformers, name)(BlipImageProcessorPil(), *texts, num_query_tokens=queries)
    processor.chat_template = ROLES
    chat = ChatProcessor(processor)
    for with_answers in (True, False):
        with pytest.raises(HoldfastError) as caught:
            chat.encode([ONE], with_answers=with_answers)
        assert f"{name} puts its image tokens in front of the whole text" in str(caught.value)
        assert "such as LLaVA or Qwen-VL" in str(caught.value) and "processor_config.json" not in str(caught.value)


def test_a_captioner_is_refused_before_it_is_trained(tmp_path: Path) -> None:
    from transformers import BlipImageProcessorPil, BlipProcessor

    from tests.support.families import build
    from tests.support.tiny import tokenizer

    build("blip").save_pretrained(tmp_path)
    BlipProcessor(BlipImageProcessorPil(), tokenizer()).save_pretrained(tmp_path)
    (tmp_path / "chat_template.jinja").write_text(ROLES, encoding="utf-8")
    with pytest.raises(HoldfastError, match="is a captioner"):
        load_model(str(tmp_path), device="cpu")


@pytest.mark.parametrize("other", [False, True], ids=["alone", "beside another"])
@pytest.mark.parametrize("where", ["chat_template.json", "chat_template.jinja"])
@pytest.mark.parametrize("family", ["llava", "qwen2_5_vl"])
def test_a_template_of_the_processor_wins(tmp_path: Path, family: str, where: str, other: bool) -> None:
    """Over one in tokenizer_config.json: in training, in asking, and from what an export copies."""
    from holdfast.models.loading import load_chat
    from holdfast.models.processor_files import copy_processor

    template = ROLES.replace("{{ m['role'] | upper }}", "{{ m['role'] | upper }} A").replace(
        "ASSISTANT:", "ASSISTANT A:"
    )
    folder, out = save(tmp_path / "model", family, template), tmp_path / "exported"
    for file in folder.glob("chat_template*"):
        file.unlink()
    for name in ("processor_config.json", "tokenizer_config.json"):
        settings = json.loads((folder / name).read_text("utf-8"))
        settings.pop("chat_template", None)
        if other and name.startswith("tokenizer"):
            settings["chat_template"] = template.replace(" A", " B")
        (folder / name).write_text(json.dumps(settings), encoding="utf-8")
    text = json.dumps({"chat_template": template}) if where.endswith("json") else template
    (folder / where).write_text(text, encoding="utf-8")

    chat = load_chat(str(folder))
    asked = chat.render(ONE, with_answer=False).text
    assert asked.endswith("ASSISTANT A: ") and chat.render(ONE, with_answer=True).text.startswith(asked)
    out.mkdir()
    (out / "config.json").write_bytes((folder / "config.json").read_bytes())
    copy_processor(str(folder), out)
    assert load_chat(str(out)).render(ONE, with_answer=False).text == asked
    if family == "llava":  # the library's own front door; Qwen's wants torchvision
        from transformers import AutoProcessor

        parts = [{"type": "image"}, {"type": "text", "text": ONE.turns[0].question}]
        said = AutoProcessor.from_pretrained(out).apply_chat_template(
            [{"role": "user", "content": parts}], add_generation_prompt=True, tokenize=False
        )
        assert said == asked


class _Slow:
    """A processor that puts its image tokens in front of every text, as BLIP-2's does."""

    image_token = "<image>"

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def __call__(self, text: list[str], images: Any, **options: Any) -> dict[str, Any]:
        data = self.tokenizer(text, **options)
        front = self.tokenizer(["<image>" * 9] * len(text), **options | {"add_special_tokens": False})
        return {key: torch.cat([front[key], data[key]], dim=1) for key in data}


def test_a_processor_that_reorders_the_text_is_refused() -> None:
    from holdfast.models.chat import ChatProcessor
    from tests.support.tiny import tokenizer

    chat = ChatProcessor(_Slow(tokenizer()))
    for with_answers in (True, False):
        with pytest.raises(HoldfastError, match="does not say which characters its tokens stand for"):
            chat.encode([ONE], with_answers=with_answers)


def test_labels_of_a_processor_that_takes_images_in_one_list(tmp_path: Path) -> None:
    """GOT-OCR2's takes a list within the list for pages of one document."""
    from transformers import GotOcr2Processor

    from holdfast.models.chat import ChatProcessor
    from tests.support.processors import _got
    from tests.support.tiny import tokenizer

    made = tokenizer(ROLES.replace("<image>", "<img><imgpad></img>"))
    made.add_special_tokens({"additional_special_tokens": ["<img>", "</img>", "<imgpad>"]})
    chat = ChatProcessor(GotOcr2Processor(image_processor=_got(), tokenizer=made, chat_template=made.chat_template))
    batch = chat.encode(list(ALL), with_answers=True)
    labels = [row[row != -100] for row in batch["labels"]]
    expected = ["".join(f"{turn.answers[0]}</s>" for turn in example.turns) for example in ALL]
    assert [str(made.decode(row)) for row in labels] == expected


def test_a_folder_without_a_processor_is_refused(tmp_path: Path) -> None:
    """The library would give the tokenizer alone, and texts would be trained on without their images."""
    folder = save(tmp_path, "glm_ocr", ROLES)
    assert type(load_processor(str(folder))).__name__ == "Glm46VProcessor"
    (folder / "processor_config.json").unlink()
    with pytest.raises(HoldfastError, match="name no processor for images and text: they make a tokenizer only"):
        load_model(str(folder), device="cpu")


@pytest.mark.parametrize("family", ["cohere2_vision", "mistral3"])
def test_a_processor_that_needs_torchvision_says_so(tmp_path: Path, family: str) -> None:
    import importlib.util

    from tests.support.families import config_of
    from tests.support.tiny import tokenizer

    if importlib.util.find_spec("torchvision") is not None:
        pytest.skip("torchvision is installed")
    config_of(family).save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    kind = {"cohere2_vision": "Cohere2VisionImageProcessor", "mistral3": "PixtralImageProcessor"}[family]
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": kind}), encoding="utf-8")
    with pytest.raises(HoldfastError, match=r"needs torchvision|without torchvision") as caught:
        load_processor_of(tmp_path)
    assert "pip install torchvision" in str(caught.value)


def load_processor_of(folder: Path) -> Any:
    from holdfast.models.loading import load_chat

    return load_chat(str(folder))


def test_a_merged_folder_without_image_settings_says_which_file_to_copy(tmp_path: Path) -> None:
    save_llava(tmp_path)
    for name in ("processor_config.json", "preprocessor_config.json"):
        (tmp_path / name).unlink(missing_ok=True)
    with pytest.raises(HoldfastError, match=r"how pictures are prepared\. Copy preprocessor_config\.json"):
        load_model(str(tmp_path))
