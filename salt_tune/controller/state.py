"""What a search knows: its trials, and how they, the schedule and the proposals change with what is told.

`replay` tells a journal again: after it, the search stands where it stood.
"""

from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from analysis.run_directory.trials import ENDED, Listener, TrialRecord
from salt_tune.controller.proposal import Proposal
from salt_tune.runs.journal import Journal
from salt_tune.schedulers.base import Scheduler
from salt_tune.searchers.base import Searcher
from salt_tune.space.search_space import SearchSpace
from trainable.errors import UserError


class View(Protocol):
    """Whoever shows the search to others as it goes: the Optuna study."""

    def start(self, proposal: Proposal) -> None:
        """A trial starts."""

    def report(self, trial_id: str, rung: float, score: float) -> None:
        """A trial has come to a rung."""

    def end(self, trial_id: str, state: str, score: float, error: str | None = None) -> None:
        """A trial has ended."""

    def close(self) -> None:
        """Nothing more will be told."""


@dataclass
class Options:
    """How a search is run, beside its space.

    Attributes:
        seed: of weights, masks, data order and proposals.
        vary_seeds: each trial trains with a seed of its own instead of the common one.
        replicates: further seeds that the finalists are trained with before a winner is named.
        oom_retries: how often a trial that ran out of memory is tried again.
        keep_checkpoints: paused trials that may keep a checkpoint, with freeze_thaw; None: all.
    """

    seed: int = 0
    vary_seeds: bool = False
    replicates: int = 0
    oom_retries: int = 0
    keep_checkpoints: int | None = None


@dataclass
class SearchState:
    """The state of a search.

    Args:
        space: what is searched.
        options: how.
        scheduler: who decides which trial goes on.
        searcher: who proposes new ones.
        journal: where decisions are written.
        reports: where reports are written.
        checkpoints: folder of the trials' checkpoints.
        listeners: who wants to know.
        view: the study that others watch.

    Attributes:
        records: the trials, by id, in the order of their start.
        draining: nothing new is started.
        seconds: that processes have run the search so far, killed ones not counted.
    """

    space: SearchSpace
    options: Options
    scheduler: Scheduler
    searcher: Searcher
    journal: Journal
    reports: Journal
    checkpoints: Path
    listeners: list[Listener] = field(default_factory=list)
    view: View | None = None
    records: dict[str, TrialRecord] = field(default_factory=dict)
    draining: bool = False
    seconds: float = 0.0
    _again: deque[str] = field(default_factory=deque)  # on their way when the process before this one died
    _replicas: set[str] = field(default_factory=set)  # on their way
    _out_of_memory: Counter[str] = field(default_factory=Counter)

    @property
    def running(self) -> int:
        """How many trials are on their way in this process."""
        return len(self.scheduler.running) + len(self._replicas) - len(self._again)

    def tries_again(self, trial: str) -> bool:
        """Whether a trial that has stopped is going to be run again: it ran out of memory, and may try once more."""
        return trial in self._again

    def replay(self) -> None:
        """Tells the journal again.

        Raises:
            UserError: the journal is damaged, or a report that it names is not there.
        """
        # A trial that runs out of memory says so at a point that it has reported before.
        reports: dict[tuple[str, float, str], dict[str, Any]] = {}
        for number, report in enumerate(self.reports.read(), start=1):
            with _line(self.reports, number):
                reports[report["trial"], report["resource"], report["status"]] = report
        prunable: list[str] = []
        for number, entry in enumerate(self.journal.read(), start=1):
            with _line(self.journal, number):
                self._tell(entry, reports, prunable)
        for trial in prunable:  # the process died before their lines
            self._write("drop", trial)
            self._drop(trial)
        self._again = deque(trial for trial, record in self.records.items() if record.state == "running")

    def _tell(
        self, entry: dict[str, Any], reports: dict[tuple[str, float, str], dict[str, Any]], prunable: list[str]
    ) -> None:
        trial = entry.get("trial", "")
        match entry["event"]:
            case "start":
                self._start(self._read_start(entry))
            case "run":
                self._run(trial, entry["to"])
            case "result":
                report = reports.get((trial, entry["resource"], entry["status"]))
                if report is None:
                    raise UserError(
                        f"{self.reports.path}: lacks the report of {trial} at {entry['resource']:g}, "
                        f"which {self.journal.path.name} names"
                    )
                score = self.records[trial].add(report, self.space)
                self._result(trial, entry["resource"], entry["status"], score)
            case "end":
                self._end(trial, entry["state"], entry["error"])
            case "drop":
                prunable.remove(trial)
                self._drop(trial)
            case "extend":
                self.scheduler.allowed += entry["trials"]
            case "exhausted":
                self.scheduler.allowed = entry["trials"]
            case "session":
                self.seconds += entry["seconds"]
        if entry["event"] in ("result", "end") and self.records[trial].state != "running":
            prunable[:] = self.scheduler.prunable()  # what came of it stands in the next lines

    def _read_start(self, entry: dict[str, Any]) -> Proposal:
        config = dict(entry["hyperparameters"])
        if entry["replicate_of"] is None:
            self.searcher.on_trial_add(entry["trial"], entry["parameters"])
        return Proposal(entry["trial"], entry["parameters"], config, entry["seed"], entry["replicate_of"])

    def _write(self, event: str, trial: str | None, **entry: Any) -> None:
        self.journal.append({"event": event, **({"trial": trial} if trial else {}), **entry})

    def _start(self, trial: Proposal) -> None:
        self.records[trial.id] = TrialRecord(trial)
        if self.view:
            self.view.start(trial)

    def _run(self, trial: str, to: float) -> None:
        self.records[trial].state = "running"
        if self.records[trial].proposal.replicate_of is None:
            self.scheduler.on_job(trial, to)
        else:
            self._replicas.add(trial)

    def _result(self, trial: str, point: float, status: str, score: float) -> None:
        """What follows from a report for the schedule, the proposals and the trial itself."""
        if status in ENDED:
            self._out_of_memory[trial] += status == "out_of_memory"
            if status == "out_of_memory" and self._out_of_memory[trial] <= self.options.oom_retries:
                self._again.append(trial)
            else:
                self._end(trial, status, None)
            return
        record = self.records[trial]
        if record.proposal.replicate_of is None and point in self.space.schedule.rung_points():
            self.searcher.on_trial_result(trial, point, score, cost_of(record, self.space))
            if self.view:
                self.view.report(trial, point, score)
        self.scheduler.on_trial_result(trial, point, score)
        if status == "finished":
            self._end(trial, "finished", None)
        elif trial not in self.scheduler.running and trial not in self._replicas:
            record.state = "paused"

    def _end(self, trial: str, state: str, error: str | None) -> None:
        record = self.records[trial]
        record.state, record.error = state, error
        self._replicas.discard(trial)
        if record.proposal.replicate_of is None:
            self.scheduler.on_trial_end(trial)
            self.searcher.on_trial_complete(trial, state, record.score)
        if self.view:
            self.view.end(trial, state, record.score, error)

    def _drop(self, trial: str) -> None:
        record = self.records[trial]
        record.state = "pruned"
        self.scheduler.on_trial_prune(trial)
        self.searcher.on_trial_complete(trial, "pruned", record.score)
        if self.view:
            self.view.end(trial, "pruned", record.score)


def cost_of(record: TrialRecord, space: SearchSpace) -> float | None:
    """The second objective, where there is one: lower is better."""
    if space.against == "parameters":
        return float(record.last["student_parameters"] + record.last["predictor_parameters"])
    return None if space.against is None else float(record.last["step_seconds"])


@contextmanager
def _line(journal: Journal, number: int) -> Iterator[None]:
    """Names a line that cannot be followed."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"{type(error).__name__}: {error}"
        raise UserError(f"{journal.path}: line {number} is damaged: {what}") from error
