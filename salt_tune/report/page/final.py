"""What a page says of the promoted runs of a search: what was promoted, how it went on, and what came of it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from analysis import charts
from analysis.errors import RunError
from analysis.run_directory.lines import read_lines
from analysis.run_directory.paths import FinalDirectory
from analysis.run_directory.promotions import read_evaluation, read_promotion
from analysis.tables.run import Run
from analysis.text import printable
from salt_tune.report.final_table import ABOUT, evaluation_lines, table_rows
from salt_tune.report.page.facts import Table, as_lines, clean
from salt_tune.report.page.figures import Figure, Figures
from salt_tune.report.prediction import Prediction
from salt_tune.report.promoted import result_lines
from salt_tune.report.verdict import certainty
from salt_tune.ui.format import duration, number, quantity
from trainable.errors import UserError
from trainable.task import find_task

Facts = Callable[[FinalDirectory], Mapping[str, Any]]
"""See `salt_tune.runs.facts.final_facts`."""


@dataclass(frozen=True)
class FinalRun:
    """A promoted run on a page.

    Attributes:
        name: of its folder.
        state: a word on where it stands.
        lines: what was promoted, how it went on, and what came of it.
        figures: its charts.
        tables: how good its model is; none: not measured.
        goes_on: the command that goes on with it; empty: there is none.
        folder: where its model lies; empty: there is none yet.
        how: a line that loads it; empty: there is none.
        error: what ended it, where that is more than a line.
    """

    name: str
    state: str
    lines: Sequence[str]
    figures: Sequence[Figure]
    tables: Sequence[Table]
    goes_on: str
    folder: str
    how: str
    error: str


def final_runs(identity: str, run: Run, figures: Figures, facts: Facts) -> list[FinalRun]:
    """Returns the promoted runs of a search.

    Args:
        identity: begins the ids of their charts.
        run: the search.
        figures: takes the charts.
        facts: says where each stands.
    """
    found = []
    for number_, final in enumerate(run.directory.finals()):
        try:
            found.append(_final(f"{identity}-final{number_}", run, final, figures, facts(final)))
        except RunError as error:
            figures.problems.append(printable(str(error)))
    return found


def _final(identity: str, run: Run, final: FinalDirectory, figures: Figures, facts: Mapping[str, Any]) -> FinalRun:
    name, error = final.path.name, facts["error"] or ""
    evaluation, finished = read_evaluation(final), final.card.is_file()
    drawn = [
        *figures.add(f"{identity}-curve", partial(charts.final_curve, run, name), "half"),
        *figures.add(f"{identity}-probes", partial(charts.final_probes, run, name), "half"),
    ]
    lines, tables = as_lines(lambda: _story(run, final, facts)), []
    if evaluation is not None:
        lines += evaluation_lines(evaluation)
        columns = ["encoder", *(f"{column} " for column in evaluation["columns"])]
        tables = [Table(ABOUT, columns, clean(table_rows(evaluation)))]
    return FinalRun(
        name=name,
        state="failed" if error else str(facts["state"]),
        lines=[printable(line) for line in lines],
        figures=drawn,
        tables=tables,
        goes_on=printable(facts["goes_on"] or ""),
        folder=printable(str(final.path)) if finished else "",
        how=_how(run, final) if finished else "",
        error="\n".join(map(printable, error.splitlines())) if "\n" in error else "",
    )


def _story(run: Run, final: FinalDirectory, facts: Mapping[str, Any]) -> Iterator[str]:
    """Says what was promoted, how it went on, and what it came to beside what was predicted."""
    told = read_promotion(final) or {}
    trial = next((row for row in run.summary["trials"] if row["id"] == final.trial), None)
    values = "" if trial is None else ", ".join(f"{name} {number(each)}" for name, each in trial["parameters"].items())
    yield f"{final.trial} of {run.directory.path.name}  {values}"
    if trial is not None and run.over:
        yield from certainty(run.summary, trial)
    trunk, beginning = told.get("trunk_epochs", 0.0), told.get("beginning")
    begun = f", {beginning}" if beginning else ""
    cooled = f"; its rate falls from epoch {quantity(trunk)} on" if 0 < trunk < final.epochs else ""
    yield f"{quantity(final.epochs)} epochs{begun}{cooled}"
    predicted = told.get("predicted") and Prediction(**told["predicted"])
    if not final.card.is_file():
        yield from _unfinished(final, facts, predicted)
    elif trial is not None and (reports := read_lines(final.reports, live=True)):
        metrics = find_task(run.summary["task"]).metrics
        yield from result_lines(trial, final.epochs, reports[-1], metrics, predicted)


def _unfinished(final: FinalDirectory, facts: Mapping[str, Any], predicted: Prediction | None) -> Iterator[str]:
    """Says how far a run is that has no model yet, and what ended it."""
    trained = final.epochs <= facts["epoch"]
    at = "trained to the end, and its model is not measured yet" if trained else f"at epoch {quantity(facts['epoch'])}"
    left = f"; about {duration(facts['seconds_left'])} of training left" if facts["seconds_left"] else ""
    yield f"Not finished ({facts['state']}): {at}{left}"
    if facts["error"]:
        yield f"An error ended it: {facts['error'].splitlines()[-1]}"
    if predicted is not None:
        yield f"val_loss by the curves of the search at the end: {predicted}"


def _how(run: Run, final: FinalDirectory) -> str:
    """Returns the line that loads a model; empty where its task is not known here, or has none."""
    try:
        return printable(find_task(run.summary["task"]).how(final.path))
    except UserError:
        return ""
