"""Stop a run from inside, as a power cut would: no handler of the house sees it coming."""

from __future__ import annotations

from holdfast.events import Event, Listener, StepDone


class Stop(BaseException):
    """Not an Exception, so that no except clause of the house catches it."""


def stop_after(step: int) -> Listener:
    """A listener that stops the run when ``step`` has been heard."""

    def listen(event: Event) -> None:
        if isinstance(event, StepDone) and event.step == step:
            raise Stop

    return listen
