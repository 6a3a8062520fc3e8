"""The live table of a search on a terminal, and plain lines when piped."""

import re
from typing import Any

from rich.live import Live
from rich.table import Table
from rich.text import Text

from analysis.run_directory.trials import TrialRecord
from analysis.text import printable
from salt_tune.space.schedule import Resource
from salt_tune.space.search_space import SearchSpace
from salt_tune.ui.console import console

STATE_STYLES = {"running": "cyan", "finished": "green", "pruned": "yellow", "waiting": "dim", "paused": "dim"}

# Of each resource the name of a point and of an amount: "epoch 1" but "3 epochs".
UNITS: dict[Resource, tuple[str, str]] = {
    "epoch": ("epoch", "epochs"),
    "tflop": ("TFLOP", "TFLOP"),
    "second": ("second", "seconds"),
}


def short(value: Any) -> str:
    """A hyperparameter or a measure in three or four digits."""
    if isinstance(value, float):
        return f"{value:.3g}"
    return "-" if value is None else str(value)


def quantity(value: float) -> str:
    """A resource in four digits, or all that stand before the point."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def amount(value: float, resource: Resource) -> str:
    """A resource with its unit: 1 epoch, 0.5 epochs, 12,000 TFLOP."""
    return f"{quantity(value)} {UNITS[resource][value != 1]}"


def counted(number: int, what: str) -> str:
    """A number of things: 1 trial, 2 trials."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def heading(name: str) -> Text:
    """A column's name in short lines, so that a table of many columns fits a terminal."""
    shown = printable(name)
    return Text(re.sub(r" (?=[+-] )", "\n", shown) if " " in shown else shown.replace("_", "\n"))


class LiveTable:
    """Shows all trials while they run; use it as a context manager around the search.

    Args:
        records: the trials, by id; more may come.
        space: what is searched.
    """

    def __init__(self, records: dict[str, TrialRecord], space: SearchSpace) -> None:
        self._records, self._space = records, space
        self._parameters = tuple(space.searched())
        self._rungs = space.schedule.rung_points()
        self._training: set[str] = set()
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
        """A trial starts, or goes on; where it does so without a pause, rungs and whole epochs get a line."""
        told = record.id not in self._training or self._is_told(record.resource)
        self._training.add(record.id)
        if not told:
            return
        if not record.scores:
            given = record.proposal.parameters
            values = "  ".join(f"{name} {short(given[name])}" for name in self._parameters if name in given)
            self._say(record, f"starts    {values}")
            return
        ahead = [rung for rung in self._rungs if rung > record.resource] or [record.resource]
        self._say(record, f"goes on to {quantity(ahead[-1 if record.proposal.replicate_of else 0])}")

    def on_report(self, record: TrialRecord, report: dict[str, Any]) -> None:
        """A trial has reported; piped, rungs and whole epochs get a line."""
        resource, reached = self._space.schedule.resource, float(report["resource"])
        if self._is_told(reached) and record.value("val_loss") is not None:
            point = f"{UNITS[resource][0]} {quantity(reached)}"
            losses = f"val_loss {report['val_loss']:.4f}  val_r2 {report['val_r2']:.3f}"
            self._say(record, f"{point}   {losses}  {report['clips_per_second']:,.0f} clips/s")

    def on_end(self, record: TrialRecord) -> None:
        """A trial has paused or ended."""
        self._training.discard(record.id)
        if record.state == "paused":
            self._say(record, f"paused at {quantity(record.resource)}")
        elif record.state != "interrupted" or record.scores:
            reason = f": {record.error}" if record.error else ""
            trained = amount(record.resource, self._space.schedule.resource)
            self._say(record, f"{record.state} after {trained}{reason}")

    def _is_told(self, point: float) -> bool:
        return point in self._rungs or (self._space.schedule.resource == "epoch" and point.is_integer())

    def _say(self, record: TrialRecord, what: str) -> None:
        if self._live is None:
            console.print(f"{record.id:<4} {what}".rstrip())

    def _table(self) -> Table:
        table = Table(box=None, header_style="bold", pad_edge=False)
        table.add_column("trial")
        unit = UNITS[self._space.schedule.resource][1]
        for name in (*self._parameters, unit, self._space.objective.name, "clips/s"):
            table.add_column(heading(name), justify="right", no_wrap=True)
        table.add_column("state")
        for record in list(self._records.values()):  # a copy, as the search adds trials while this is drawn
            table.add_row(
                record.id,
                *(short(record.proposal.parameters.get(name)) for name in self._parameters),
                *self._measures(record),
                Text(record.state, STATE_STYLES.get(record.state, "red")),
            )
        return table

    def _measures(self, record: TrialRecord) -> list[str]:
        """How far a trial is, its objective, and its speed."""
        if not record.last:
            return ["-"] * 3
        objective = self._space.objective.value({**record.features, **record.last})
        measures = (objective, record.value("clips_per_second"))
        return [quantity(record.resource), *("-" if value is None else f"{value:.4g}" for value in measures)]
