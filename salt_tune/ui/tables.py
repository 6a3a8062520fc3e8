"""Tables that fit the terminal."""

from collections.abc import Callable, Mapping, Sequence

from rich.console import Console
from rich.table import Table

from salt_tune.ui.console import UNLIMITED


def fitting_table(
    console: Console, make: Callable[[Sequence[str]], Table], keep: Mapping[str, float | None]
) -> tuple[Table, list[str]]:
    """Makes the table with as many columns as the console has room for.

    Args:
        console: where it will be printed.
        make: makes it with some of the columns.
        keep: of each column, in order, what it is worth: the lowest is left out first; None: never.

    Returns:
        The table, and the columns that were left out.
    """
    columns, left_out = list(keep), list[str]()
    unlimited = console.options.update(max_width=UNLIMITED)
    dispensable = [(worth, name) for name, worth in keep.items() if worth is not None]
    for _, name in sorted(dispensable, key=lambda column: column[0]):
        table = make(columns)
        if table.__rich_measure__(console, unlimited).maximum <= console.width:
            return table, left_out
        columns.remove(name)
        left_out.append(name)
    return make(columns), left_out
