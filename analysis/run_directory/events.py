"""The journal of a search: its events, how a line says each, and what follows from them for the trials.

`Trials.apply` is the only place where a trial changes. The search itself, a resume, a warm start, the callbacks and the
analysis all know of a trial what it says.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from analysis.errors import RunError, is_number
from analysis.run_directory.lines import damaged_line, read_lines
from analysis.run_directory.paths import RunDirectory
from analysis.run_directory.trials import Trial, TrialState, ends_lost


@dataclass(frozen=True)
class TrialAdded:
    """A trial exists; see `Trial` for the fields."""

    trial: str
    parameters: dict[str, Any]
    config: dict[str, Any]
    seed: int
    replicate_of: str | None = None


@dataclass(frozen=True)
class JobStarted:
    """A trial is to train from the resource `start` to the resource `milestone`, for a `reason` in a few words."""

    trial: str
    start: float
    milestone: float
    reason: str


@dataclass(frozen=True)
class ResultReported:
    """A trial has reported.

    Attributes:
        trial: its id.
        resource: the point.
        status: of the report: "running", "complete", "diverged" or "out_of_memory".
        score: the objective, lower is better; infinite where it has no value.
        retry: it ran out of memory, and is tried again.
        report: what it said; None only where a journal is read `live` and the report has not been found.
    """

    trial: str
    resource: float
    status: str
    score: float
    retry: bool = False
    report: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class TrialEnded:
    """A trial ended without a report that says so: it failed."""

    trial: str
    state: TrialState
    error: str | None = None


@dataclass(frozen=True)
class TrialPruned:
    """A paused trial is given up: it will not go on."""

    trial: str


@dataclass(frozen=True)
class TrialsAllowed:
    """How many trials may be started: `trials` in all where it is a `total`, else so many more."""

    trials: int
    total: bool


@dataclass(frozen=True)
class SessionEnded:
    """A process left the search, which it had run for so many `seconds`."""

    seconds: float


Event = TrialAdded | JobStarted | ResultReported | TrialEnded | TrialPruned | TrialsAllowed | SessionEnded

_NAMES: dict[type[Event], str] = {
    TrialAdded: "start",
    JobStarted: "run",
    ResultReported: "result",
    TrialEnded: "end",
    TrialPruned: "drop",
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
            return TrialAdded(entry["trial"], parameters, config, entry["seed"], entry["replicate_of"])
        case "run":
            start, milestone = _number(entry, "start"), _number(entry, "milestone")
            return JobStarted(entry["trial"], start, milestone, entry["reason"])
        case "result":
            score = math.inf if entry["score"] is None else _number(entry, "score")
            return ResultReported(
                entry["trial"], _number(entry, "resource"), str(entry["status"]), score, entry["retry"]
            )
        case "end":
            return TrialEnded(entry["trial"], TrialState(entry["state"]), entry["error"])
        case "drop":
            return TrialPruned(entry["trial"])
        case "extend" | "exhausted" as name:
            return TrialsAllowed(int(_number(entry, "trials")), total=name == "exhausted")
        case "session":
            return SessionEnded(_number(entry, "seconds"))
        case unknown:
            raise ValueError(f"event = {unknown!r} is unknown")


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
            off is left alone, and a report that is not there is None.

    Raises:
        RunError: a line is damaged, or, but for `live`, a report is missing.
    """
    entries = read_lines(run.decisions, live=live)  # first: what a search writes meanwhile names no report that is not
    reports: dict[tuple[str, float, str], dict[str, Any]] = {}
    for number, report in enumerate(read_lines(run.reports, live=live), start=1):
        with damaged_line(run.reports, number):
            # The status tells apart what a trial says at one point: that it got there, then that memory ran out.
            reports[report["trial"], report["resource"], report["status"]] = report
    for number, entry in enumerate(entries, start=1):
        with damaged_line(run.decisions, number):
            event = _decode(entry)
        if isinstance(event, ResultReported):
            found = reports.get((event.trial, event.resource, event.status))
            if found is None and not live:
                raise RunError(
                    f"{run.reports}: lacks the report of {event.trial} at {event.resource:g}, "
                    f"which {run.decisions.name} names"
                )
            event = replace(event, report=found)
        yield event


class Trials(Mapping[str, Trial]):
    """The trials of a search, by id, in the order in which they were added.

    Args:
        allowed: how many may be started in all; None: not known.

    Attributes:
        allowed: see above, after all that was told.
        seconds: that processes have run the search so far; killed ones are not counted.
    """

    def __init__(self, allowed: int | None = None) -> None:
        self.allowed = allowed
        self.seconds = 0.0
        self._trials: dict[str, Trial] = {}

    def __getitem__(self, name: str) -> Trial:
        return self._trials[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._trials)

    def __len__(self) -> int:
        return len(self._trials)

    def apply(self, event: Event) -> Trial | None:
        """Changes what is known by one event: the only place where a state changes.

        Returns:
            The trial that it is about; None where it is about none.

        Raises:
            KeyError: the event is about a trial that was never added.
        """
        match event:
            case TrialsAllowed():
                if event.total:
                    self.allowed = event.trials
                elif self.allowed is not None:
                    self.allowed += event.trials
                return None
            case SessionEnded():
                self.seconds += event.seconds
                return None
            case TrialAdded():
                self._trials[event.trial] = Trial(
                    event.trial, event.parameters, event.config, event.seed, event.replicate_of
                )
                return self._trials[event.trial]
        trial = self._trials[event.trial]
        match event:
            case JobStarted():
                trial.state, trial.milestone = TrialState.RUNNING, event.milestone
            case ResultReported():
                _take_result(trial, event)
            case TrialEnded():
                trial.state, trial.error = event.state, event.error
            case TrialPruned():
                trial.state = TrialState.PRUNED
        return trial


def _take_result(trial: Trial, event: ResultReported) -> None:
    """Takes a report, and changes the trial as it says.

    A running report without a score leaves its trial running: its process trains on, and a later point may have a
    score. What such a point costs it is the matter of schedulers, searchers and rankings, which see an infinite score.
    """
    trial.status = event.status
    trial.metrics.update(event.report or {})
    trial.memory_errors += event.status == TrialState.OUT_OF_MEMORY
    if event.status != TrialState.OUT_OF_MEMORY:  # it never got to the next point, and keeps the score of the last
        trial.scores[event.resource] = event.score
    if event.retry:
        trial.state = TrialState.RUNNING
    elif event.status == TrialState.COMPLETE or ends_lost(event.status):
        trial.state = TrialState(event.status)
    else:
        trial.state = TrialState.PAUSED if event.resource >= trial.milestone else TrialState.RUNNING


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
