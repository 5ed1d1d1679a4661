"""The public functions: what the command line does, in Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from holdfast.errors import HoldfastError
from holdfast.events import Listener, silence
from holdfast.values import JSON
from holdfast.verdict.compare import compare

if TYPE_CHECKING:
    from holdfast.config.schema import Speed
    from holdfast.data.examples import ImageSource
    from holdfast.models.loading import Loaded
    from holdfast.predictions.record import Score

__all__ = ["Run", "compare", "evaluate", "load", "tune"]


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: Where everything of it stands.
        scores: Its entry of ``scores.json``; scores in points.
    """

    folder: Path
    scores: JSON
    _loaded: list[Loaded] = field(default_factory=list, repr=False, compare=False)

    def ask(self, image: ImageSource | str | None, question: str, *, max_new_tokens: int = 256) -> str:
        """The tuned model's answer to one question, by greedy decoding; the model is loaded once.

        Args:
            image: A picture by its path or as pixels ``[height, width, 3]``; ``None``: the question has none.
            question: The text asked.
            max_new_tokens: Longest answer.

        Raises:
            HoldfastError: The picture cannot be opened, or the run cannot be loaded.
        """
        from holdfast.inference.conversation import Conversation

        if not self._loaded:
            self._loaded.append(load(self.folder))
        images = [] if image is None else [Path(image) if isinstance(image, str) else image]
        return Conversation(self._loaded[0], max_new_tokens).ask(question, images)


def tune(
    config: str | Path | Mapping[str, Any],
    out: str | Path,
    *,
    overrides: Sequence[str] = (),
    listen: Listener = silence,
) -> Run:
    """Tune a model, evaluate it and its base on the target and the sources, and write the run folder.

    Args:
        config: A YAML file, or the same as a mapping (relative paths then start at the working directory).
        out: The run folder; a run of the same configuration that was interrupted there is continued.
        overrides: ``key.sub=value`` strings.
        listen: Called with the events of :mod:`holdfast.events`; default: silence.

    Returns:
        The finished run, also where it was finished before.

    Raises:
        HoldfastError: A mistake in configuration or data, a folder that holds another run, or too little memory.
    """
    from holdfast.config.loading import load_config, locate
    from holdfast.runs.run import Runner

    file = None if isinstance(config, Mapping) else Path(config)
    base = Path.cwd() if file is None else file.resolve().parent
    steps = Runner(load_config(config, overrides), Path(out), base=base, listen=listen)
    try:
        return Run(Path(out), steps.execute())
    except HoldfastError as error:
        if file is not None:
            locate(error, file, overrides)
        raise


def load(run_or_model: str | Path, *, device: str | None = None, expert: int | None = None) -> Loaded:
    """Load a model, or a finished run: its base with the artifact on it.

    Args:
        run_or_model: A run folder, ``pocket`` or ``pocket-2``, a folder of transformers, or a Hub id.
        device: As torch names it (``cpu``, ``cuda:0``); default: a GPU if there is one.
        expert: Of a run whose fusion keeps several experts, which one, from 1; default: the one it was scored with.

    Returns:
        The model in evaluation mode, with its processor and its anatomy.

    Raises:
        HoldfastError: Nothing there, the run was trained on other weights, or it has no such expert.
    """
    from holdfast.methods.recipe import restore
    from holdfast.models.loading import load_model
    from holdfast.runs.folder import RunFolder
    from holdfast.runs.opening import open_run

    if not RunFolder(Path(run_or_model)).config.exists():
        if expert is not None:
            raise HoldfastError(f"'{run_or_model}' is no run, so it has no experts", remedy="leave the expert out")
        return load_model(str(run_or_model), device=device)
    opened = open_run(Path(run_or_model), device=device, expert=expert)
    restore(opened.base, opened.artifacts)
    opened.base.model.eval()
    return opened.base


def evaluate(
    run_or_model: str | Path,
    tasks: Sequence[str],
    out: str | Path,
    *,
    limit: int | None = None,
    batch_size: int = 32,
    max_new_tokens: int = 32,
    metric: str | None = None,
    root: str | None = None,
    options: Literal["generate", "likelihood"] = "generate",
    speed: Speed | None = None,
    expert: int | None = None,
    listen: Listener = silence,
) -> dict[str, Score]:
    """Predict and score tasks; ``out/predictions/<task>.jsonl`` is appended item by item and resumed.

    Args:
        run_or_model: As for :func:`load`.
        tasks: Example files (all of a file is asked), ``pocket:NAME``, or ``pocket`` for all its sources.
        out: Folder for ``predictions`` and ``scores.json``.
        limit: At most so many items a task.
        batch_size: Items asked together.
        max_new_tokens: Longest answer.
        metric: Metric for example files; default: exact match.
        root: Folder of their images; default: that of each file.
        options: ``likelihood``: of given options the likeliest is the answer; other items are generated.
        speed: Speed-ups, which change no answer; ``evaluation.json`` says which engaged.
        expert: As for :func:`load`.
        listen: Called with events; default: silence.

    Returns:
        Task name -> its score: in points where the metric is a rate.

    Raises:
        HoldfastError: Unknown task, bad data, or nothing to load; ``speed.share_images`` is on and the model cannot.
    """
    from holdfast.runs.assess import assess

    return assess(
        load(run_or_model, expert=expert),
        tasks,
        Path(out),
        limit=limit,
        batch_size=batch_size,
        max_new_tokens=max_new_tokens,
        metric=metric,
        root=root,
        listen=listen,
        speed=speed,
        options=options,
    )
