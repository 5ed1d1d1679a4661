"""From examples to model inputs: chat template, image tokens, and labels that cover answers and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch

from holdfast.data.examples import Example
from holdfast.data.images import open_image
from holdfast.errors import HoldfastError
from holdfast.models.expansion import BLANK, Expansion, aligned, expansions, listening, overhearing, replaying
from holdfast.models.quoting import alone_at, left_out
from holdfast.models.template import ChatTemplate, Rendered, choose_template
from holdfast.values import Keywords

IGNORED = -100
"""The label of a token that is not trained on."""


class ChatProcessor:
    """Wraps the processor of a model; knows its chat template, its image token and its padding."""

    def __init__(self, processor: Any) -> None:
        self.processor = processor
        self.tokenizer = getattr(processor, "tokenizer", processor)
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        # Where a processor names both, the token is what it writes and the placeholder what it reads (Qianfan-OCR).
        mark = getattr(processor, "image_placeholder_token", None) or getattr(processor, "image_token", None)
        self.image_mark = mark if isinstance(mark, str) else ""
        self.template = ChatTemplate(choose_template(processor, self.tokenizer), self.tokenizer, self.image_mark)
        self._silent = False
        self.alone: str | None = None
        """Why the model takes no item without a picture, where its forward cannot do without; whoever loads it says."""

    @property
    def end_ids(self) -> list[int]:
        """Token ids that end an answer: the tokenizer's, and the one that the chat template ends answers with."""
        return sorted({int(end) for end in (self.tokenizer.eos_token_id, self.template.end_token) if end is not None})

    @cached_property
    def _ends_texts(self) -> str:
        """What the tokenizer puts behind a text of its own accord."""
        with_all, without = (self.tokenizer("a", add_special_tokens=more)["input_ids"] for more in (True, False))
        return "" if with_all[-1:] == without[-1:] else str(self.tokenizer.decode(with_all[-1:]))

    def image_token_ids(self) -> set[int]:
        """Ids of the tokens that stand for image features.

        Gemma3's processor calls the mark that opens an image its image token; the tokenizer knows the real one. Ovis2's
        writes another token than the mark that it reads.
        """
        ids = (
            list(getattr(self.processor, "image_token_ids", None) or []) if self.processor is not self.tokenizer else []
        )
        ids += [getattr(owner, "image_token_id", None) for owner in (self.processor, self.tokenizer)]
        if self._is("Ovis2"):
            ids.append(self.tokenizer.convert_tokens_to_ids("<IMG_ATOM>"))
        return {int(value) for value in ids if value is not None}

    def render(self, example: Example, *, with_answer: bool) -> Rendered:
        """The conversation as text; see :meth:`holdfast.models.template.ChatTemplate.render`."""
        return self.template.render(example, with_answer=with_answer)

    def encode(
        self, examples: Sequence[Example], *, with_answers: bool, max_length: int | None = None
    ) -> dict[str, torch.Tensor]:
        """A padded batch.

        Args:
            examples: What to encode.
            with_answers: Training (right padding, answers in the text and a ``labels`` tensor) or generation (left
                padding, the text stops where the last answer is to begin).
            max_length: Tokens kept of each row; answers may be cut, images never.

        Returns:
            What ``forward`` takes; ``input_ids``, ``attention_mask`` and ``labels`` are ``[batch, length]``.

        Raises:
            HoldfastError: An image span or a whole answer would be cut by ``max_length``, or the prompt does not have
                one image mark an image.
        """
        return self.encode_knowing(examples, None, with_answers=with_answers, max_length=max_length)[0]

    def encode_knowing(
        self,
        examples: Sequence[Example],
        known: Sequence[Expansion] | None,
        *,
        with_answers: bool,
        max_length: int | None = None,
    ) -> tuple[dict[str, torch.Tensor], list[Expansion] | None]:
        """:meth:`encode`, and what was written in place of each example's images.

        Args:
            examples: What to encode.
            known: What an earlier call wrote in place of the same images. They are not opened then, and only the
                per-token inputs of the batch mean anything.
            with_answers: See :meth:`encode`.
            max_length: See :meth:`encode`.

        Returns:
            The batch, and the texts; None in their place where the processor does not tell them.

        Raises:
            HoldfastError: As :meth:`encode`. With ``known``, a processor that reads more from images than their texts
                may raise anything.
        """
        self._check_pictures(examples)
        rendered = [self.render(example, with_answer=with_answers) for example in examples]
        texts = [item.text for item in rendered]
        bos = self.tokenizer.bos_token
        options: Keywords = {
            "padding": True,
            "padding_side": "right" if with_answers else "left",
            "return_tensors": "pt",
            # The template has written the begin token already.
            "add_special_tokens": not (bos and texts[0].startswith(bos)),
        }
        quoted = [self.template.quoting.breaks(text) for text in texts]
        if with_answers or any(quoted):
            options |= {"return_offsets_mapping": True}
        if options["add_special_tokens"] and self._ends_texts:
            raise HoldfastError(
                f"the tokenizer puts '{self._ends_texts}' behind every text, so a question would end before its answer",
                remedy="turn that off (add_eos_token: false in tokenizer_config.json), or let the chat template begin "
                "with the begin token",
            )
        self._check_marks(texts, examples)
        data = self._call(texts, examples, options, known)
        offsets = data.pop("offset_mapping", None)
        replaced = data.pop("text_replacement_offsets", None)
        data.pop("labels", None)  # PaliGemma's processor makes labels of its own
        if with_answers:
            self._check_order(offsets)
            data["labels"] = _labels(data, offsets, replaced, rendered)
        if any(quoted) and isinstance(offsets, torch.Tensor):
            data = self._unbroken(data, offsets, [_moved(row, replaced, n) for n, row in enumerate(quoted)])
        self._mark_types(data)
        if max_length is not None and data["input_ids"].shape[1] > max_length:
            data = self._truncate(data, examples, max_length)
        return data, expansions(replaced, [len(example.images) for example in examples])

    def _check_pictures(self, examples: Sequence[Example]) -> None:
        bare = next((example for example in examples if not example.images), None)
        if self.alone is not None and bare is not None:
            raise HoldfastError(
                f"the item has no picture, and {self.alone}",
                item=bare.id,
                remedy="use a model that takes text alone, such as LLaVA or Qwen-VL",
            )

    def _check_marks(self, texts: Sequence[str], examples: Sequence[Example]) -> None:
        mark = self.image_mark
        if not mark:
            return
        for text, example in zip(texts, examples, strict=True):
            if text.count(mark) != len(example.images):
                raise HoldfastError(
                    f"the prompt has {text.count(mark)} image marks for {len(example.images)} images",
                    item=example.id,
                    remedy=f"use the chat template that came with the model, and keep '{mark}' out of the text",
                )

    def _call(
        self,
        texts: list[str],
        examples: Sequence[Example],
        options: Keywords,
        known: Sequence[Expansion] | None,
    ) -> Keywords:
        if known is not None:
            blank = [[BLANK] * len(example.images) for example in examples]
            with replaying(self.processor, known):
                return self._process(texts, blank, options)
        images = [_opened(example) for example in examples]
        try:
            return self._process(texts, images, options)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:300]
            raise HoldfastError(
                f"the model's processor fails on pictures that could be opened ({reason})",
                remedy="check processor_config.json, preprocessor_config.json and the tokenizer's files",
            ) from error

    def _process(self, texts: list[str], images: list[list[Any]], options: Keywords) -> Keywords:
        if not any(images) or self.processor is self.tokenizer:
            return dict(self.tokenizer(texts, **options))
        if self._is("Blip2") or self._is("InstructBlip"):  # also where its files make it fail otherwise, or late
            raise HoldfastError(
                f"{type(self.processor).__name__} puts its image tokens in front of the whole text and not where the "
                "chat template has the image",
                remedy="choose a model whose processor writes image tokens where the chat template puts images, such "
                "as LLaVA or Qwen-VL",
            )
        if self._is("PaliGemma"):
            return self._expand(texts, images, options)
        if self._is("Mllama") and any(images[row] and not images[row - 1] for row in range(1, len(images))):
            return self._pictures_first(texts, images, options)
        given: list[Any] = images
        if self._is("GotOcr2"):  # takes images of rows for pages of one document
            given = [image for row in images for image in row]
        if not self._silent:
            with listening(self.processor) as heard:
                data = self._whole(self.processor(text=list(texts), images=given, **options), len(texts))
            if heard and heard[-1][0] == texts:
                return data | {"text_replacement_offsets": heard[-1][1]}
            self._silent = True
        with overhearing(self.processor) as written:
            more = options | {"return_offsets_mapping": True}
            data = self._whole(self.processor(text=list(texts), images=given, **more), len(texts))
        self._check_order(data.get("offset_mapping"))
        return data | {"text_replacement_offsets": self._aligned(texts, written)}

    def _whole(self, made: Any, rows: int) -> Keywords:
        """What the processor made; with torchvision, Mllama's leaves rows without pictures out behind the last one."""
        data = dict(made)
        for key in ("pixel_values", "aspect_ratio_ids", "aspect_ratio_mask") if self._is("Mllama") else ():
            empty = torch.zeros(rows - len(data[key]), *data[key].shape[1:], dtype=data[key].dtype)
            if key == "aspect_ratio_mask":
                empty[..., 0] = 1  # as where pictures are padded to as many as another row has
            data[key] = torch.cat([data[key], empty])
        return data

    def _pictures_first(self, texts: list[str], images: list[list[Any]], options: Keywords) -> Keywords:
        """The rows with pictures in front of the others, and what comes of them in the order that was asked for.

        With torchvision, Mllama's processor asks the first row for a picture.
        """
        order = sorted(range(len(texts)), key=lambda row: not images[row])
        data = self._process([texts[row] for row in order], [images[row] for row in order], options)
        back = sorted(range(len(order)), key=order.__getitem__)
        return {
            key: value[back] if isinstance(value, torch.Tensor) else [value[row] for row in back]
            for key, value in data.items()
        }

    def _aligned(self, texts: list[str], written: list[list[str]]) -> list[list[Keywords]]:
        """What :func:`listening` would have heard, from the texts that the tokenizer was given."""
        rows = written[0] if len(written) == 1 and len(written[0]) == len(texts) else [""] * len(texts)
        found = [aligned(text, self.image_mark, row) for text, row in zip(texts, rows, strict=True)]
        whole = [moved for moved in found if moved is not None]
        if len(whole) < len(texts):
            raise HoldfastError(
                f"{type(self.processor).__name__} rewrites the text that the chat template made and does not say how",
                remedy="use a model whose processor writes nothing into a text but image tokens, such as LLaVA or "
                "Qwen-VL",
            )
        return whole

    def _check_order(self, offsets: Any) -> None:
        """Refuse where tokens do not follow each other as their characters do; some stand for none."""
        if isinstance(offsets, torch.Tensor):
            told = offsets[..., 1] > offsets[..., 0]
            furthest = torch.where(told, offsets[..., 0], 0).cummax(dim=1).values
            if not bool((furthest > offsets[..., 1])[told].any()):
                return
        raise HoldfastError(
            f"{type(self.processor).__name__} does not say which characters its tokens stand for",
            remedy="use a model whose processor keeps the order of the text, such as LLaVA or Qwen-VL",
        )

    def _expand(self, texts: list[str], images: list[list[Any]], options: Keywords) -> Keywords:
        """Image tokens by hand, for a processor that would rewrite the text: PaliGemma's adds a begin token behind
        the images and a line break at the end, behind the answer.
        """
        mark, count = self.processor.image_token, int(self.processor.image_seq_length)
        replaced = []
        for text in texts:
            ends = [place + len(mark) for place in range(len(text)) if text.startswith(mark, place)]
            grown = [(count - 1) * len(mark) * (index + 1) for index in range(len(ends))]
            replaced.append(
                [{"span": (0, end), "new_span": (0, end + more)} for end, more in zip(ends, grown, strict=True)]
            )
        data = dict(self.tokenizer([text.replace(mark, mark * count) for text in texts], **options))
        flat = [image for row in images for image in row]
        pixels = self.processor.image_processor(flat, return_tensors="pt")
        return data | {"pixel_values": pixels["pixel_values"], "text_replacement_offsets": replaced}

    def _unbroken(self, data: Keywords, offsets: torch.Tensor, places: Sequence[Sequence[int]]) -> Keywords:
        """A batch without the tokens of characters that only kept quoted tokens from being read as such."""
        out = alone_at(places, offsets, data["attention_mask"].bool())
        rows = {key: value for key, value in data.items() if per_token(key)}
        others = [value for key, value in data.items() if key not in rows and isinstance(value, torch.Tensor)]
        if not bool(out.any()) or any(value.shape[:2] == out.shape for value in others):
            return data  # masks of some families have an entry a token under names of their own (Kosmos-2, Idefics)
        side = "right" if "labels" in data else "left"
        fill = {"input_ids": int(self.tokenizer.pad_token_id), "labels": IGNORED}
        return data | left_out(rows, out, fill=fill, side=side)

    def _mark_types(self, data: dict[str, torch.Tensor]) -> None:
        """Give families that tell tokens apart by type what training needs.

        PaliGemma sees type 0 in both directions, so everything from the first answer on must be type 1: with the
        processor's zeros each answer token would see the ones it is to predict. Gemma3's types mark its images.
        """
        if self._is("PaliGemma"):
            types = torch.zeros_like(data["input_ids"])
            if "labels" in data:
                types = ((data["labels"] != IGNORED).cumsum(dim=1) > 0).to(types.dtype)
            data["token_type_ids"] = types
        elif self._is("Gemma3") and "token_type_ids" not in data:
            data["token_type_ids"] = torch.zeros_like(data["input_ids"])
        elif "mm_token_type_ids" not in data and self._names("mm_token_type_ids"):
            made = self.processor.create_mm_token_type_ids(data["input_ids"])
            data["mm_token_type_ids"] = torch.tensor(made, dtype=data["input_ids"].dtype)

    def _names(self, key: str) -> bool:
        """Whether the processor says that its model takes an input, which some make only when they are asked to."""
        made = hasattr(self.processor, "create_mm_token_type_ids")
        return made and key in self.processor.model_input_names

    def _is(self, family: str) -> bool:
        return type(self.processor).__name__.startswith(family)

    def _truncate(
        self, data: dict[str, torch.Tensor], examples: Sequence[Example], length: int
    ) -> dict[str, torch.Tensor]:
        ids = data["input_ids"]
        columns = ids.shape
        images = torch.tensor(sorted(self.image_token_ids()), dtype=ids.dtype)
        cut_image = torch.isin(ids[:, length:], images).any(dim=1)
        cut_all = (data["labels"][:, :length] == IGNORED).all(dim=1) if "labels" in data else torch.zeros(len(examples))
        for row, example in enumerate(examples):
            if cut_image[row] or cut_all[row]:
                what = "its image" if cut_image[row] else "its whole answer"
                raise HoldfastError(
                    f"train.max_length of {length} tokens would cut {what}",
                    item=example.id,
                    remedy=f"raise train.max_length to {columns[1]} or more, or shorten the question",
                    key="train.max_length",
                )
        return {key: value[:, :length] if per_token(key) else value for key, value in data.items()}

    def decode(self, ids: torch.Tensor, *, thinking: bool = False) -> str:
        """What is judged of generated ids: the text without special tokens, end mark and reasoning.

        Args:
            ids: What the model wrote.
            thinking: Whether it was asked to think, as it is where the data reason (:attr:`Example.thoughts`).
        """
        return (self.template.thinking if thinking else self.template).judged(ids.tolist())

    def show(self, batch: dict[str, torch.Tensor], row: int = 0) -> list[tuple[str, bool]]:
        """One row as runs of (text, supervised); a run of image tokens is shortened to its count."""
        ids = batch["input_ids"][row].tolist()
        labels = batch["labels"][row].tolist()
        images = self.image_token_ids()
        runs: list[tuple[list[int], str]] = []
        for token, label, kept in zip(ids, labels, batch["attention_mask"][row].tolist(), strict=True):
            if not kept:
                continue
            kind = "image" if token in images else "plain" if label == IGNORED else "answer"
            if not runs or runs[-1][1] != kind:
                runs.append(([], kind))
            runs[-1][0].append(token)
        shown = []
        for tokens, kind in runs:
            text = f"[{len(tokens)} image tokens]" if kind == "image" else str(self.tokenizer.decode(tokens))
            shown.append((text, kind == "answer"))
        return shown


def per_token(key: str) -> bool:
    """Whether an input has one entry a token. Told by name: pixels may happen to have the same shape."""
    return key in ("input_ids", "attention_mask", "labels", "cross_attention_mask") or key.endswith("token_type_ids")


def _labels(
    data: dict[str, torch.Tensor], offsets: torch.Tensor, replaced: Any, rendered: Sequence[Rendered]
) -> torch.Tensor:
    """Copy the ids whose characters lie inside an answer; everything else is ignored.

    ``offsets`` ``[batch, length, 2]`` count characters after image marks were replaced by image tokens; ``replaced``
    says by how much each mark grew.
    """
    ids = data["input_ids"]
    labels = torch.full_like(ids, IGNORED)
    kept = data["attention_mask"].bool()
    for row, item in enumerate(rendered):
        start, end = offsets[row, :, 0], offsets[row, :, 1]
        for answer in item.answers:
            first, last = _moved(answer, replaced, row)
            inside = (end > first) & (start < last) & (end > start) & kept[row]
            labels[row, inside] = ids[row, inside]
    return labels


def _opened(example: Example) -> list[Any]:
    """The pictures of an example.

    Raises:
        HoldfastError: One cannot be opened; it names the example.
    """
    try:
        return [open_image(source) for source in example.images]
    except HoldfastError as error:
        error.item = error.item or example.id
        raise


def _moved(places: Sequence[int], replaced: Any, row: int) -> list[int]:
    """Places in a row's text, where they stand after its image marks were replaced."""
    grown = [] if not replaced else [(r["span"][1], r["new_span"][1] - r["span"][1]) for r in replaced[row]]
    return [place + next((gain for end, gain in reversed(grown) if end <= place), 0) for place in places]
