"""Tables of pandas on a terminal, and as JSON; imported by the commands that look at runs."""

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from analysis.text import printable, shortened
from salt_tune.ui.console import console
from salt_tune.ui.format import heading, number
from salt_tune.ui.tables import fitting_table

if TYPE_CHECKING:
    import pandas as pd

    from analysis import Run

LONGEST = 60  # letters of a cell
JSON = "Print JSON; docs/runs.md has the fields."

Row = Mapping[str, Any]


def load_run(path: Path) -> "Run":
    """Loads a run; what `analysis` warns of is a line on the standard error.

    Raises:
        RunError: see `analysis.load`.
    """
    import analysis  # loads pandas, which most commands do without

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        run = analysis.load(path)
    for warning in told:
        click.echo(f"warning: {printable(str(warning.message))}", err=True)  # beside what may be JSON
    return run


def rows_of(table: "pd.DataFrame") -> list[dict[str, Any]]:
    """Returns the rows of a table as JSON has them: what is missing is null, times are ISO 8601."""
    text = table.to_json(orient="records", date_format="iso", double_precision=15)
    rows: list[dict[str, Any]] = json.loads(text)
    return rows


def print_json(content: Any) -> None:
    """Prints one JSON value."""
    click.echo(json.dumps(content, indent=2))


def print_rows(rows: Sequence[Row], keep: Mapping[str, float | None]) -> None:
    """Prints rows as a table, with as many columns as there is room for.

    Args:
        rows: one mapping a row.
        keep: of each column, in order, what it is worth; see `fitting_table`. Those that no row has are left out.
    """
    worth = {name: value for name, value in keep.items() if any(row.get(name) not in (None, "") for row in rows)}

    def make(columns: Sequence[str]) -> Table:
        table = Table(box=None, header_style="bold", pad_edge=False)
        for name in columns:
            numeric = all(isinstance(row.get(name), int | float | None) for row in rows)
            table.add_column(heading(name), justify="right" if numeric else "left", no_wrap=numeric)
        for row in rows:
            table.add_row(*(_cell(row.get(name)) for name in columns))
        return table

    console.draw(fitting_table(console, make, worth)[0])


def print_facts(facts: Mapping[str, Any]) -> None:
    """Prints facts a line each, those that are known."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(overflow="fold")
    for name, fact in facts.items():
        if fact not in (None, "", [], {}):
            grid.add_row(name.replace("_", " "), fact if isinstance(fact, str) else number(fact, 4))
    console.draw(grid)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return shortened(number(value, digits=4), LONGEST)
