"""What is printed of a search at its end: section by section, with the ranked table among the losses."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table

from analysis.run_directory.paths import RunDirectory
from analysis.run_directory.trials import START
from salt_tune.report.cost import cost_lines
from salt_tune.report.encoder import encoder_lines
from salt_tune.report.losses import loss_lines, pareto_table, value_of
from salt_tune.report.verdict import verdict_lines
from salt_tune.report.watch_out import warning_lines
from salt_tune.ui.console import console
from salt_tune.ui.format import UNITS, exact, heading, number, quantity, shell_command
from salt_tune.ui.tables import fitting_table
from trainable.metrics import Metric, computed
from trainable.task import find_task


def print_summary(run: RunDirectory, summary: dict[str, Any], *, concurrent: int | None = None) -> None:
    """Prints what to promote and why, the ranked table, what to watch out for, the cost, and what comes next.

    Args:
        run: what was searched.
        summary: the content of its summary.json.
        concurrent: how many trials ran at a time, where it is known.
    """
    for trial in summary["trials"]:
        if trial["error"]:
            console.print(f"{trial['id']} {trial['state']}: {trial['error']}")
    console.print()
    _section("VERDICT", verdict_lines(summary))
    _section("GOOD ENCODER?", encoder_lines(summary))
    _section("LOSSES", loss_lines(summary))
    _print_table(summary)
    if summary["pareto"]:
        console.print("Beaten by none in both objectives:")
        console.print(pareto_table(summary))
        console.print()
    _section("WATCH OUT", warning_lines(summary))
    _section("COST", (*cost_lines(summary, concurrent), f"all of it: {run.path}"))
    _section("NEXT", next_lines(run, summary))


def _section(name: str, lines: Iterable[str]) -> None:
    """Prints a section, its lines indented; nothing where it has none."""
    if written := [*lines]:
        console.print(name)
        for line in written:
            console.print(f"  {line}")
        console.print()


def _print_table(summary: dict[str, Any]) -> None:
    table, left_out = _fitting_table(summary)
    console.print(table)
    if any(trial["origin"] == START for trial in summary["trials"]):
        console.print("* your own start, from start_from")
    if left_out:
        console.print(f"(too narrow for {', '.join(left_out)})")
    console.print()


def next_lines(run: RunDirectory, summary: dict[str, Any]) -> Iterator[str]:
    """Says which commands go on from here."""
    if summary["recommended"] and not summary["nothing_to_promote"]:
        yield shell_command("salt_tune.promote", run.path)
        if len(summary["tied"]) > 1:
            more = shell_command("salt_tune.search", "--resume", run.path, "--replicates", "auto")
            yield f"{more}  (to tell the tied apart)"
    elif summary["recommended"]:
        yield f"{shell_command('salt_tune.promote', run.path, '--anyway')}  (in spite of the verdict)"


def _fitting_table(summary: dict[str, Any]) -> tuple[Table, list[str]]:
    """Returns the table, and the columns that the terminal had no room for."""
    metrics = find_task(summary["task"]).metrics
    columns = [
        name for name in computed(among=metrics) if any(trial.get(name) is not None for trial in summary["trials"])
    ]
    keep = {name: metrics[name].keep if name != summary["objective"]["metric"] else None for name in columns}
    table, left_out = fitting_table(console, lambda names: _table(summary, names, metrics), keep)
    return table, [_shown(name, metrics) for name in left_out]


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
            f"{trial['id']}*" if trial["origin"] == START else trial["id"],
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
