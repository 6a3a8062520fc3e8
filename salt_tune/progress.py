"""The live table of a search on a terminal, and plain lines when piped."""

from typing import Any

from rich.live import Live
from rich.table import Table
from rich.text import Text

from salt_tune.console import console
from salt_tune.records import TrialRecord
from salt_tune.space import SearchSpace

STATE_STYLES = {"running": "cyan", "finished": "green", "pruned": "yellow", "waiting": "dim"}


def short(value: Any) -> str:
    """A hyperparameter or a measure in three or four digits."""
    if isinstance(value, float):
        return f"{value:.3g}"
    return "-" if value is None else str(value)


def heading(name: str) -> str:
    """A column's name in short lines, so that a table of many columns fits a terminal."""
    return name.replace("_", "\n")


class LiveTable:
    """Shows all trials while they run; use it as a context manager around the search.

    Args:
        records: the trials, by id.
        space: what is searched.
    """

    def __init__(self, records: dict[str, TrialRecord], space: SearchSpace) -> None:
        self._records, self._space = records, space
        self._parameters = tuple(space.searched())
        self._live = (
            Live(get_renderable=self._table, console=console, refresh_per_second=2) if console.is_terminal else None
        )

    def __enter__(self) -> "LiveTable":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live:
            self._live.stop()

    def on_start(self, record: TrialRecord) -> None:
        """A trial starts."""
        values = "  ".join(f"{name} {short(record.proposal.parameters[name])}" for name in self._parameters)
        self._say(record, f"starts    {values}")

    def on_report(self, record: TrialRecord, report: dict[str, Any]) -> None:
        """A trial has reported; piped, only whole epochs get a line."""
        if float(report["epoch"]).is_integer() and record.value("val_loss") is not None:
            losses = f"val_loss {report['val_loss']:.4f}  val_r2 {report['val_r2']:.3f}"
            self._say(record, f"epoch {report['epoch']:.0f}   {losses}  {report['clips_per_second']:,.0f} clips/s")

    def on_end(self, record: TrialRecord) -> None:
        """A trial has ended."""
        reason = f": {record.error}" if record.error else ""
        if record.state != "interrupted" or record.epochs:
            self._say(record, f"{record.state} after {record.epochs:g} epochs{reason}")

    def _say(self, record: TrialRecord, what: str) -> None:
        if self._live is None:
            console.print(f"{record.id:<4} {what}")

    def _table(self) -> Table:
        table = Table(box=None, header_style="bold", pad_edge=False)
        table.add_column("trial")
        for name in (*self._parameters, "epoch", self._space.objective, "clips/s"):
            table.add_column(heading(name), justify="right", no_wrap=True)
        table.add_column("state")
        for record in self._records.values():
            measures = (record.epochs, record.value(self._space.objective), record.value("clips_per_second"))
            table.add_row(
                record.id,
                *(short(record.proposal.parameters[name]) for name in self._parameters),
                *("-" if value is None or not record.last else f"{value:.4g}" for value in measures),
                Text(record.state, STATE_STYLES.get(record.state, "red")),
            )
        return table
