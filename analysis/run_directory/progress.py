"""How far a search or a promoted run is, from its files alone, also while another process writes them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from analysis.errors import RunError, require_fields
from analysis.run_directory.events import Event, ResultReported, SessionEnded, TrialsAllowed
from analysis.run_directory.journal import read_events
from analysis.run_directory.lines import read_lines
from analysis.run_directory.paths import FinalDirectory, RunDirectory, read_manifest, read_summary
from analysis.run_directory.so_far import summary_so_far
from analysis.run_directory.trials import TrialState

BEST: Final = ("trial", "state", "score", "metric", "value", "resource", "epochs", "verdict")  # of `search_progress`


class RunState(StrEnum):
    """Where a run stands."""

    RUNNING = "running"
    FINISHED = "finished"  # nothing is left to do
    STOPPED = "stopped"  # it was left in order, and can be gone on with
    KILLED = "killed"  # its process ended without a word, and it can be gone on with


def search_progress(run: RunDirectory, *, running: bool, killed: bool) -> dict[str, Any]:
    """Returns how far a search is; docs/run-directory.md has the fields.

    Args:
        run: its directory.
        running: whether a process holds its lock.
        killed: whether the last one that did ended without giving it back.

    Raises:
        RunError: there is no such run, it is of another format, or one of its lines is damaged.
    """
    manifest, events = read_manifest(run), list(read_events(run, live=True))
    known = summary_so_far(run, events)
    finished = bool(events) and isinstance(events[-1], SessionEnded) and _is_over(run)
    own = [trial for trial in known["trials"] if trial["replicate_of"] is None]
    reports = [event.report for event in events if isinstance(event, ResultReported) and event.report]
    return {
        "state": _state(running, finished, killed),
        "trials": {
            "asked": _asked(manifest, events),
            "begun": len(own),
            "replicates": len(known["trials"]) - len(own),
            **_counted(trial["state"] for trial in known["trials"]),
        },
        "best": _best(known),
        "spent": {
            "resource": known["resource"],
            "trained": known["resource_trained"],
            "without_pruning": known["resource_without_pruning"],
            "training_seconds": known["training_seconds"],
            "wall_seconds": known["wall_seconds"],
        },
        "last_report": _last_report(reports),
    }


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


def _counted(states: Iterable[str]) -> dict[str, int]:
    counts = Counter(states)
    return {str(state): counts[state] for state in TrialState if state is not TrialState.INTERRUPTED}


def _best(known: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns the winner so far; as long as no trial is complete, the best of those that trained furthest."""
    ranked = sorted((trial for trial in known["trials"] if trial["rank"]), key=lambda trial: trial["rank"])
    if not ranked:
        return None
    best, objective = ranked[0], known["objective"]
    require_fields(f"{known['name']}, objective", objective, ("metric", "mode"))
    value = best["score"] if objective["mode"] == "min" else -best["score"]
    named = {**best, "trial": best["id"], "metric": objective["metric"], "value": value}
    return {name: named[name] for name in BEST}


def _last_report(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Returns the trial of the last report, when it came, and how many seconds ago; None where that is not known."""
    if not reports or not reports[-1].get("time"):
        return None
    trial, time = reports[-1]["trial"], str(reports[-1]["time"])
    try:
        age = (datetime.now(UTC) - datetime.fromisoformat(time)).total_seconds()
    except (ValueError, TypeError) as error:
        raise RunError(f"a report of {trial}: time is {time!r}, and must be an ISO 8601 time with its zone") from error
    return {"trial": trial, "time": time, "age_seconds": max(0.0, age)}


def _seconds_left(reports: Sequence[Mapping[str, Any]], epochs: float) -> float | None:
    """Returns the seconds of training that are left, by the speed between the last two reports."""
    points = [(report.get("epoch"), report.get("training_seconds")) for report in reports[-2:]]
    known = [(epoch, seconds) for epoch, seconds in [(0.0, 0.0), *points] if epoch is not None and seconds is not None]
    if len(known) < 2:
        return None
    (epoch, seconds), (last, until) = known[-2:]
    return (until - seconds) / (last - epoch) * (epochs - last) if last > epoch else None
