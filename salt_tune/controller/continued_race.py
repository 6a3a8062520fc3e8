"""Finalists go on in turn, as freeze-thaw decides: a search and a final run are one schedule."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from salt_tune.schedulers.freeze_thaw import RUNG_FACTOR, FreezeThaw

Losses = Mapping[float, float]  # by epoch


@dataclass(frozen=True)
class Reached:
    """What training on has come to.

    Attributes:
        loss: `val_loss` at the milestone.
        unfit: its encoder is collapsed, or worse than untrained, so that it stands behind all others.
    """

    loss: float
    unfit: bool = False


def milestones(rungs: Sequence[float], end: float, reports_per_epoch: int) -> tuple[float, ...]:
    """Returns where finalists are compared: at the rungs of the search, and on to the end of the trunk.

    Args:
        rungs: of the search in epochs, ascending.
        end: of the trunk in epochs; taken down to a report.
        reports_per_epoch: of a final run.

    Returns:
        Epochs, ascending; those beyond the search are reports about `RUNG_FACTOR` apart.
    """
    last = math.floor(end * reports_per_epoch + 1e-9) / reports_per_epoch
    points = [rung for rung in rungs if rung < last]
    point = points[-1] if points else 1 / reports_per_epoch
    while (point := math.ceil(point * RUNG_FACTOR * reports_per_epoch - 1e-9) / reports_per_epoch) < last:
        points.append(point)
    return (*points, last)


def winner_of(
    finalists: Sequence[str],
    losses: Mapping[str, Losses],
    points: Sequence[float],
    train: Callable[[str, float], Reached | None],
    say: Callable[[str], None],
) -> str | None:
    """Trains the trunks of finalists in turn, until one is at its end and no other has a fair chance to beat it.

    Args:
        finalists: trials that may go on, best first.
        losses: `val_loss` of all trials, of the search and of final runs so far; the curves of all tell how curves go.
        points: where they are compared, see `milestones`.
        train: trains a finalist on to a milestone; None: it was interrupted.
        say: called with each decision, for people.

    Returns:
        The winner, whose trunk is at its end; None where it was interrupted.
    """
    known = {trial: _curve(losses.get(trial, {}), points) for trial in dict.fromkeys((*finalists, *losses))}
    told = {trial: curve for trial, curve in known.items() if curve or trial in finalists}
    scheduler = FreezeThaw(points, allowed=len(told))
    for trial, curve in told.items():
        for point, loss in zip(points, curve, strict=False):
            scheduler.on_job(trial, point)
            scheduler.on_trial_result(trial, point, loss)
        if trial not in finalists and len(curve) < len(points):
            scheduler.on_trial_prune(trial)
    ends = {trial: told[trial][-1] for trial in finalists if len(told[trial]) == len(points)}
    while (job := scheduler.next_job()) is not None:
        trial = job.trial or next(name for name in finalists if not told[name])
        say(f"{trial} goes on to epoch {job.milestone:g}: {job.reason}")
        scheduler.on_job(trial, job.milestone)
        reached = train(trial, job.milestone)
        if reached is None:
            return None
        told[trial].append(reached.loss)
        scheduler.on_trial_result(trial, job.milestone, reached.loss, behind=reached.unfit)
        if job.milestone == points[-1]:
            ends[trial] = math.inf if reached.unfit else reached.loss
    for trial in finalists:
        if trial not in ends:
            say(f"{trial} is dropped at epoch {points[max(0, len(told[trial]) - 1)]:g}")
    return min(ends, key=lambda trial: ends[trial])


def _curve(losses: Losses, points: Sequence[float]) -> list[float]:
    """Returns the losses at the points, up to the first that is not known."""
    curve: list[float] = []
    for point in points:
        if point not in losses:
            break
        curve.append(losses[point])
    return curve
