"""Stop a run from inside, as a power cut would: no handler of the house sees it coming."""

from __future__ import annotations

from typing import Any


class Stop(BaseException):
    """Not an Exception, so that no except clause of the house catches it."""


def stop_after(step: int) -> Any:
    """A listener that stops the run when ``step`` has been heard."""

    def listen(event: str, **facts: Any) -> None:
        if event == "step" and facts["step"] == step:
            raise Stop

    return listen
