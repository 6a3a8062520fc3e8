"""What a search found: `summary.json` (see docs/run-directory.md), and the ranked table on the console."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from analysis.run_directory.paths import FORMAT_VERSION, RunDirectory
from analysis.run_directory.ranking import ranking
from analysis.run_directory.trial_row import measures_of, trial_row
from analysis.run_directory.trials import Trial
from salt_tune.callbacks.live_table import UNITS, heading, quantity, short
from salt_tune.options import shell_command
from salt_tune.report.conclusions import (
    cost_lines,
    no_winner_lines,
    pareto_table,
    reliability_lines,
    value_of,
    winner_lines,
)
from salt_tune.space.description import describe
from salt_tune.space.search_space import SearchSpace
from salt_tune.ui.console import console
from trainable.evaluate.baselines import References
from trainable.files import write_json
from trainable.metrics import METRICS, computed


def write_summary(
    run: RunDirectory,
    space: SearchSpace,
    trials: Sequence[Trial],
    *,
    store: dict[str, Any],
    references: References,
    seed: int,
    wall_seconds: float,
    over: bool,
) -> dict[str, Any]:
    """Writes summary.json and returns its content.

    Args:
        run: where to.
        space: what was searched.
        trials: all trials, replicates included, in the order of their start.
        store: what is remembered of the clip store.
        references: what predictors get that learned nothing.
        seed: of the search.
        wall_seconds: that it took.
        over: nothing was left to do, so that no paused trial will go on.
    """
    from analysis.statistics.comparison import seed_noise  # with pandas, which takes most of a second
    from salt_tune.report import comparisons

    ranked, schedule = ranking(trials), space.schedule
    scores = comparisons.scores_by_seed(ranked, trials)
    finalists = comparisons.finalists(scores)
    order = list(dict.fromkeys([*(each.id for each in finalists), *(trial.id for trial in ranked)]))
    ranks = {trial: place for place, trial in enumerate(order, start=1)}
    best = next((trial for trial in order if trial in scores), None)
    against_winner = comparisons.AgainstWinner(run, schedule.rung_points(), best)
    noise, against = seed_noise(scores), space.against
    description = describe(space)
    measures = measures_of(description["metrics"])
    summary = {
        "format_version": FORMAT_VERSION,
        "name": run.path.name,
        "store": store,
        "references": references.to_dict(),
        "seed": seed,
        **description,
        "trials": [
            trial_row(trial, trial.state.at_exit(over), ranks.get(trial.id), measures, against_winner(trial.id))
            for trial in trials
        ],
        "best": best,
        "finalists": [asdict(each) for each in finalists],
        "rung_correlations": [asdict(each) for each in comparisons.rung_correlations(trials, schedule.rung_points())],
        "seed_noise": noise and asdict(noise),
        "pareto": against and comparisons.pareto(ranked, against),
        "resource_trained": sum(trial.resource for trial in trials),
        "resource_without_pruning": len(trials) * schedule.full,
        "training_seconds": sum(trial.value("training_seconds") or 0.0 for trial in trials),
        "wall_seconds": wall_seconds,
    }
    write_json(run.summary, summary)
    return summary


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
    """The table, and the columns that the terminal had no room for."""
    columns = [*computed()]
    left_out: list[str] = []
    unlimited = console.options.update(max_width=10_000)
    dispensable = [(metric.keep, name) for name, metric in computed().items() if metric.keep is not None]
    for _, name in sorted(dispensable, key=lambda column: column[0]):
        table = _table(summary, columns)
        if table.__rich_measure__(console, unlimited).maximum <= console.width:
            return table, left_out
        if name != summary["objective"]["metric"]:
            columns.remove(name)
            left_out.append(_shown(name))
    return _table(summary, columns), left_out


def _table(summary: dict[str, Any], columns: Sequence[str]) -> Table:
    """All trials: best first, replicates below what they repeat, then those that have no rank."""
    parameters, metric, unit = summary["parameters"], summary["objective"]["metric"], UNITS[summary["resource"]][1]
    named = () if metric in computed() else (metric,)
    exact = {name for name, facts in METRICS.items() if facts.error_of} | {facts.error_of for facts in METRICS.values()}
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("rank", "trial", *parameters, unit, *named, *map(_shown, columns)):
        table.add_column(heading(name), justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    ranks = {trial["id"]: trial["rank"] or len(summary["trials"]) + 1 for trial in summary["trials"]}
    for trial in sorted(summary["trials"], key=lambda trial: ranks[trial["replicate_of"] or trial["id"]]):
        table.add_row(
            short(trial["rank"]),
            trial["id"],
            *(short(trial["parameters"].get(name)) for name in parameters),
            quantity(trial["resource"]),
            *(_exact(value_of(trial, summary)) for _ in named),
            *(_exact(trial.get(name)) if name in exact else short(trial.get(name)) for name in columns),
            trial["state"],
        )
    return table


def _shown(name: str) -> str:
    """What stands above a metric's column."""
    return "+-" if METRICS[name].error_of else name


def _exact(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
