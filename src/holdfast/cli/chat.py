"""``holdfast chat``: put a question to the base and to the tuned model, side by side."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from holdfast.data.examples import ImageSource
    from holdfast.inference.conversation import Conversation
    from holdfast.runs.two_models import TwoModels

HELP = "A line is a question. /image PATH adds a picture to the next one, /new begins again, /quit ends."


def chat(
    run: Annotated[Path, typer.Argument(help="a finished run folder")],
    image: Annotated[list[Path] | None, typer.Option(help="a picture of the first question; may be repeated")] = None,
    once: Annotated[str | None, typer.Option(help="ask this one question and end")] = None,
    who: Annotated[Literal["both", "base", "tuned"], typer.Option(help="whose answers")] = "both",
    system: Annotated[str, typer.Option(help="system prompt")] = "",
    max_new_tokens: Annotated[int, typer.Option(help="longest answer", min=1)] = 256,
    as_json: Annotated[bool, typer.Option("--json", help="with --once: print JSON")] = False,
) -> None:
    """Ask the base and the tuned model of a run the same questions, with pictures, in one or several turns."""
    import json

    from holdfast.errors import HoldfastError
    from holdfast.inference.conversation import Conversation
    from holdfast.runs.two_models import TwoModels

    if as_json and once is None:
        raise HoldfastError("--json prints the answers to one question", remedy="ask it with --once")
    pictures = [_picture(str(path)) for path in image or ()]
    pair = TwoModels(run)
    table = _Table(pair, {name: Conversation(pair.tuned, max_new_tokens, system) for name in _names(who)})
    if once is not None:
        answers = table.ask(once, pictures, None if as_json else _print_label)
        if as_json:
            print(json.dumps({"question": once, **answers}, ensure_ascii=False, indent=1))
        return
    print(HELP)
    table.talk(pictures)


class _Table:
    """Both conversations at one table."""

    def __init__(self, pair: TwoModels, conversations: dict[str, Conversation]) -> None:
        self.pair, self.conversations = pair, conversations

    def ask(self, question: str, pictures: list[ImageSource], label: Callable[[str], None] | None) -> dict[str, str]:
        """The answers by whose they are; with ``label`` they are printed as they are made."""
        from holdfast.errors import HoldfastError

        if not question.strip():
            raise HoldfastError("the question is empty", remedy="ask something")
        answers: dict[str, str] = {}
        for name, conversation in self.conversations.items():
            hear = None
            if label is not None:
                label(name)
                hear = _print_piece
            if name == "base":
                with self.pair.base() as loaded:
                    conversation.loaded = loaded
                    answers[name] = conversation.ask(question, pictures, hear=hear)
            else:
                answers[name] = conversation.ask(question, pictures, hear=hear)
            if label is not None:
                print("" if answers[name].strip() else "(empty)")
        return answers

    def talk(self, pictures: list[ImageSource]) -> None:
        """Questions line by line until the input ends."""
        from holdfast.errors import HoldfastError

        while True:
            try:
                line = input("> ").strip()
            except EOFError:
                print()
                return
            if line in ("/quit", "/exit"):
                return
            try:
                if line == "/new":
                    for conversation in self.conversations.values():
                        conversation.begin_again()
                    pictures = []
                elif line.startswith("/image"):
                    pictures.append(_picture(line.removeprefix("/image").strip()))
                    print(f"{len(pictures)} pictures go with the next question.")
                elif line:
                    question, pasted = _pasted(line)
                    self.ask(question, pictures + pasted, _print_label)
                    pictures = []
            except HoldfastError as error:
                print(f"holdfast: {error}")


def _names(who: str) -> tuple[str, ...]:
    return ("base", "tuned") if who == "both" else (who,)


def _print_label(name: str) -> None:
    print(f"{name:<5}  ", end="", flush=True)


def _print_piece(text: str) -> None:
    print(text, end="", flush=True)


def _picture(path: str) -> ImageSource:
    """A picture by path or as a data URI, opened once so that a bad one is said at once."""
    from holdfast.data.images import open_image, resolve_inside
    from holdfast.data.stored import DataURI, is_data_uri

    source: ImageSource
    if is_data_uri(path):
        source = DataURI(path)
    else:
        file = Path(path.strip("'\"").removeprefix("file://")).expanduser()
        source = resolve_inside(file.parent, file.name)
    open_image(source)
    return source


def _pasted(line: str) -> tuple[str, list[ImageSource]]:
    """A line without the pictures that were pasted or dragged into it."""
    import shlex

    try:
        words = shlex.split(line)
    except ValueError:  # an apostrophe is no quotation
        return line, []
    pictures = [word for word in words if _is_picture(word)]
    for word in pictures:
        for shown in (shlex.quote(word), f'"{word}"', f"'{word}'", word, word.replace(" ", "\\ ")):
            line = line.replace(shown, " ", 1)
    return " ".join(line.split()), [_picture(word) for word in pictures]


def _is_picture(word: str) -> bool:
    from holdfast.data.stored import is_data_uri

    if is_data_uri(word):
        return True
    file = Path(word.removeprefix("file://")).expanduser()
    endings = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif")
    return file.suffix.lower() in endings and file.is_file()
