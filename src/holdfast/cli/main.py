"""Find the command, import only its file, and turn errors into one sentence and exit code 2."""

from __future__ import annotations

import errno
import os
import sys
from importlib import import_module

from holdfast import importing, stopping

# Two processes whose OpenMP threads spin on the same cores ran 13 times slower; must be set before torch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": (
        "holdfast.cli.demo:demo",
        "Tune a small shipped model on real scanned digits with twelve recipes and compare.",
    ),
    "tune": ("holdfast.cli.tune:tune", "Tune a model as a configuration says; the same command resumes."),
    "study": (
        "holdfast.cli.study:app",
        "Many recipes, models, tasks and seeds as one grid that goes on where it stopped.",
    ),
    "plan": ("holdfast.cli.plan:plan", "What a recipe trains, weighs and costs, before anything is downloaded."),
    "fuse": ("holdfast.cli.fuse:fuse", "Merge tuned models into their base, a shard at a time."),
    "eval": ("holdfast.cli.eval:evaluate", "Predict and score tasks with a model or a finished run."),
    "chat": ("holdfast.cli.chat:chat", "Ask the base and the tuned model of a run, side by side."),
    "compare": ("holdfast.cli.compare:compare", "What was gained and forgotten between two prediction sets."),
    "score": ("holdfast.cli.score:score", "Official metrics for prediction files of any tool."),
    "compose": ("holdfast.cli.compose:compose", "Put a model together from a vision encoder and a language model."),
    "advise": ("holdfast.cli.advise:advise", "The recipe to take, by a finished study and what must be kept."),
    "export": ("holdfast.cli.export:export", "Write a run as a plain transformers model or PEFT adapter."),
    "methods": ("holdfast.cli.methods:methods", "List every method, stabiliser and fusion."),
    "data": ("holdfast.cli.data:app", "Check your examples; turn official downloads into examples."),
    "pocket": ("holdfast.cli.pocket:app", "Rebuild a shipped pocket model."),
    "cache": ("holdfast.cli.cache:app", "Show or clear the stored image features of frozen vision encoders."),
    "doctor": ("holdfast.cli.doctor:doctor", "What this machine has, and what will be slow or missing."),
}
"""Command -> where it lives and what it does. A place named ``app`` is a group of commands."""

_ALONE = ("demo", "eval", "study")
"""Commands that several processes would do several times over, into the same files."""

_MACHINE = {
    errno.ENOSPC: "Make room, then give the same command again.",
    errno.EDQUOT: "Make room, then give the same command again.",
    errno.EACCES: "Choose a place that you may read and write.",
    errno.EPERM: "Choose a place that you may read and write.",
    errno.EROFS: "Choose a place that you may read and write.",
    errno.ENOENT: "Check the path.",
    errno.EISDIR: "A folder stands where a file is needed; choose another place.",
    errno.ELOOP: "The links lead back to themselves; name the place itself.",
    errno.EIO: "The disk or the network failed; check it, then give the same command again.",
    errno.ESTALE: "The disk or the network failed; check it, then give the same command again.",
    errno.ENOTDIR: "A file stands where a folder is needed; choose another place.",
    errno.EEXIST: "A file stands where a folder is needed; choose another place.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.EMFILE: "Raise the limit of open files (ulimit -n).",
}
"""What the machine may refuse, and what a person can do about it."""

ABOUT = "Specialise multimodal LLMs for a task without losing what they know, and prove it."


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exits with 0, with 2 on a mistake in the input, with 130 or 143 when interrupted."""
    if arguments is not None:
        sys.exit(run(list(arguments)))
    importing.begin()  # the process is ours
    stopping.raise_when_asked()
    try:
        try:
            code = run(sys.argv[1:])
        finally:
            importing.done()
            stopping.end_at_once()
    except KeyboardInterrupt:  # it came when all was done
        code = stopping.exit_code()
    # Python remembers an interruption inside any exec (that of a dataclass, say) and would die of SIGINT in the end,
    # whatever the exit code; the next exec makes it forget.
    exec("")
    sys.exit(code)


def run(words: list[str]) -> int:
    """The exit code of ``holdfast WORDS``."""
    from holdfast.errors import HoldfastError
    from holdfast.ranks import let_others_speak

    if words[:1] in (["--version"], ["-V"]):
        from holdfast import __version__

        print(f"holdfast {__version__}")
        return 0
    try:
        return _invoke(words)
    except HoldfastError as error:
        if stopping.was_asked(error):
            return _interrupted()
        let_others_speak(error, asked=stopping.requested())
        _complain(f"holdfast: {error}")
        return 2
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - the reader has left
        return 0
    except Exception as error:
        if stopping.was_asked(error):
            return _interrupted()
        if not isinstance(error, OSError) or error.errno not in _MACHINE:
            raise
        told = HoldfastError(os.strerror(error.errno), file=error.filename, remedy=_MACHINE[error.errno])
        print(f"holdfast: {told}", file=sys.stderr)
        return 2


def _interrupted() -> int:
    print("\nholdfast: interrupted; the same command goes on where it stopped.", file=sys.stderr)
    return stopping.exit_code()


def _complain(text: str) -> None:
    """One line for a file or a pipe; wrapped between words for a person's terminal."""
    if sys.stderr.isatty():
        import shutil
        import textwrap

        text = "\n".join(textwrap.wrap(text, shutil.get_terminal_size().columns, break_on_hyphens=False))
    print(text, file=sys.stderr)


def _invoke(words: list[str]) -> int:
    import typer

    from holdfast.errors import HoldfastError, nearest
    from holdfast.ranks import is_one_of_many

    app = typer.Typer(help=ABOUT, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

    @app.callback()
    def holdfast() -> None:
        pass

    name = words[0] if words else ""
    if name and not name.startswith("-") and name not in COMMANDS:
        raise HoldfastError(f"unknown command '{name}'", remedy=nearest(name, COMMANDS))
    if name in _ALONE and is_one_of_many():
        raise HoldfastError(
            f"holdfast {name} was started in several processes, and works in one",
            remedy="start it once; holdfast tune divides a run",
        )
    for command, (place, about) in COMMANDS.items():
        if command != name:
            app.command(command, help=about)(_not_loaded)
            continue
        module, attribute = place.split(":")
        target = getattr(import_module(module), attribute)
        if attribute == "app":
            app.add_typer(target, name=command, help=about)
        else:
            app.command(command)(target)
    try:
        result = app(args=words, prog_name="holdfast", standalone_mode=True)
    except SystemExit as stop:
        # Typer turns Ctrl-C into a silent exit; a command that has told the person itself raises SystemExit directly.
        if stop.code == 130 and type(stop.__context__).__name__ == "Exit":
            raise KeyboardInterrupt from None
        return stop.code if isinstance(stop.code, int) else 1
    return int(result or 0)


def _not_loaded() -> None:
    """Stands in for the commands that this call does not need."""


if __name__ == "__main__":
    main()
