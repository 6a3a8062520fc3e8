"""The journal of a search: how a line of `decisions.jsonl` says each event, and how the lines are read."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

from analysis.errors import RunError, is_number
from analysis.run_directory.events import (
    Event,
    JobStarted,
    ReplicatesAsked,
    ResultReported,
    RoundStarted,
    SessionEnded,
    TrialAdded,
    TrialEnded,
    TrialLeft,
    TrialPruned,
    Trials,
    TrialsAllowed,
)
from analysis.run_directory.lines import cut_last_line, damaged_line, read_lines
from analysis.run_directory.paths import RunDirectory
from analysis.run_directory.trials import TrialState, ends_lost

_NAMES: dict[type[Event], str] = {
    TrialAdded: "start",
    JobStarted: "run",
    ResultReported: "result",
    TrialEnded: "end",
    TrialPruned: "drop",
    TrialLeft: "left",
    ReplicatesAsked: "replicates",
    RoundStarted: "round",
    SessionEnded: "session",
}


def encode(event: Event) -> dict[str, Any]:
    """Returns the event as a line of `decisions.jsonl`; docs/run-directory.md has the fields."""
    match event:
        case TrialsAllowed():
            return {"event": "exhausted" if event.total else "extend", "trials": event.trials}
        case ResultReported():
            score = event.score if math.isfinite(event.score) else None
            fields = asdict(replace(event, report=None))
            del fields["report"]  # it stands in reports.jsonl
            return {"event": "result", **fields, "score": score}
        case _:
            return {"event": _NAMES[type(event)], **asdict(event)}


def _decode(entry: Mapping[str, Any]) -> Event:
    """Returns the event that a line says.

    Raises:
        KeyError: a field is missing.
        TypeError: a number is none.
        ValueError: an event or a state is unknown.
    """
    match entry["event"]:
        case "start":
            parameters, config = dict(entry["parameters"]), dict(entry["config"])
            return TrialAdded(entry["trial"], parameters, config, entry["seed"], entry["origin"], entry["replicate_of"])
        case "run":
            start, milestone = _number(entry, "start"), _number(entry, "milestone")
            return JobStarted(entry["trial"], start, milestone, entry["reason"], *_prediction(entry))
        case "result":
            score = math.inf if entry["score"] is None else _number(entry, "score")
            return ResultReported(
                entry["trial"], _number(entry, "resource"), str(entry["status"]), score, entry["retry"]
            )
        case "end":
            return TrialEnded(entry["trial"], TrialState(entry["state"]), entry["error"])
        case "drop":
            return TrialPruned(entry["trial"], *_prediction(entry))
        case "left":
            return TrialLeft(entry["trial"], *_prediction(entry))
        case "extend" | "exhausted" as name:
            return TrialsAllowed(int(_number(entry, "trials")), total=name == "exhausted")
        case "replicates":
            asked = entry["replicates"]
            return ReplicatesAsked("auto" if asked == "auto" else int(_number(entry, "replicates")))
        case "round":
            seeds = {str(trial): int(count) for trial, count in entry["seeds"].items()}
            return RoundStarted(int(_number(entry, "request")), seeds, entry["reason"])
        case "session":
            return SessionEnded(_number(entry, "seconds"))
        case unknown:
            raise ValueError(f"event = {unknown!r} is unknown")


def _prediction(entry: Mapping[str, Any]) -> list[float | None]:
    fields = ("predicted", "predicted_sd", "chance")
    return [None if entry[field] is None else _number(entry, field) for field in fields]


def _number(entry: Mapping[str, Any], field: str) -> float:
    value: float = entry[field]
    if not is_number(value):
        raise TypeError(f"{field} = {value!r} is no number")
    return value


def read_events(run: RunDirectory, *, live: bool = False) -> Iterator[Event]:
    """Reads the journal of a run, with the reports that it names; one event a line.

    Args:
        run: its directory; without a journal it has no events.
        live: another process may be writing, or the reports may be gone: nothing is changed, a last line that is cut
            off is left alone, and a report that is not there is None. Otherwise a last report that no event names is
            taken away.

    Raises:
        RunError: a line is damaged, or, but for `live`, a report is missing.
    """
    events = []  # first: what a search writes meanwhile names no report that is not there
    for number, entry in enumerate(read_lines(run.decisions, live=live), start=1):
        with damaged_line(run.decisions, number):
            events.append(_decode(entry))
    lines = read_lines(run.reports, live=live)
    named = sum(isinstance(event, ResultReported) for event in events)
    if not live and len(lines) == named + 1:  # the writer has died before the decision: the report comes again
        cut_last_line(run.reports)
        del lines[-1]
    reports: dict[tuple[str, float, str], dict[str, Any]] = {}
    for number, report in enumerate(lines, start=1):
        with damaged_line(run.reports, number):
            # The status tells apart what a trial says at one point: that it got there, then that memory ran out.
            reports[report["trial"], report["resource"], report["status"]] = report
    for event in events:
        if isinstance(event, ResultReported):
            found = reports.get((event.trial, event.resource, event.status))
            if found is None and not live:
                raise RunError(
                    f"{run.reports}: lacks the report of {event.trial} at {event.resource:g}, "
                    f"which {run.decisions.name} names"
                )
            event = replace(event, report=found)
        yield event


def read_counted(run: RunDirectory) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields each trial and report that counts, in order, also while another process writes them; no lost end.

    Raises:
        RunError: a line is damaged.
    """
    for event in read_events(run, live=True):
        if isinstance(event, ResultReported) and event.report is not None and not ends_lost(event.status):
            yield event.trial, event.report


def read_losses(run: RunDirectory) -> dict[str, dict[float, float]]:
    """Returns `val_loss` of each trial by epoch; see `read_counted`."""
    losses: dict[str, dict[float, float]] = {}
    for trial, report in read_counted(run):
        losses.setdefault(trial, {})[report["epoch"]] = report["val_loss"]
    return losses


def read_trials(run: RunDirectory, *, live: bool = False) -> Trials:
    """Returns the trials as the journal of a run has them; see `read_events`.

    Raises:
        RunError: a line is damaged, or a report is missing.
    """
    trials = Trials()
    for number, event in enumerate(read_events(run, live=live), start=1):
        with damaged_line(run.decisions, number):
            trials.apply(event)
    return trials
