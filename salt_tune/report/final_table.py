"""How good a promoted model is, for people: a table on the console and in the model card, and a verdict.

All of it follows from the content of `evaluation.json`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from analysis.verdict import BESIDE, MODELS
from salt_tune.ui.console import console
from salt_tune.ui.format import heading, number
from salt_tune.ui.tables import fitting_table
from trainable.metrics import Metric, interval_fields
from trainable.worker import FinalTable

PROBED: Final = "probe_top1"  # what the search's verdict goes by, beside the attentive probe's
ABOUT: Final = "How good the encoder is, on the same clips for all, with 95% intervals"

CARD: Final = """
## How good it is

{about}.

{table}

{lines}
"""


def print_final_table(evaluation: FinalTable, metrics: Mapping[str, Metric]) -> None:
    """Prints what the table is, the table, what is not in it, and the verdict.

    Args:
        evaluation: the content of evaluation.json.
        metrics: of the task.
    """
    console.print()
    console.print(ABOUT)
    keep = {name: metrics[name].keep for name in evaluation["columns"]}
    table, left_out = fitting_table(console, lambda columns: _table(evaluation, columns), keep)
    console.print(table)
    if left_out:
        console.print(f"(too narrow for {', '.join(left_out)})")
    for line in evaluation_lines(evaluation):
        console.print(line)
    console.print()


def final_section(evaluation: FinalTable) -> str:
    """Returns the section of a model card."""
    columns = evaluation["columns"]
    rows = [["", *columns], ["---"] * (1 + len(columns)), *table_rows(evaluation)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return CARD.format(about=ABOUT, table=table, lines="\n".join(f"{line}." for line in evaluation_lines(evaluation)))


def table_rows(evaluation: FinalTable) -> list[list[str]]:
    """Returns the rows of the table as text: what people call a row, then its value of each of `columns`."""
    return [[name, *(_cell(row, column, " ") for column in evaluation["columns"])] for name, row in _rows(evaluation)]


def evaluation_lines(evaluation: FinalTable) -> Iterator[str]:
    """Says what is not in the table, and why; then the verdict."""
    for reason in dict.fromkeys(evaluation["left_out"].values()):
        names = [name for name, why in evaluation["left_out"].items() if why == reason]
        yield f"Without {', '.join(names)}: {reason}"
    for name, note in evaluation["notes"].items():
        yield f"{MODELS[name]}: {note}"
    called = {**MODELS, **BESIDE}
    yield f"This model is {'; '.join(_compared(called[name], found) for name, found in evaluation['verdict'].items())}"
    if PROBED in evaluation["rows"]["model"] and any(
        found and PROBED not in found["metrics"] for found in evaluation["verdict"].values()
    ):
        probed = {name: found.get(PROBED) for name, found in evaluation["differences"].items()}
        said = (_compared(called[name], {"metrics": [PROBED], **found}) for name, found in probed.items() if found)
        yield f"As the search judges, it is {'; '.join(said)}"


def _compared(rival: str, found: Mapping[str, Any] | None) -> str:
    """Says how the model compares with a rival: what is shown, by how much, and in what."""
    if found is None:
        return f"not compared with {rival}, as no accuracy of both was measured"
    names = " and ".join(found["metrics"])
    if found["low"] > 0:
        return f"better than {rival} by {_interval(found['mean'], found['low'], found['high'])} in {names}"
    if found["high"] < 0:
        return f"worse than {rival} by {_interval(-found['mean'], -found['high'], -found['low'])} in {names}"
    return f"not shown to be better than {rival}: {_interval(found['mean'], found['low'], found['high'])} in {names}"


def _interval(mean: float, low: float, high: float) -> str:
    mean, low, high = (round(value, 3) + 0.0 for value in (mean, low, high))  # + 0.0: no "-0.0"
    return f"{mean:.3f} [{low:.3f}, {high:.3f}]"


def _rows(evaluation: FinalTable) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Returns the rows by what people call them, the models first."""
    for name, label in {**MODELS, "untrained": "", **BESIDE}.items():
        if name in evaluation["rows"]:
            yield label, evaluation["rows"][name]


def _table(evaluation: FinalTable, columns: Sequence[str]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("", no_wrap=True)
    for name in columns:
        table.add_column(heading(name), justify="right", no_wrap=True)
    for label, row in _rows(evaluation):
        table.add_row(label, *(Text(_cell(row, name, "\n")) for name in columns))
    return table


def _cell(row: Mapping[str, Any], name: str, between: str) -> str:
    """Returns a value, and its interval behind or below it."""
    value, low, high = (row.get(field) for field in (name, *interval_fields(name)))
    if value is None or low is None or high is None:
        return number(value)
    return f"{value:.3f}{between}[{low:.2f}, {high:.2f}]"
