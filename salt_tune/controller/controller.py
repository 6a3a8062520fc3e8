"""What a search does next: schedule, proposals and journal joined, without Ray or a clock.

Whoever runs trials asks `next` for something to run, tells each report, and obeys the verdict. Everything that is told
is in the journal before it is answered.
"""

import math
from collections.abc import Container
from typing import Any, Literal

from analysis.run_directory.trials import ENDED, NO_SCORE, TrialRecord, ranking
from salt_tune.controller.proposal import Proposal, proposal
from salt_tune.controller.replicates import next_replicate
from salt_tune.controller.state import SearchState

Verdict = Literal["continue", "pause", "stop"]


class Steering(SearchState):
    """Decides what a search does next; see `SearchState` for its arguments."""

    @property
    def over(self) -> bool:
        """Whether nothing runs and nothing is left to do."""
        idle = not self.scheduler.running and not self._replicas
        return idle and self.scheduler.next_job() is None and self._next_replica() is None

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
        job = self.scheduler.next_job()
        if job is None:
            replica = None if self.scheduler.running else self._next_replica()
            return (replica, self.scheduler.rungs[-1], "another seed of a finalist") if replica else None
        if job.trial is not None:
            return job.trial, job.milestone, job.reason
        number = self.scheduler.started
        name = f"T{number}"
        if name in self.records:
            return name, job.milestone, job.reason
        parameters = self.searcher.suggest(name)
        if parameters is None:
            self._exhausted(number)
            return self._choose()
        seed = self.options.seed + (number if self.options.vary_seeds else 0)
        return proposal(self.space, name, parameters, seed), job.milestone, job.reason

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

    def pause(self, trial: str) -> None:
        """A trial that has paused is not the next one: its worker is free for another."""
        for listener in self.listeners:
            listener.on_end(self.records[trial])

    def end(self, trial: str, state: str, error: str | None = None) -> None:
        """A trial is over without a report that says so: it failed."""
        record = self.records[trial]
        if record.state not in ("running", "paused"):
            return
        self._write("end", trial, state=state, error=error)
        self._end(trial, state, error)
        for listener in self.listeners:
            listener.on_end(record)
        self._tidy()

    def extend(self, trials: int) -> int:
        """More trials may be started, as far as there are configurations left for them; how many."""
        most = self.scheduler.allowed + trials - self.begun
        more = max(0, trials - most + self.searcher.left(most))
        if more:
            self._write("extend", None, trials=more)
            self.scheduler.allowed += more
        return more

    def limit(self) -> int:
        """Takes back the trials that there is no configuration left for; how many can be started in all."""
        most = self.scheduler.allowed - self.begun
        left = self.searcher.left(most)
        if left < most:
            self._exhausted(self.begun + left)
        return self.scheduler.allowed

    @property
    def begun(self) -> int:
        """Trials that have been proposed, replicates apart."""
        return sum(record.proposal.replicate_of is None for record in self.records.values())

    def _exhausted(self, trials: int) -> None:
        """All configurations of the space are or will be tried; the schedule goes on with those."""
        self._write("exhausted", None, trials=trials)
        self.scheduler.allowed = trials

    def close(self, seconds: float, *, ended: bool) -> None:
        """The process leaves the search, at its end or before it.

        Args:
            seconds: how long it ran it.
            ended: whether nothing is left to do: no paused trial will go on, and only the winner's checkpoint stays.
        """
        self.seconds += seconds
        for record in self.records.values():
            if record.state == "paused" and ended:
                record.state = "pruned"
            elif record.state in ("paused", "running"):
                record.state = "interrupted"
        if ended:
            self.delete_checkpoints(kept=())
        if self.view:
            self.view.close()
        self._write("session", None, seconds=seconds)  # last: where it cannot be written, all else is done

    def _tidy(self) -> None:
        """Gives up trials that cannot go on, and deletes checkpoints that nobody will read again."""
        for trial in self.scheduler.prunable():
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


def _start_entry(trial: Proposal) -> dict[str, Any]:
    return {
        "parameters": trial.parameters,
        "hyperparameters": trial.config,
        "seed": trial.seed,
        "replicate_of": trial.replicate_of,
    }


def _plain(report: dict[str, Any]) -> dict[str, Any]:
    """The report as JSON can say it: what is not finite becomes null."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in report.items()
    }
