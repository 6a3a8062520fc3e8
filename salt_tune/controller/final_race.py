"""The race of finalists: their final runs go on in turn, and are compared by their reports."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from analysis.run_directory.journal import read_losses
from analysis.run_directory.lines import read_lines
from analysis.run_directory.paths import RunDirectory
from analysis.verdict import UNFIT
from salt_tune.controller.continued_race import Reached, milestones, winner_of
from salt_tune.runs.final_plan import Planned


def race(
    run: RunDirectory,
    plans: Sequence[Planned],
    rungs: Sequence[float],
    end: float,
    train: Callable[[Planned, float], object],
    say: Callable[[str], None],
) -> Planned | None:
    """Trains the trunks of finalists in turn, on from what their reports say they have come to.

    Args:
        run: of the search.
        plans: their final runs, the best trial's first.
        rungs: of the search in epochs, ascending.
        end: of the shortest trunk, in epochs.
        train: trains a final run until its report of an epoch, or until it is interrupted.
        say: called with each decision, for people.

    Returns:
        The winner; None where it was interrupted.
    """
    by_name = {plan.name: plan for plan in plans}
    points = milestones(rungs, end, plans[0].spec.reports_per_epoch)
    losses = read_losses(run)
    for plan in plans:
        losses.setdefault(plan.name, {}).update(_losses(read_lines(plan.final.reports)))
    say(f"{', '.join(by_name)} of {run.path.name}: their trunks go on in turn, to epoch {points[-1]:g} at most")

    def train_on(trial: str, milestone: float) -> Reached | None:
        plan = by_name[trial]
        train(plan, milestone)
        reports = {report["epoch"]: report for report in read_lines(plan.final.reports)}
        if (report := reports.get(milestone)) is None:
            return None
        return Reached(report["val_loss"], report.get("verdict") in UNFIT)

    winner = winner_of([*by_name], losses, points, train_on, say)
    return None if winner is None else by_name[winner]


def _losses(reports: Iterable[dict[str, Any]]) -> dict[float, float]:
    return {report["epoch"]: report["val_loss"] for report in reports}
