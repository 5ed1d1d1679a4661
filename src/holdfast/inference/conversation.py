"""A conversation with one model: questions in turn, with pictures, each answered as in evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.data.examples import IMAGE_MARK, Example, ImageSource, Turn, image_key
from holdfast.inference.library import generate
from holdfast.models.loading import Loaded


@dataclass
class Conversation:
    """What was said so far to one model.

    Attributes:
        loaded: The model.
        limit: Longest answer in tokens.
        system: The system prompt; empty for none.
        turns: Questions and the model's own answers.
        images: All pictures, in the order in which they came.
    """

    loaded: Loaded
    limit: int = 256
    system: str = ""
    turns: list[Turn] = field(default_factory=list)
    images: list[ImageSource] = field(default_factory=list)

    def ask(
        self, question: str, images: Sequence[ImageSource] = (), *, hear: Callable[[str], None] | None = None
    ) -> str:
        """The model's answer, by greedy decoding; it becomes part of the conversation.

        Args:
            question: The text asked.
            images: Pictures that come with it; they stand before the text.
            hear: Called with pieces of the answer as they are made, special tokens and all reasoning included.

        Raises:
            HoldfastError: The question cannot be encoded (too large a picture, a turn that the template refuses).
        """
        text = IMAGE_MARK * len(images) + question.replace(IMAGE_MARK, " ").strip()
        seen = (*self.images, *images)
        turn = Turn(text, ())
        example = Example("question", seen, (*self.turns, turn), image_key=image_key(seen), system=self.system)
        streamer = None if hear is None else _streamer(self.loaded.chat.tokenizer, hear)
        ((answer, _),) = generate(self.loaded, [example], self.limit, streamer=streamer)
        self.turns.append(Turn(text, (answer,)))
        self.images += images
        return answer

    def begin_again(self) -> None:
        """Forget what was said."""
        self.turns.clear()
        self.images.clear()


def _streamer(tokenizer: Any, hear: Callable[[str], None]) -> Any:
    """The library's streamer, speaking to a function instead of to the terminal."""
    from transformers import TextStreamer

    class Streamer(TextStreamer):  # type: ignore[misc]
        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
            if text:
                hear(text)

    return Streamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
