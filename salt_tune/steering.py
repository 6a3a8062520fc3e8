"""What a search does next, and what it remembers: schedule, proposals and journal joined, without Ray or a clock.

Whoever runs trials asks `next` for something to run, tells each report, and obeys the verdict. Everything that is told
is in the journal before it is answered. `replay` tells a journal again: after it, the search stands where it stood.
"""

import math
from collections import Counter, deque
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from salt_tune.journal import Journal
from salt_tune.records import ENDED, NO_SCORE, Listener, TrialRecord, ranking
from salt_tune.replicates import next_replicate
from salt_tune.rungs import Scheduler
from salt_tune.searcher import Proposal, Searcher, proposal
from salt_tune.space import SearchSpace
from trainable.config import TrialConfig
from trainable.errors import ConfigError, UserError

Verdict = Literal["continue", "pause", "stop"]


class View(Protocol):
    """Whoever shows the search to others as it goes: the Optuna study."""

    def start(self, proposal: Proposal) -> None:
        """A trial starts."""

    def report(self, trial_id: str, rung: float, score: float) -> None:
        """A trial has come to a rung."""

    def end(self, trial_id: str, state: str, score: float, error: str | None = None) -> None:
        """A trial has ended."""


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
class Steering:
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

    @property
    def over(self) -> bool:
        """Whether nothing runs and nothing is left to do."""
        idle = not self.scheduler.running and not self._replicas
        return idle and self.scheduler.next() is None and self._next_replica() is None

    def next(self) -> TrialRecord | None:
        """The trial to run next, new or paused; None where there is none, as long as nothing else happens."""
        if self.draining:
            return None
        if self._again:
            record = self.records[self._again.popleft()]
        else:
            chosen = self._choose()
            if chosen is None:
                return None
            trial, to, why = chosen
            if isinstance(trial, Proposal):  # one that the process before this one died over has a "start" already
                self._write("start", trial.id, **_start_entry(trial))
                self._start(trial)
                trial = trial.id
            record = self.records[trial]
            self._write("run", trial, **{"from": record.resource, "to": to, "why": why})
            self._run(trial, to)
        record.state = "running"
        for listener in self.listeners:
            listener.on_start(record)
        return record

    def _choose(self) -> tuple[str | Proposal, float, str] | None:
        """A trial to go on with or a new one, where it goes, and why."""
        move = self.scheduler.next()
        if move is None:
            replica = None if self.scheduler.running else self._next_replica()
            return (replica, self.scheduler.rungs[-1], "another seed of a finalist") if replica else None
        if move.trial is not None:
            return move.trial, move.to, move.why
        number = self.scheduler.started
        name = f"T{number}"
        if name in self.records:
            return name, move.to, move.why
        parameters = self.searcher.propose(name)
        if parameters is None:  # all configurations of the space have been tried; the schedule goes on with those
            self._write("exhausted", None, trials=number)
            self.scheduler.trials = number
            return self._choose()
        seed = self.options.seed + (number if self.options.vary_seeds else 0)
        return proposal(self.space, name, parameters, seed), move.to, move.why

    def _next_replica(self) -> Proposal | str | None:
        if not self.options.replicates:
            return None
        waiting = (name for name, record in self.records.items() if record.state == "waiting")
        return next(waiting, None) or next_replicate(self.records, self.options.replicates)

    def report(self, trial: str, report: dict[str, Any]) -> Verdict:
        """Takes a report; one that is known already, since its worker had died after it, changes nothing.

        Returns:
            Whether the trial goes on, pauses, or is at its end.
        """
        record = self.records[trial]
        status, point = report["status"], float(report["resource"])
        if record.state in ENDED or (point in record.scores and status != "out_of_memory"):
            verdicts: dict[str, Verdict] = {"running": "continue", "paused": "pause"}
            return verdicts.get(record.state, "stop")
        self.reports.append(_plain({"trial": trial, **report}))
        score = record.add(report, self.space)
        self._write("result", trial, resource=point, status=status, score=score if score < NO_SCORE else None)
        for listener in self.listeners:
            listener.on_report(record, report)
        self._result(trial, point, status, score)
        if record.state == "running":
            return "continue"
        if record.state != "paused":
            for listener in self.listeners:
                listener.on_end(record)
        self._tidy()
        return "pause" if record.state == "paused" else "stop"

    def tries_again(self, trial: str) -> bool:
        """Whether a trial that has stopped is going to be run again: it ran out of memory, and may try once more."""
        return trial in self._again

    def pause(self, trial: str) -> None:
        """A trial that has paused is not the next one: its worker is free for another."""
        for listener in self.listeners:
            listener.on_end(self.records[trial])

    def end(self, trial: str, state: str, error: str | None = None) -> None:
        """A trial is over without a report that says so: it failed, or another scheduler stopped it ("pruned")."""
        record = self.records[trial]
        if record.state not in ("running", "paused"):
            return
        self._write("end", trial, state=state, error=error)
        self._end(trial, state, error)
        for listener in self.listeners:
            listener.on_end(record)
        self._tidy()

    def extend(self, trials: int) -> None:
        """More trials may be started."""
        self._write("extend", None, trials=trials)
        self.scheduler.trials += trials

    def close(self, seconds: float, *, ended: bool) -> None:
        """The process leaves the search, at its end or before it.

        Args:
            seconds: how long it ran it.
            ended: whether nothing is left to do: no paused trial will go on, and only the winner's checkpoint stays.
        """
        self._write("session", None, seconds=seconds)
        self.seconds += seconds
        for record in self.records.values():
            if record.state == "paused" and ended:
                record.state = "pruned"
            elif record.state in ("paused", "running"):
                record.state = "interrupted"
        if ended:
            self.delete_checkpoints(kept=())

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
        dropped: list[str] = []
        for number, entry in enumerate(self.journal.read(), start=1):
            with _line(self.journal, number):
                self._tell(entry, reports, dropped)
        for trial in dropped:  # the process died before their lines
            self._write("drop", trial)
            self._drop(trial)
        self._again = deque(trial for trial, record in self.records.items() if record.state == "running")

    def _tell(
        self, entry: dict[str, Any], reports: dict[tuple[str, float, str], dict[str, Any]], dropped: list[str]
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
                dropped.remove(trial)
                self._drop(trial)
            case "extend":
                self.scheduler.trials += entry["trials"]
            case "exhausted":
                self.scheduler.trials = entry["trials"]
            case "session":
                self.seconds += entry["seconds"]
        if entry["event"] in ("result", "end") and self.records[trial].state != "running":
            dropped += self.scheduler.drop()  # what came of it stands in the next lines

    def _read_start(self, entry: dict[str, Any]) -> Proposal:
        config = TrialConfig.from_dict(entry["hyperparameters"])
        if entry["replicate_of"] is None:
            self.searcher.adopt(entry["trial"], entry["parameters"])
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
            self.scheduler.run(trial, to)
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
            self.searcher.report(trial, point, score, cost_of(record, self.space))
            if self.view:
                self.view.report(trial, point, score)
        self.scheduler.result(trial, point, score)
        if status == "finished":
            self._end(trial, "finished", None)
        elif trial not in self.scheduler.running and trial not in self._replicas:
            record.state = "paused"

    def _end(self, trial: str, state: str, error: str | None) -> None:
        record = self.records[trial]
        record.state, record.error = state, error
        self._replicas.discard(trial)
        if record.proposal.replicate_of is None:
            self.scheduler.end(trial)
            self.searcher.end(trial, state, record.score)
        if self.view:
            self.view.end(trial, state, record.score, error)

    def _drop(self, trial: str) -> None:
        record = self.records[trial]
        record.state = "pruned"
        self.searcher.end(trial, "pruned", record.score)
        if self.view:
            self.view.end(trial, "pruned", record.score)

    def _tidy(self) -> None:
        """Gives up trials that cannot go on, and deletes checkpoints that nobody will read again."""
        for trial in self.scheduler.drop():
            self._write("drop", trial)
            self._drop(trial)
            for listener in self.listeners:
                listener.on_end(self.records[trial])
        self.delete_checkpoints({"running", "paused"})

    def delete_checkpoints(self, kept: Container[str]) -> None:
        """Deletes the checkpoints of all trials but the best finished one and those in one of the states `kept`."""
        finished = [record for record in ranking(list(self.records.values())) if record.state == "finished"]
        best = finished[0].id if finished else None
        for path in self.checkpoints.glob("*.safetensors"):
            record = self.records.get(path.stem)
            if record and record.state not in kept and record.id != best:
                path.unlink(missing_ok=True)


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
    except (KeyError, TypeError, ValueError, AttributeError, ConfigError) as error:
        what = f"{type(error).__name__}: {error}"
        raise UserError(f"{journal.path}: line {number} is damaged: {what}") from error


def _start_entry(trial: Proposal) -> dict[str, Any]:
    return {
        "parameters": trial.parameters,
        "hyperparameters": trial.config.to_dict(),
        "seed": trial.seed,
        "replicate_of": trial.replicate_of,
    }


def _plain(report: dict[str, Any]) -> dict[str, Any]:
    """The report as JSON can say it: what is not finite becomes null."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in report.items()
    }
