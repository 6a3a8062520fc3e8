"""What is shown of a search while it runs: how far it is, the running trials, and the ranking as far as there is room.

It fits the terminal whatever its size: columns are left out by what they are worth, rows from the end of the ranking.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from rich.console import Console, ConsoleDimensions, ConsoleOptions, RenderResult
from rich.control import Control
from rich.table import Table
from rich.text import Text

from analysis.text import shortened
from analysis.verdict import Verdict
from salt_tune.ui.format import UNITS, exact, heading, number, quantity
from salt_tune.ui.progress_lines import final_lines, search_lines
from salt_tune.ui.tables import fitting_table

Facts = Mapping[str, Any]

STYLES: Final = {"running": "cyan", "complete": "green", "pruned": "yellow", "waiting": "dim", "paused": "dim"}
# In a column of its own; the best trial's stands above in full.
VERDICTS: Final[Mapping[str | None, str]] = {
    Verdict.BETTER: "better", Verdict.NOT_SHOWN: "not shown", Verdict.WORSE: "worse",
}  # fmt: skip
LEAST_ROWS: Final = 3  # of trials, whatever the height
LONGEST_VALUE: Final = 16  # letters of a hyperparameter
# What the columns are worth beside hyperparameters, the dearest last: the first are left out first. None: never.
WORTH: Final[Mapping[str, int | None]] = {
    "trial": None, "state": None, "at": 100, "objective": None, "verdict": 95, "probe": 90, "clips/s": 60,
}  # fmt: skip


class RunScreen:
    """Draws a run anew each time that it is printed, as wide and as high as there is room.

    Args:
        facts: returns what `salt_tune.status` shows of a search or of a promoted run, as docs/run-directory.md has it.
        rows: at most, of a search's trials; None: as many as the height allows.
    """

    def __init__(self, facts: Callable[[], Facts], rows: int | None = None) -> None:
        self._facts, self._rows = facts, rows
        self._size: ConsoleDimensions | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draws it; see rich's protocol."""
        facts = _as_it_is(self._facts())
        if console.is_terminal and self._size not in (None, console.size):  # what was drawn has been broken up
            yield Control.clear()
            yield Control.home()
        self._size = console.size
        if facts["kind"] == "final":
            yield _lines(final_lines(facts))
            return
        head = self._head(console, options, facts)
        yield head
        if not facts["ranking"]:
            return
        table, left_out = _fitting(console, facts, facts["ranking"][:LEAST_ROWS])
        rows = self._rows
        if rows is None:
            above = len(console.render_lines(head, options)) + _height_of_heading(table)
            rows = max(LEAST_ROWS, console.height - above - 3)  # a blank line, the last one, and the prompt's
        shown, hidden = facts["ranking"][:rows], facts["ranking"][rows:]
        yield Text("")
        yield _fitting(console, facts, shown)[0]
        if hidden:
            counts = Counter(row["state"] for row in hidden)
            yield Text(f"{len(hidden)} more: {', '.join(f'{count} {state}' for state, count in counts.items())}", "dim")
        elif left_out:
            yield Text(f"no room for {', '.join(left_out)}", "dim", overflow="ellipsis", no_wrap=True)

    def _head(self, console: Console, options: ConsoleOptions, facts: Facts) -> Table:
        """Returns the lines above the table, without some where they would fill half of the screen."""
        lines = [*search_lines(facts)]
        for about in ("report", "trials", "spent", "final"):
            head = _lines(lines)
            if self._rows is not None or len(console.render_lines(head, options)) <= console.height // 2:
                return head
            lines = [line for line in lines if line[0] != about]
        return _lines(lines)


def _as_it_is(facts: Facts) -> Facts:
    """Says of trials that were running when their search was left that they were interrupted."""
    if facts["running"] or "ranking" not in facts:
        return facts
    states = {"running": "interrupted"}
    return {**facts, "ranking": [{**row, "state": states.get(row["state"], row["state"])} for row in facts["ranking"]]}


def _lines(lines: Iterable[tuple[str, str]]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(overflow="fold")
    for about, line in lines:
        grid.add_row(about, line)
    return grid


def _fitting(console: Console, facts: Facts, rows: Sequence[Facts]) -> tuple[Table, list[str]]:
    """Makes the table of these trials with as many columns as there is room for."""
    metric, unit = rows[0]["metric"], UNITS[facts["spent"]["resource"]][1]
    parameters = [*dict.fromkeys(name for row in facts["ranking"] for name in row["parameters"])]
    known = {
        "probe": any(row["probe_top1"] is not None for row in facts["ranking"]),
        "verdict": any(row["verdict"] is not None for row in facts["ranking"]),
    }
    keep: dict[str, float | None] = {name: worth for name, worth in WORTH.items() if known.get(name, True)}
    # The first parameters of a space matter most: they go last.
    keep |= {f"={name}": 80 - place / len(parameters) for place, name in enumerate(parameters)}
    titles = {"objective": metric, "at": unit, "probe": "probe_top1"}

    def make(columns: Sequence[str]) -> Table:
        table = Table(box=None, header_style="bold", pad_edge=False)
        for name in columns:
            left = name in ("trial", "state", "verdict")
            title = heading(titles.get(name, name.removeprefix("=")))
            table.add_column(title, justify="left" if left else "right", no_wrap=True)
        for row in rows:
            table.add_row(*(_cell(row, name) for name in columns))
        return table

    table, left_out = fitting_table(console, make, keep)
    return table, [name.removeprefix("=") for name in left_out]


def _cell(row: Facts, column: str) -> Text | str:
    match column:
        case "trial":
            return str(row["trial"])
        case "state":
            state = str(row["state"]).replace("_", " ")
            return Text(state, STYLES.get(row["state"], "red"))
        case "at":
            going = row["state"] == "running" and row["milestone"] > row["resource"]
            return f"{quantity(row['resource'])}/{quantity(row['milestone'])}" if going else quantity(row["resource"])
        case "objective":
            return exact(row["value"])
        case "probe":
            return "-" if row["probe_top1"] is None else f"{row['probe_top1']:.1%}"
        case "verdict":
            return VERDICTS.get(row["verdict"], row["verdict"]) or "-"
        case "clips/s":
            return number(row["clips_per_second"]) if row["state"] == "running" else "-"
        case _:
            value = row["parameters"].get(column.removeprefix("="))
            return shortened(number(value), LONGEST_VALUE)


def _height_of_heading(table: Table) -> int:
    return max(str(column.header).count("\n") + 1 for column in table.columns)
