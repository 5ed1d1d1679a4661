"""The two models of a finished run to talk to: the tuned one and its base, from one set of weights where possible."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.methods.contract import Method
from holdfast.methods.recipe import restore
from holdfast.methods.selective.dense import Dense
from holdfast.methods.selective.sparse import Sparse
from holdfast.models.loading import Loaded, load_model, weights_in
from holdfast.runs.opening import open_run


class TwoModels:
    """The base and the tuned model of a run.

    Methods that can be switched off give the base from the same weights; for others the base is loaded beside them
    when it is first asked for.

    Args:
        run: A finished run folder.
        device: Default: a GPU if there is one.

    Raises:
        HoldfastError: Not a finished run, or its base is not the one it was trained on.
    """

    def __init__(self, run: Path, *, device: str | None = None) -> None:
        opened = open_run(run, device=device)
        self.tuned, self._config, self._device = opened.base, opened.config, device
        self._methods: list[Method] = restore(self.tuned, opened.artifacts)
        self.tuned.model.eval()
        self._base: Loaded | None = None

    @contextmanager
    def base(self) -> Iterator[Loaded]:
        """The untouched base, within the block."""
        with ExitStack() as stack:
            yield self.tuned if self._switched_off(stack) else self._beside()

    def _switched_off(self, stack: ExitStack) -> bool:
        """Whether every method can be, and is until the stack closes."""
        # What a restored method wrote into the weights it cannot take back: only training keeps what stood there.
        if self._base is not None or any(isinstance(part, Dense | Sparse) for part in self._parts()):
            return False
        try:
            for method in self._methods:
                stack.enter_context(method.suspended())
        except HoldfastError:
            stack.close()
            return False
        return True

    def _parts(self) -> Iterator[Method]:
        return (part for method in self._methods for part in method.parts())

    def _beside(self) -> Loaded:
        if self._base is None:
            trusted, load, dtype = self._config.trust_remote_code, self._config.load, weights_in(self._config.train)
            self._base = load_model(
                self.tuned.name, dtype=dtype, device=self._device, trust_remote_code=trusted, load=load
            )
        return self._base
