"""The base's answers: made once a model, task and way of asking, beside the run folders, and copied into each run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from holdfast import files
from holdfast.errors import HoldfastError
from holdfast.predictions.file import read_predictions
from holdfast.tasks.task import Task


def share_answers(
    shared: Path, own: Path, task: Task, *, make: Callable[[Path], None], wait: Callable[[str], None]
) -> None:
    """Put the base's answers to ``task`` at ``own``.

    Of several processes one makes them and the others wait; where that one dies, another goes on with what stands in
    its file. A file that is damaged is made anew: it holds nothing that cannot be asked again.

    Args:
        shared: The file beside the run folders.
        own: The run's copy.
        task: What is asked.
        make: Asks what is missing in a prediction file, and scores it.
        wait: Called with who makes the answers, before waiting for that process.

    Raises:
        HoldfastError: The base cannot be asked, or a file cannot be written.
    """
    if own.exists():
        return
    done = shared.with_suffix(".done")
    with files.locked(shared.with_suffix(".lock"), what=f"{shared}", wait=wait):
        if not (done.exists() and _whole(shared, task)):
            done.unlink(missing_ok=True)
            try:
                make(shared)
            except HoldfastError as error:
                if error.file != str(shared):
                    raise
                shared.unlink(missing_ok=True)
                make(shared)
            done.touch()
        files.copy_file(shared, own)


def _whole(file: Path, task: Task) -> bool:
    try:
        return {prediction.id for prediction in read_predictions(file)} == {example.id for example in task.test}
    except HoldfastError:
        return False
