"""What a person sees while a run goes on: the ledger, one example, a bar with loss and time left."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

console = Console(highlight=False)


class Terminal:
    """Prints events; use as a context manager so that its bar is closed."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[note]}"),
            console=console,
            transient=True,
        )
        self.bar: Any = None
        self.told = False
        self.what = ""

    def __enter__(self) -> Terminal:
        self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.stop()

    def __call__(self, event: str, **facts: Any) -> None:
        handler = getattr(self, f"_on_{event}", None)
        if handler is not None:
            handler(**facts)

    def _begin(self, what: str, total: int) -> None:
        if self.bar is not None:
            self.progress.remove_task(self.bar)
        self.what = what
        self.bar = self.progress.add_task(what, total=total, note="")

    def _on_finished_before(self, folder: Any) -> None:
        console.print(f"[dim]{escape(str(folder))} is finished already; nothing to do.[/]")

    def _on_loading(self, model: str) -> None:
        self._begin(f"loading {escape(model)}", 1)

    def _on_resumed(self, step: int, steps: int) -> None:
        console.print(f"Resumed after step {step} of {steps}.")

    def _on_ledger(self, ledger: Any) -> None:
        if not self.quiet:
            console.print(ledger_table(ledger))

    def _on_example(self, runs: list[tuple[str, bool]]) -> None:
        if self.quiet:
            return
        text = Text("One example; ")
        text.append("supervised tokens", style="bold reverse green")
        text.append(" are marked:\n  ")
        for part, supervised in runs:
            # Marked by brackets too: colour is lost in a log file.
            shown = part.replace("\n", "⏎")
            text.append(f"⟦{shown}⟧" if supervised else shown, style="bold reverse green" if supervised else "dim")
        console.print(text)

    def _on_gradients(self, missing: list[str]) -> None:
        if missing and not self.quiet:
            console.print(f"[yellow]No gradient after step 1[/] for {len(missing)} trainable tensors:")
            for name in missing:
                console.print(f"  {escape(name)}", soft_wrap=True)

    def _on_step(self, step: int, steps: int, loss: float, **facts: Any) -> None:
        if self.what != "training":
            self._begin("training", steps)
        self.progress.update(self.bar, completed=step, note=f"loss {loss:.3f}")

    def _on_validation(self, step: int, loss: float, exact: float) -> None:
        if not self.quiet:
            console.print(f"[dim]step {step}: validation loss {loss:.4f}, {exact:.1f} % answered exactly[/]")

    def _on_caching(self, total: int) -> None:
        self._begin("image features", total)

    def _on_cached(self, count: int) -> None:
        self.progress.advance(self.bar, count)

    def _on_split(self, step: int, largest: int) -> None:
        console.print(f"[yellow]Out of memory at step {step}[/]: done again, {largest} examples a forward pass.")

    def _on_engaged(self, report: dict[str, Any]) -> None:
        if self.quiet or self.told:
            return
        self.told = True
        on = [name.replace("_", " ") for name, fact in report.items() if isinstance(fact, dict) and fact["on"]]
        console.print(f"[dim]Speed-ups: {', '.join(on) or 'none'}; environment.json says why others are off.[/]")

    def _on_predicting(self, task: str, who: str, total: int) -> None:
        self._begin(f"asking {who}: {escape(task)}", total)

    def _on_predicted(self, count: int, **facts: Any) -> None:
        self.progress.advance(self.bar, count)


def ledger_table(ledger: Any) -> Table:
    """The ledger at 80 columns."""
    table = Table(title="Ledger", title_justify="left", title_style="bold", box=None, pad_edge=False)
    for name in ("component", "method", "trainable", "of", "lr", "saved"):
        table.add_column(name, justify="left" if name in ("component", "method") else "right", no_wrap=True)
    for row in ledger.rows:
        rate = "-" if row.lr is None else f"{row.lr:g}"
        table.add_row(
            row.component, row.method, f"{row.trainable:,}", f"{row.total:,}", rate, size(row.checkpoint_bytes)
        )
    saved = sum(row.checkpoint_bytes for row in ledger.rows)
    table.add_row(
        "[bold]all[/]", f"[bold]{ledger.percent:.3f} %[/]", f"[bold]{ledger.trainable:,}[/]",
        f"{ledger.base + ledger.added:,}", "", size(saved),
    )  # fmt: skip
    return table


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError


def points(value: float | None, *, sign: bool = False) -> str:
    """A score in points; ``n/a`` where it is not defined."""
    if value is None:
        return "n/a"
    text = f"{value:+.1f}" if sign else f"{value:.1f}"
    return text.replace("-0.0", "0.0") if float(text) == 0 else text
