"""What a page says of a run in words and tables: each section's facts, from the run directory alone."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from analysis.errors import RunError
from analysis.run_directory.paths import read_manifest
from analysis.tables.cost import cost
from analysis.tables.importance import importance
from analysis.tables.ranking import rank_stability, ranking, scores_at_rungs
from analysis.tables.run import Run
from analysis.tables.suggest import suggest
from analysis.text import printable
from salt_tune.report.cost import cost_lines
from salt_tune.report.encoder import difference
from salt_tune.report.leaderboard import next_lines
from salt_tune.report.losses import loss_lines
from salt_tune.report.page.provenance import has_manifest
from salt_tune.report.verdict import verdict_lines
from salt_tune.report.watch_out import warning_lines
from salt_tune.ui.format import amount, counted, duration, exact, number, quantity
from trainable.errors import UserError


@dataclass(frozen=True)
class Table:
    """A table on a page.

    Attributes:
        caption: what it is, in a few words.
        columns: headings; those of numbers end in a space.
        rows: cells as text; of a trial's row, the first one is its id.
        states: of the trials of the rows, where the page's filter applies.
        bold: places of the rows that stand out.
    """

    caption: str
    columns: list[str]
    rows: list[list[str]]
    states: list[str] = field(default_factory=list)
    bold: set[int] = field(default_factory=set)


def verdict(run: Run) -> list[str]:
    """Says what to promote and how sure that is; of a search that has not ended, what is ahead so far."""
    if run.over:
        return as_lines(lambda: verdict_lines(run.summary))
    done = counted(int((run.trials["state"] == "complete").sum()), "trial")
    if run.best is None:
        return ["This search has not ended. No trial has trained to its end yet."]
    values = ", ".join(
        f"{name} {number(value)}"
        for trial in run.summary["trials"] if trial["id"] == run.best
        for name, value in trial["parameters"].items()
    )  # fmt: skip
    return [f"This search has not ended. {done} trained to the end; {run.best} is ahead  {values}"]


def encoder(run: Run) -> list[str]:
    """Says what the encoders to choose from are worth beside an untrained one."""
    rows = {trial["id"]: trial for trial in run.summary["trials"]}
    names = run.summary["tied"] or [run.summary.get("recommended")]
    return [
        f"{name}: {rows[name]['verdict']}{difference(rows[name])}"
        for name in names if name in rows and rows[name]["verdict"] is not None
    ]  # fmt: skip


def losses(run: Run) -> list[str]:
    """Says what the winner's loss is worth."""
    return as_lines(lambda: loss_lines(run.summary))


def warnings(run: Run) -> list[str]:
    """Says what to watch out for."""
    return [line.strip() for line in as_lines(lambda: warning_lines(run.summary))] if run.over else []


def health(run: Run) -> list[str]:
    """Says how often gradients were clipped, and which trials diverged."""
    shares = run.reports.groupby("trial")["clipped_share"].mean().dropna()
    diverged = run.trials.loc[run.trials["state"] == "diverged", "trial"].tolist()
    said = [f"{', '.join(diverged)} diverged"] if diverged else []
    if len(shares):
        ends = f"{shares.min():.0%} to {shares.max():.0%}" if shares.min() < shares.max() else f"{shares.max():.0%}"
        said.append(f"gradients were clipped in {ends} of a trial's steps")
    return said


def next_steps(run: Run) -> list[str]:
    """Returns the commands that go on from here."""
    return as_lines(lambda: next_lines(run.directory, run.summary)) if run.over else []


def as_lines(say: Callable[[], Iterable[str]]) -> list[str]:
    """Collects lines; where the run's task cannot be asked, such as one of a package that is not here, says so."""
    try:
        return [*say()]
    except (UserError, RunError, KeyError) as error:
        return [f"not known here: {error}"]


def ranked(run: Run) -> Table:
    """Tabulates the configurations, best first."""
    table = ranking(run)
    names = [f"config.{name}" if f"config.{name}" in table else name for name in run.parameters]
    columns = ["trial", "rank ", "state", *(f"{name} " for name in run.parameters), f"{run.resource}s ",
               f"{run.metric} ", "95% ", "behind, 95% ", "seeds ", "probe ", "eff. rank ", "verdict"]  # fmt: skip
    rows = [
        [
            f"{row['trial']}{'*' if row['start'] else ''}",
            number(None if pd.isna(row["rank"]) else int(row["rank"])),
            row["state"].replace("_", " "),
            *(_shown(row[name]) for name in names),
            quantity(row["resource"]),
            exact(_known(row["value"])),
            _interval(row["low"], row["high"]),
            _behind(row),
            number(row["seeds"]) if row["seeds"] else "-",
            "-" if pd.isna(row["probe_top1"]) else f"{row['probe_top1']:.1%}",
            "-" if pd.isna(row["effective_rank"]) else f"{row['effective_rank']:.1f}",
            "-" if pd.isna(row["verdict"]) else row["verdict"],
        ]
        for row in table.to_dict("records")
    ]
    bold = {place for place, chosen in enumerate(table["recommended"]) if chosen}
    start = "; * your own start" if table["start"].any() else ""
    caption = f"{counted(len(rows), 'configuration')}, best first; in bold the one to promote{start}"
    return Table(caption, columns, clean(rows), table["state"].tolist(), bold)


def caveat(run: Run) -> list[str]:
    """Says what to beware of where parameters are said to matter."""
    table = importance(run)
    if table.empty:
        return ["Too few trials can be compared to say which parameter matters."]
    said = table["caveat"].iloc[0]
    return [f"Beware: {said}."] if said else []


def suggestions(run: Run) -> Table:
    """Tabulates what another search should draw from."""
    table = suggest(run)
    rows = [
        [row["parameter"], row["action"], _extent(row, ""), _extent(row, "new_"), row["reason"], row["settings"]]
        for row in table.to_dict("records")
    ]
    columns = ["parameter", "suggestion", "searched", "search next", "why", "--set"]
    return Table("Suggested ranges of another search", columns, clean(rows))


def stability(run: Run) -> Table:
    """Tabulates how far the order at each rung holds."""
    rows = [
        [quantity(row["rung"]), quantity(row["deepest"]), number(row["trials"]), _two(row["spearman"]),
         _interval(row["low"], row["high"], ".2f"), row["conclusion"]]
        for row in rank_stability(run).to_dict("records")
    ]  # fmt: skip
    columns = ["rung ", "deepest rung ", "trials ", "Spearman ", "95% ", "conclusion"]
    return Table("Rank correlation of each rung with the deepest one", columns, rows)


def at_rungs(run: Run) -> Table:
    """Tabulates the score of each configuration at each rung."""
    scores = scores_at_rungs(run)
    states = run.trials.set_index("trial")["state"]
    sign = 1.0 if run.mode == "min" else -1.0
    rows = [[str(name), *(exact(_known(sign * each)) for each in row)] for name, row in zip(
        scores.index, scores.to_numpy("float64").tolist(), strict=True)]  # fmt: skip
    columns = ["trial", *(f"{amount(float(rung), run.resource)} " for rung in run.summary["rungs"])]
    return Table(f"{run.metric} at each rung", columns, clean(rows), [str(states[row[0]]) for row in rows])


def spent(run: Run) -> Table:
    """Tabulates what trials of each state took."""
    table = cost(run)
    sums = table.groupby("state").sum(numeric_only=True)
    counts = table["state"].value_counts()
    sums.loc["all"] = sums.sum()
    rows = [
        [str(state).replace("_", " "), str(counts.get(state, len(table))), quantity(row["resource"]),
         quantity(row["saved"]), *(duration(row[f"{name}_seconds"]) for name in
                                   ("training", "evaluating", "loading", "starting"))]
        for state, row in sums.iterrows()
    ]  # fmt: skip
    columns = ["state", "trials ", f"{run.resource}s ", "spared ", "training ", "evaluating ", "loading ", "starting "]
    return Table("What the trials took, by state", columns, rows)


def cost_in_words(run: Run) -> list[str]:
    """Says what the search took, beside what it would have taken without pruning."""
    concurrent = read_manifest(run.directory).get("resources", {}).get("concurrent") if has_manifest(run) else None
    return as_lines(lambda: cost_lines(run.summary, concurrent))


def clean(rows: list[list[str]]) -> list[list[str]]:
    """Returns cells in which every control character is visible."""
    return [[printable(str(cell)) for cell in row] for row in rows]


def _known(value: float) -> float | None:
    return None if pd.isna(value) else value


def _shown(value: Any) -> str:
    return "-" if not isinstance(value, list | dict) and pd.isna(value) else number(value)


def _two(value: float) -> str:
    return "-" if pd.isna(value) else f"{value:.2f}"


def _interval(low: float, high: float, digits: str = ".4f") -> str:
    return "-" if pd.isna(low) or pd.isna(high) else f"{low:{digits}} to {high:{digits}}"


def _behind(row: dict[Any, Any]) -> str:
    if pd.isna(row["behind"]):
        return "-"
    early = " (earlier rung)" if row["conclusion"] == "compared at an earlier rung" else f" {row['conclusion']}"
    return f"{row['behind']:+.4f} [{row['behind_low']:.4f}, {row['behind_high']:.4f}]{early}"


def _extent(row: dict[Any, Any], prefix: str) -> str:
    if not pd.isna(row[f"{prefix}values"]):
        return str(row[f"{prefix}values"])
    return f"{row[f'{prefix}low']:.3g} to {row[f'{prefix}high']:.3g}"
