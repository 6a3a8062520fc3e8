"""What is printed of a search at its end: the ranked table, the conclusions, where everything lies."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from analysis.run_directory.paths import RunDirectory
from salt_tune.report.conclusions import (
    cost_lines,
    no_winner_lines,
    pareto_table,
    reliability_lines,
    value_of,
    winner_lines,
)
from salt_tune.ui.console import console
from salt_tune.ui.format import UNITS, exact, heading, number, quantity, shell_command
from trainable.metrics import Metric, computed
from trainable.task import find_task


def print_summary(run: RunDirectory, summary: dict[str, Any], *, concurrent: int | None = None) -> None:
    """Prints the ranked table, the winner and why, the cost, and where everything lies.

    Args:
        run: what was searched.
        summary: the content of its summary.json.
        concurrent: how many trials ran at a time, where it is known.
    """
    table, left_out = _fitting_table(summary)
    console.print(table)
    if left_out:
        console.print(f"(too narrow for {', '.join(left_out)})")
    for trial in summary["trials"]:
        if trial["error"]:
            console.print(f"{trial['id']} {trial['state']}: {trial['error']}")
    console.print()
    for line in winner_lines(summary) if summary["best"] else no_winner_lines(summary):
        console.print(line)
    if summary["pareto"]:
        console.print("Beaten by none in both objectives:")
        console.print(pareto_table(summary))
    for line in (*reliability_lines(summary), *cost_lines(summary, concurrent)):
        console.print(line)
    console.print(f"All of it: {run.path}")
    if summary["best"]:
        console.print(f"Next: {shell_command('salt_tune.promote', run.path)}")


def _fitting_table(summary: dict[str, Any]) -> tuple[Table, list[str]]:
    """Returns the table, and the columns that the terminal had no room for."""
    metrics = find_task(summary["task"]).metrics
    columns = [
        name for name in computed(among=metrics) if any(trial.get(name) is not None for trial in summary["trials"])
    ]
    left_out: list[str] = []
    unlimited = console.options.update(max_width=10_000)
    keep = {name: metrics[name].keep for name in columns}
    dispensable = [(worth, name) for name, worth in keep.items() if worth is not None]
    for _, name in sorted(dispensable, key=lambda column: column[0]):
        table = _table(summary, columns, metrics)
        if table.__rich_measure__(console, unlimited).maximum <= console.width:
            return table, left_out
        if name != summary["objective"]["metric"]:
            columns.remove(name)
            left_out.append(_shown(name, metrics))
    return _table(summary, columns, metrics), left_out


def _table(summary: dict[str, Any], columns: Sequence[str], metrics: Mapping[str, Metric]) -> Table:
    """Tabulates all trials: best first, replicates below what they repeat, then those that have no rank."""
    parameters, metric, unit = summary["parameters"], summary["objective"]["metric"], UNITS[summary["resource"]][1]
    named = () if metric in columns else (metric,)
    erring = {name: metric.error_of for name, metric in metrics.items() if metric.error_of}
    precise = {*erring, *erring.values()}
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("rank", "trial", *parameters, unit, *named, *(_shown(name, metrics) for name in columns)):
        table.add_column(heading(name), justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    ranks = {trial["id"]: trial["rank"] or len(summary["trials"]) + 1 for trial in summary["trials"]}
    for trial in sorted(summary["trials"], key=lambda trial: ranks[trial["replicate_of"] or trial["id"]]):
        table.add_row(
            number(trial["rank"]),
            trial["id"],
            *(number(trial["parameters"].get(name)) for name in parameters),
            quantity(trial["resource"]),
            *(exact(value_of(trial, summary)) for _ in named),
            *(exact(trial.get(name)) if name in precise else number(trial.get(name)) for name in columns),
            trial["state"],
        )
    return table


def _shown(name: str, metrics: Mapping[str, Metric]) -> str:
    """Returns what stands above a metric's column."""
    return "+-" if metrics[name].error_of else name
