"""What a person sees while a run goes on: the ledger, one example, a bar with loss and time left."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from holdfast.events import (
    CachingFeatures,
    Dividing,
    Event,
    ExampleShown,
    FeaturesCached,
    FinishedBefore,
    GradientsChecked,
    LeaksFound,
    Ledger,
    LedgerWritten,
    LoadingModel,
    MemoryShort,
    MemorySplit,
    PicturesChecked,
    Predicted,
    Predicting,
    Resumed,
    StepDone,
    Validated,
    Waiting,
)
from holdfast.speed.decision import Decision, Engaged

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
        self.bar: TaskID | None = None
        self.told = False
        self.what = ""

    def __enter__(self) -> Terminal:
        self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.stop()

    def __call__(self, event: Event) -> None:
        match event:
            case PicturesChecked(done=done, total=total):
                if self.what != "checking pictures":
                    self._begin("checking pictures", total)
                self._move(completed=done, total=total)
            case LoadingModel(model=model):
                self._begin(f"loading {escape(model)}", 1)
            case StepDone(step=step, steps=steps, loss=loss):
                if self.what != "training":
                    self._begin("training", steps)
                self._move(completed=step, note=f"loss {loss:.3f}")
            case CachingFeatures(total=total):
                self._begin("image features", total)
            case Predicting(task=task, who=who, total=total):
                self._begin(f"asking {who}: {escape(task)}", total)
            case FeaturesCached(count=count) | Predicted(count=count):
                self._move(advance=count)
            case FinishedBefore(folder=folder):
                console.print(f"[dim]{escape(str(folder))} is finished already; nothing to do.[/]")
            case Dividing(what=what):
                console.print(f"[dim]While it trains, {what}.[/]")
            case Waiting(what=what, holder=holder):
                console.print(f"[dim]Waiting for {escape(what)}, made by {escape(holder)}.[/]")
            case Resumed(step=step, steps=steps):
                console.print(f"Resumed after step {step} of {steps}.")
            case MemorySplit(step=step, largest=largest):
                console.print(
                    f"[yellow]Out of memory at step {step}[/]: done again, {largest} examples a forward pass."
                )
            case LeaksFound(sentences=sentences):
                for sentence in sentences:
                    console.print(f"[yellow]{escape(sentence)}[/]")
            case MemoryShort():
                console.print(f"[yellow]{escape(event.sentence())}[/]")
            case _ if not self.quiet:
                self._tell(event)
            case _:
                pass

    def _tell(self, event: Event) -> None:
        """What a study, which runs many recipes, keeps to itself."""
        match event:
            case LedgerWritten(ledger=ledger):
                console.print(ledger_table(ledger))
            case ExampleShown(pieces=pieces):
                console.print(_marked(pieces))
            case GradientsChecked(missing=missing) if missing:
                console.print(f"[yellow]No gradient after step 1[/] for {len(missing)} trainable tensors:")
                for name in missing:
                    console.print(f"  {escape(name)}", soft_wrap=True)
            case Validated(step=step, loss=loss, exact=exact):
                console.print(f"[dim]step {step}: validation loss {loss:.4f}, {exact:.1f} % answered exactly[/]")
            case Engaged(report=report) if not self.told:
                self.told = True
                on = [name.replace("_", " ") for name, fact in report.items() if isinstance(fact, Decision) and fact]
                console.print(
                    f"[dim]Speed-ups: {', '.join(on) or 'none'}; environment.json says why others are off.[/]"
                )
            case _:
                pass

    def _begin(self, what: str, total: int) -> None:
        if self.bar is not None:
            self.progress.remove_task(self.bar)
        self.what = what
        self.bar = self.progress.add_task(what, total=total, note="")

    def _move(
        self, *, completed: int | None = None, advance: int | None = None, total: int | None = None, note: str = ""
    ) -> None:
        if self.bar is not None:
            self.progress.update(self.bar, completed=completed, advance=advance, total=total, note=note)


def _marked(pieces: Sequence[tuple[str, bool]]) -> Text:
    text = Text("One example; ")
    text.append("supervised tokens", style="bold reverse green")
    text.append(" are marked:\n  ")
    for piece, supervised in pieces:
        # Marked by brackets too: colour is lost in a log file.
        shown = piece.replace("\n", "⏎")
        text.append(f"⟦{shown}⟧" if supervised else shown, style="bold reverse green" if supervised else "dim")
    return text


def ledger_table(ledger: Ledger) -> Table:
    """The ledger at 80 columns."""
    table = Table(title="Ledger", title_justify="left", title_style="bold", box=None, pad_edge=False)
    for name in ("component", "method", "trainable", "of", "lr", "saved"):
        table.add_column(name, justify="left" if name in ("component", "method") else "right", no_wrap=True)
    for row in ledger.rows:
        rate = "-" if row.lr is None else f"{row.lr:g}"
        table.add_row(
            row.component, row.method, f"{row.trainable:,}", f"{row.total:,}", rate, size(row.checkpoint_bytes)
        )
        for part in row.parts:
            table.add_row("", f"  {part['method']}", f"{part['trainable']:,}", "", f"{part['lr']:g}", "", style="dim")
    saved = sum(row.checkpoint_bytes for row in ledger.rows)
    share, count = f"[bold]{ledger.percent:.3f} %[/]", f"[bold]{ledger.trainable:,}[/]"
    table.add_row("[bold]all[/]", share, count, f"{ledger.base + ledger.added:,}", "", size(saved))
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
