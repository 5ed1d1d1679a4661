"""A model put together answers as its parts do, loads everywhere, and mistakes are one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from holdfast.cli.main import run
from holdfast.data.examples import Example, Turn
from holdfast.errors import HoldfastError
from holdfast.models.composing.compose import Composed, compose
from holdfast.models.composing.llm import NEW_TOKEN
from holdfast.models.loading import load_model
from tests.support.parts import CHATML, SIDE, WIDE, save_llm, save_vision

VISION = ("clip", "siglip", "dinov2")
LLM = ("llama", "qwen2")
PICTURE = np.random.default_rng(0).integers(0, 255, (24, 40, 3), dtype=np.uint8)
PAIRS = [(vision, llm) for vision in VISION for llm in LLM]
LINEARS = ("linear_1.weight", "linear_1.bias", "linear_2.weight", "linear_2.bias")


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder a part."""
    root = tmp_path_factory.mktemp("parts")
    for family in VISION:
        save_vision(root / family, family)
    for family in LLM:
        save_llm(root / family, family)
    return root


@pytest.fixture(scope="module")
def made(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Path, Composed]]:
    """``made(vision, llm, **options)``: the folder and what is said of it, each made once."""
    root, done = tmp_path_factory.mktemp("made"), dict[str, tuple[Path, Composed]]()

    def get(vision: str, llm: str, **options: Any) -> tuple[Path, Composed]:
        key = json.dumps([vision, llm, sorted(options.items())], default=str)
        if key not in done:
            out = root / str(len(done))
            done[key] = out, compose(vision=str(parts / vision), llm=str(parts / llm), out=out, **options)
        return done[key]

    return get


@pytest.mark.parametrize(("vision", "llm"), PAIRS)
def test_it_is_encoder_then_two_layers_then_llm(
    made: Callable[..., tuple[Path, Composed]], parts: Path, vision: str, llm: str
) -> None:
    """Against the parts loaded alone and the equation ``llm(W2 gelu(W1 h + b1) + b2)``, h without its class token."""
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForImageTextToText,
        AutoProcessor,
        CLIPVisionModel,
        Dinov2Model,
        SiglipVisionModel,
    )

    folder, said = made(vision, llm)
    model, processor = AutoModelForImageTextToText.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    asked = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]}]
    text = processor.apply_chat_template(asked, add_generation_prompt=True)
    batch = processor(text=text, images=[PICTURE], return_tensors="pt")
    kind = {"clip": CLIPVisionModel, "siglip": SiglipVisionModel, "dinov2": Dinov2Model}[vision]
    tower = kind.from_pretrained(parts / vision).eval()
    alone = AutoModelForCausalLM.from_pretrained(parts / llm).eval()
    linear = [load_file(folder / "model.safetensors")[f"multi_modal_projector.{name}"] for name in LINEARS]
    with torch.no_grad():
        hidden = tower(batch["pixel_values"], output_hidden_states=True).hidden_states[-2]
        hidden = hidden[:, 0 if vision == "siglip" else 1 :]
        inner = torch.nn.functional.gelu(hidden @ linear[0].T + linear[1])
        features = (inner @ linear[2].T + linear[3])[0]
        place = batch["input_ids"][0] == said.token_id
        words = alone.get_input_embeddings()(torch.where(place, 0, batch["input_ids"]))
        words[0, place] = features
        expected = alone(inputs_embeds=words).logits
        found = model.eval()(**batch).logits
    assert int(place.sum()) == said.image_tokens == (SIDE // 8) ** 2
    assert batch["pixel_values"].shape[-2:] == (SIDE, SIDE)
    torch.testing.assert_close(found[..., : expected.shape[-1]], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("vision", "llm"), PAIRS)
def test_it_loads_here_and_its_parts_are_counted(
    made: Callable[..., tuple[Path, Composed]], vision: str, llm: str
) -> None:
    folder, said = made(vision, llm)
    loaded = load_model(str(folder), device="cpu")
    counts = {part.name: sum(value.numel() for value in part.parameters.values()) for part in loaded.anatomy}
    assert counts == said.parameters
    assert counts["connector"] == 16 * WIDE + WIDE + WIDE * WIDE + WIDE
    end = loaded.chat.tokenizer.convert_tokens_to_ids("<|end|>")
    assert set(loaded.model.generation_config.eos_token_id) == {loaded.chat.tokenizer.eos_token_id, end}
    example = Example("one", (PICTURE,), (Turn("what ?", ("red",)),))
    batch = loaded.chat.encode([example], with_answers=True)
    kept = batch["labels"][0][batch["labels"][0] != -100]
    assert loaded.chat.tokenizer.decode(kept) == "red<|end|>"


def test_a_text_is_written_as_the_llm_writes_it(made: Callable[..., tuple[Path, Composed]], parts: Path) -> None:
    from transformers import AutoProcessor, AutoTokenizer

    folder, said = made("clip", "llama")
    both, alone = AutoProcessor.from_pretrained(folder), AutoTokenizer.from_pretrained(parts / "llama")
    turns = [("system", "Be brief."), ("user", "One?"), ("assistant", "Two."), ("user", "Three {{ x }} 'q'?")]
    for start in (0, 1):
        plain = [{"role": role, "content": text} for role, text in turns[start:]]
        in_parts = [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in turns[start:]]
        expected = alone.apply_chat_template(plain, tokenize=False, add_generation_prompt=True)
        for form in (plain, in_parts):
            assert both.apply_chat_template(form, tokenize=False, add_generation_prompt=True) == expected
    two = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Or"}, {"type": "image"}]}]
    assert f"user\n{said.token}\nOr\n{said.token}<|end|>" in both.apply_chat_template(two, tokenize=False)
    with pytest.raises(Exception, match="no video"):
        both.apply_chat_template([{"role": "user", "content": [{"type": "video"}]}], tokenize=False)


@pytest.mark.parametrize("llm", LLM)
def test_a_new_token_adds_one_row_and_a_reserved_one_none(
    made: Callable[..., tuple[Path, Composed]], parts: Path, llm: str
) -> None:
    before = load_file(parts / llm / "model.safetensors")
    rows = len(before["model.embed_tokens.weight"])
    names = {"model.embed_tokens.weight": "language_model.model.embed_tokens.weight"}
    names |= {"lm_head.weight": "language_model.lm_head.weight"} if llm == "llama" else {}
    for token, more in ((None, 1), ("<|spare|>", 0)):
        folder, said = made("siglip", llm, token=token)
        assert said.token == (token or NEW_TOKEN)
        after = load_file(folder / "model.safetensors")
        for name, called in names.items():
            table = after[called]
            assert torch.equal(table[:rows], before[name])
            assert len(table) == rows + more
            if more:
                torch.testing.assert_close(table[-1], before[name].mean(dim=0))


def test_a_spare_row_of_the_embedding_is_taken_first(parts: Path, tmp_path: Path) -> None:
    llm = save_llm(tmp_path / "llm", "qwen2", spare=3)
    said = compose(vision=str(parts / "siglip"), llm=str(llm), out=tmp_path / "out")
    rows = len(load_file(llm / "model.safetensors")["model.embed_tokens.weight"])
    assert said.token_id == rows - 3
    table = load_file(tmp_path / "out" / "model.safetensors")["language_model.model.embed_tokens.weight"]
    assert torch.equal(table, load_file(llm / "model.safetensors")["model.embed_tokens.weight"])


def test_the_seed_decides_a_fresh_connector(made: Callable[..., tuple[Path, Composed]], tmp_path: Path) -> None:
    def values(vision: str, seed: int) -> torch.Tensor:
        return load_file(made(vision, "qwen2", seed=seed)[0] / "model.safetensors")[
            "multi_modal_projector.linear_1.weight"
        ]

    assert torch.equal(values("clip", 0), values("dinov2", 0))
    assert not torch.equal(values("clip", 0), values("clip", 1))


def test_other_sizes_where_the_encoder_takes_them(made: Callable[..., tuple[Path, Composed]]) -> None:
    folder, said = made("dinov2", "llama", image_size=24, layer=-1)
    assert said.image_tokens == 9
    loaded = load_model(str(folder), device="cpu")
    example = Example("one", (PICTURE,), (Turn("what ?", ("red",)),))
    with torch.no_grad():
        assert torch.isfinite(loaded.model(**loaded.chat.encode([example], with_answers=False)).logits).all()


def test_taught_values_are_taken_and_held_to_their_parts(
    made: Callable[..., tuple[Path, Composed]], parts: Path, tmp_path: Path
) -> None:
    folder, said = made("clip", "llama")
    stored = load_file(folder / "model.safetensors")
    values = {name: stored[f"multi_modal_projector.{name}"] + 1 for name in LINEARS}
    facts = {"vision": said.vision_identity, "llm": said.llm_identity, "layer": "-2"}
    save_file(values, tmp_path / "taught.safetensors", metadata=facts)
    again, other = made("clip", "llama", projector=tmp_path / "taught.safetensors")
    assert other.projector == "taught.safetensors"
    after = load_file(again / "model.safetensors")
    assert all(torch.equal(after[f"multi_modal_projector.{name}"], value) for name, value in values.items())
    for vision, llm, layer, word in (
        ("dinov2", "llama", -2, "vision"),
        ("clip", "qwen2", -2, "llm"),
        ("clip", "llama", -1, "layer"),
    ):
        with pytest.raises(HoldfastError, match=f"another {word}"):
            made(vision, llm, layer=layer, projector=tmp_path / "taught.safetensors")
    longer = {f"model.multi_modal_projector.{name}": value for name, value in values.items()}
    save_file(longer, tmp_path / "artifact.safetensors")
    third, _ = made("clip", "llama", projector=tmp_path / "artifact.safetensors")
    assert torch.equal(
        load_file(third / "model.safetensors")["multi_modal_projector.linear_2.bias"], values[LINEARS[3]]
    )


def test_its_connector_can_be_taught(made: Callable[..., tuple[Path, Composed]], tmp_path: Path) -> None:
    import holdfast

    folder, _ = made("siglip", "qwen2")
    from PIL import Image

    rows = []
    for index in range(6):
        Image.fromarray(np.full((16, 16, 3), index * 40, dtype=np.uint8)).save(tmp_path / f"{index}.png")
        rows.append(
            {"id": str(index), "image": f"{index}.png", "question": "dark ?", "answer": "yes" if index < 3 else "no"}
        )
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    data = str(tmp_path / "rows.jsonl")
    result = holdfast.tune(
        {
            "model": str(folder),
            "tune": {"connector": {"method": "full", "lr": 3e-2}},
            "target": {"data": data, "test": data, "validation": data},
            "sources": [],
            "train": {"steps": 12, "batch_size": 6, "warmup": 0.0, "log_every": 1, "trackers": []},
            "evaluate": {"max_new_tokens": 2},
        },
        tmp_path / "run",
    )
    losses = [json.loads(line)["loss"] for line in (result.folder / "train.jsonl").read_text().splitlines()]
    assert losses[-1] < losses[0]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"image_size": 20}, "multiple of 8"),
    ({"image_size": 32}, r"model \(16\*16\)\)\. Leave --image-size out: it takes pictures of 16"),
    ({"layer": 9}, "no layer 9"),
    ({"vision": "llama"}, "is no vision encoder"),
    ({"vision": "nowhere/else/at/all"}, "there is no model folder"),
    ({"vision": "no/hub"}, "neither a local folder nor reachable"),
    ({"llm": "clip"}, "for text alone"),
    ({"llm": "siglip"}, "for text alone"),
    ({"token": "<|end|>"}, "means something"),
    ({"token": "</s>"}, "means something"),
    ({"token": "a"}, "means something"),
    ({"token": "<|other|>"}, r"no token '<\|other\|>'.*such as '<\|spare\|>'"),
    ({"projector": Path("missing.safetensors")}, "Check the path of --projector"),
]


@pytest.mark.parametrize(("change", "said"), WRONG, ids=[str(row[0]) for row in WRONG])
def test_a_mistake_is_one_sentence_and_leaves_nothing(
    parts: Path, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    options: dict[str, Any] = {"vision": "clip", "llm": "llama"} | change
    for part in ("vision", "llm"):
        options[part] = str(parts / options[part]) if (parts / options[part]).is_dir() else options[part]
    with pytest.raises(HoldfastError, match=said) as raised:
        compose(out=tmp_path / "out", **options)
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_an_llm_that_cannot_be_chatted_with_is_refused(parts: Path, tmp_path: Path) -> None:
    llm = save_llm(tmp_path / "llm", "llama", template=None)
    with pytest.raises(HoldfastError, match=r"no chat template.*instruction-tuned"):
        compose(vision=str(parts / "clip"), llm=str(llm), out=tmp_path / "out")


def test_an_encoder_without_hidden_states_a_patch_is_refused(parts: Path, tmp_path: Path) -> None:
    from transformers import SegformerConfig, SegformerModel

    config = SegformerConfig(
        num_encoder_blocks=2, depths=[1, 1], sr_ratios=[2, 1], hidden_sizes=[8, 16], patch_sizes=[7, 3], strides=[4, 2],
        num_attention_heads=[1, 2], mlp_ratios=[2, 2], decoder_hidden_size=8,
    )  # fmt: skip
    config.patch_size, config.image_size, config.hidden_size = 8, 16, 16
    SegformerModel(config).save_pretrained(tmp_path / "vision")
    file = parts / "clip" / "preprocessor_config.json"
    (tmp_path / "vision" / file.name).write_bytes(file.read_bytes())
    with pytest.raises(HoldfastError, match="gives no hidden states of one row a patch"):
        compose(vision=str(tmp_path / "vision"), llm=str(parts / "llama"), out=tmp_path / "out")


def test_gguf_files_are_counted_before_they_are_read(parts: Path, tmp_path: Path) -> None:
    for name, said in (("one.gguf", "pip install gguf|cannot be read"), ("two.gguf", "2 GGUF files, one.gguf and two")):
        (tmp_path / name).write_bytes(b"GGUF")
        with pytest.raises(HoldfastError, match=said):
            compose(vision=str(parts / "clip"), llm=str(tmp_path), out=tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(HoldfastError, match=r"neither config\.json nor a GGUF file"):
        compose(vision=str(parts / "clip"), llm=str(tmp_path / "empty"), out=tmp_path / "out")


def test_weights_that_are_missing_are_not_made_up(parts: Path, tmp_path: Path) -> None:
    llm = save_llm(tmp_path / "llm", "llama")
    stored = load_file(llm / "model.safetensors")
    del stored["model.norm.weight"]
    save_file(stored, llm / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(HoldfastError, match=r"lack 1 tensors, the first 'model\.norm\.weight'"):
        compose(vision=str(parts / "clip"), llm=str(llm), out=tmp_path / "out")


def test_the_command_says_what_it_made(parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "compose",
        "--vision",
        str(parts / "siglip"),
        "--llm",
        str(parts / "qwen2"),
        "--out",
        str(tmp_path / "out"),
    ]
    assert run(words) == 0
    said = capsys.readouterr().out
    assert "takes 4 tokens, written as <image>" in said and "connector" in said
    record = json.loads((tmp_path / "out" / "composed.json").read_text())
    assert (record["vision"], record["llm"]) == ("siglip", "qwen2")
    assert run(words) == 2
    assert "exists already" in capsys.readouterr().err


def test_templates_of_other_forms_pass_through(parts: Path, tmp_path: Path) -> None:
    """A template that strips, one that reads content in parts itself: what is written for text is the llm's own."""
    from transformers import AutoProcessor

    stripping = CHATML.replace("message['content'] +", "message['content'] | trim +")
    llm = save_llm(tmp_path / "llm", "llama", template=stripping)
    compose(vision=str(parts / "siglip"), llm=str(llm), out=tmp_path / "out", token="<|spare|>")
    text = AutoProcessor.from_pretrained(tmp_path / "out").apply_chat_template(
        [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": " Hm? "}]}], tokenize=False
    )
    assert "user\n<|spare|>\n Hm?<|end|>" in text
