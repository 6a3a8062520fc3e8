"""How far a search or a promoted run is, from its files alone, also while another process writes them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from analysis.errors import RunError
from analysis.run_directory.events import Event, ResultReported, SessionEnded, Trials, TrialsAllowed
from analysis.run_directory.forecast import Left, resource_left
from analysis.run_directory.journal import read_events
from analysis.run_directory.lines import damaged_line, read_lines
from analysis.run_directory.now import search_now
from analysis.run_directory.paths import FinalDirectory, RunDirectory, read_manifest, read_summary
from analysis.run_directory.promotions import read_error
from analysis.run_directory.trials import Trial


class RunState(StrEnum):
    """Where a run stands."""

    RUNNING = "running"
    FINISHED = "finished"  # nothing is left to do
    STOPPED = "stopped"  # it was left in order, and can be gone on with
    KILLED = "killed"  # its process ended without a word, and it can be gone on with


def search_progress(run: RunDirectory, *, running: bool, killed: bool, since: datetime | None = None) -> dict[str, Any]:
    """Returns how far a search is; docs/run-directory.md has the fields.

    Args:
        run: its directory.
        running: whether a process holds its lock.
        killed: whether the last one that did ended without giving it back.
        since: when the process that runs it took it; None: not known, or none does.

    Raises:
        RunError: there is no such run, it is of another format, or one of its lines is damaged.
    """
    manifest, events, trials = read_manifest(run), list(read_events(run, live=True)), Trials()
    for number, event in enumerate(events, start=1):
        with damaged_line(run.decisions, number):
            trials.apply(event)
    finished = bool(events) and isinstance(events[-1], SessionEnded) and _is_over(run)
    known = search_now(manifest, trials, over=finished and not running)
    reports = [event.report for event in events if isinstance(event, ResultReported) and event.report]
    asked = _asked(manifest, events)
    passed = (datetime.now(UTC) - since).total_seconds() if since and running else 0.0
    left = None
    if running and passed > 0:
        left = time_left(manifest, [*trials.values()], asked, trained=_trained_since(reports, since), seconds=passed)
    known["trials"] = {"asked": asked, **known["trials"]}
    known["spent"] |= {"wall_seconds": trials.seconds + passed, "budget": budget(manifest)}
    return {
        "state": _state(running, finished, killed),
        **known,
        "time_left": left and asdict(left),
        "last_report": _last_report(reports),
    }


def time_left(
    description: Mapping[str, Any], trials: Sequence[Trial], asked: int | None, *, trained: float, seconds: float
) -> Left | None:
    """Returns how long a search will take from now, at its present pace; None where that cannot be told yet.

    Args:
        description: as of `search_now`; where its `session` has limits, they end the search.
        trials: all that are known.
        asked: how many will be begun in all; None: not known.
        trained: of the search's resource, since its process took it.
        seconds: since then.
    """
    limits = description.get("session", {}).get("limits") or {}
    left = resource_left(trials, description["full"], asked)
    if left is None or trained <= 0 or seconds <= 0:
        return None
    rate = trained / seconds
    told = left.over(rate)
    if limits.get("seconds") is not None:
        told = told.at_most(max(0.0, limits["seconds"] - seconds))
    if (most := budget(description)) is not None:
        told = told.at_most(max(0.0, most - sum(trial.resource for trial in trials)) / rate)
    return told


def budget(description: Mapping[str, Any]) -> float | None:
    """Returns what all trials may train together, where the last session has a limit in the search's own resource."""
    limits = description.get("session", {}).get("limits") or {}
    fields = {"epoch": "epoch", "tflop": "tflop", "second": "training_seconds"}
    same = limits.get("field") == fields.get(description["resource"])
    trained: float | None = limits.get("trained") if same else None
    return trained


def _trained_since(reports: Sequence[Mapping[str, Any]], since: datetime | None) -> float:
    """Returns how much of the resource the reports since a time tell of."""
    reached: dict[str, float] = {}
    trained = 0.0
    for report in reports:
        time, resource = report.get("time"), float(report["resource"])
        if since is not None and time and _moment(report) >= since:
            trained += max(0.0, resource - reached.get(report["trial"], 0.0))
        reached[report["trial"]] = max(resource, reached.get(report["trial"], 0.0))
    return trained


def final_progress(final: FinalDirectory, *, running: bool, killed: bool) -> dict[str, Any]:
    """Returns how far a promoted run is; docs/run-directory.md has the fields.

    Args:
        final: its directory.
        running: whether a process holds its lock.
        killed: whether the last one that did ended without giving it back.

    Raises:
        RunError: a line of its reports is damaged.
    """
    reports = read_lines(final.reports, live=True)
    last = reports[-1] if reports else {}
    finished, epoch = final.card.is_file(), float(last.get("epoch") or 0.0)
    return {
        "state": _state(running, finished, killed),
        "trial": final.trial,
        "epoch": epoch,
        "epochs": final.epochs,
        "val_loss": last.get("val_loss"),
        "clips_per_second": last.get("clips_per_second"),
        "seconds_left": 0.0 if finished else _seconds_left(reports, final.epochs),
        "error": None if running or finished else read_error(final),
        "last_report": _last_report(reports),
    }


def _state(running: bool, finished: bool, killed: bool) -> RunState:
    if running:
        return RunState.RUNNING
    if finished:
        return RunState.FINISHED
    return RunState.KILLED if killed else RunState.STOPPED


def _is_over(run: RunDirectory) -> bool:
    """Returns whether the summary says that nothing was left to do; none was written where the disk was full."""
    try:
        return bool(read_summary(run).get("over"))
    except RunError:
        return False


def _asked(manifest: Mapping[str, Any], events: Iterable[Event]) -> int | None:
    """Returns how many trials may be started in all, replicates apart."""
    allowed: int | None = manifest.get("asked")
    for event in events:
        if isinstance(event, TrialsAllowed):
            allowed = event.trials if event.total else allowed and allowed + event.trials
    return allowed


def _last_report(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Returns the trial of the last report, when it came, and how many seconds ago; None where that is not known."""
    if not reports or not reports[-1].get("time"):
        return None
    age = (datetime.now(UTC) - _moment(reports[-1])).total_seconds()
    return {"trial": reports[-1]["trial"], "time": str(reports[-1]["time"]), "age_seconds": max(0.0, age)}


def _moment(report: Mapping[str, Any]) -> datetime:
    try:
        moment = datetime.fromisoformat(str(report["time"]))
    except ValueError:
        moment = datetime.min
    if moment.tzinfo is None:
        raise RunError(
            f"a report of {report['trial']}: time is {report['time']!r}, and must be an ISO 8601 time with its zone"
        )
    return moment


def _seconds_left(reports: Sequence[Mapping[str, Any]], epochs: float) -> float | None:
    """Returns the seconds of training that are left, by the speed between the last two reports."""
    points = [(report.get("epoch"), report.get("training_seconds")) for report in reports[-2:]]
    known = [(epoch, seconds) for epoch, seconds in [(0.0, 0.0), *points] if epoch is not None and seconds is not None]
    if len(known) < 2:
        return None
    (epoch, seconds), (last, until) = known[-2:]
    return (until - seconds) / (last - epoch) * (epochs - last) if last > epoch else None
