"""The events of a search, and what follows from them for the trials; `analysis.run_directory.journal` has their lines.

`Trials.apply` is the only place where a trial changes. The search itself, a resume, a warm start, the callbacks and the
analysis all know of a trial what it says.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from analysis.run_directory.trials import Trial, TrialState, ends_lost

Request = int | Literal["auto"]  # so many further seeds of each finalist, or a race among those tied with the best


@dataclass(frozen=True)
class TrialAdded:
    """A trial exists; see `Trial` for the fields."""

    trial: str
    parameters: dict[str, Any]
    config: dict[str, Any]
    seed: int
    origin: str | None = None
    replicate_of: str | None = None


@dataclass(frozen=True)
class JobStarted:
    """A trial is to train on.

    Attributes:
        trial: its id.
        start: the resource that it goes on from.
        milestone: the resource that it is to reach.
        reason: why, in a few words.
        predicted: the score that its scheduler expects at the end; None where it expects nothing.
        predicted_sd: the standard deviation of this prediction.
        chance: the probability that it is the best one, by this prediction.
    """

    trial: str
    start: float
    milestone: float
    reason: str
    predicted: float | None = None
    predicted_sd: float | None = None
    chance: float | None = None


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
    """A paused trial is given up: it will not go on. See `JobStarted` for what was expected of it."""

    trial: str
    predicted: float | None = None
    predicted_sd: float | None = None
    chance: float | None = None


@dataclass(frozen=True)
class TrialLeft:
    """A search came to its end without a paused trial, which only more trials could take up again.

    It changes no state, and says what was expected; see `JobStarted`.
    """

    trial: str
    predicted: float | None = None
    predicted_sd: float | None = None
    chance: float | None = None


@dataclass(frozen=True)
class TrialsAllowed:
    """How many trials may be started: `trials` in all where it is a `total`, else so many more."""

    trials: int
    total: bool


@dataclass(frozen=True)
class ReplicatesAsked:
    """Finalists are to be trained with further seeds, beside what was asked before."""

    replicates: Request


@dataclass(frozen=True)
class RoundStarted:
    """Some finalists are to be trained with further seeds.

    Attributes:
        request: which of the requests it serves: 0 is that of run.json, 1 the first `ReplicatesAsked`.
        seeds: of each of them, how many it shall have been trained with, its first one included; best first.
        reason: why these, in a few words.
    """

    request: int
    seeds: Mapping[str, int]
    reason: str


@dataclass(frozen=True)
class SessionEnded:
    """A process left the search, which it had run for so many `seconds`."""

    seconds: float


Event = (
    TrialAdded
    | JobStarted
    | ResultReported
    | TrialEnded
    | TrialPruned
    | TrialLeft
    | TrialsAllowed
    | ReplicatesAsked
    | RoundStarted
    | SessionEnded
)


class Trials(Mapping[str, Trial]):
    """The trials of a search, by id, in the order in which they were added.

    Args:
        allowed: how many may be started in all; None: not known.

    Attributes:
        allowed: see above, after all that was told.
        requests: for replicates, beside that of run.json.
        rounds: of replicates, in order.
        seconds: that processes have run the search so far; killed ones are not counted.
    """

    def __init__(self, allowed: int | None = None) -> None:
        self.allowed = allowed
        self.requests: list[Request] = []
        self.rounds: list[RoundStarted] = []
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
            case ReplicatesAsked():
                self.requests.append(event.replicates)
                return None
            case RoundStarted():
                self.rounds.append(event)
                return None
            case SessionEnded():
                self.seconds += event.seconds
                return None
            case TrialAdded():
                self._trials[event.trial] = Trial(
                    event.trial, event.parameters, event.config, event.seed, event.replicate_of, event.origin
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
