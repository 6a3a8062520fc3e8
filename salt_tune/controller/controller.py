"""What a search does next: scheduler, searcher and journal joined, without Ray or a clock.

A backend that runs trials asks `Controller.next` for something to run, tells each report, and obeys the decision.
Everything that is told is in the journal before it is answered.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from analysis.run_directory.events import (
    Event,
    JobStarted,
    ReplicatesAsked,
    Request,
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
from analysis.run_directory.journal import encode, read_events
from analysis.run_directory.lines import damaged_line
from analysis.run_directory.paths import RunDirectory
from analysis.run_directory.reports import plain_report
from analysis.run_directory.trials import Trial, TrialState, ends_lost
from salt_tune.callbacks.base import Callback
from salt_tune.controller.checkpoints import Checkpoints, delete_checkpoints
from salt_tune.controller.decision import Decision
from salt_tune.controller.new_trial import cost_of, new_trial
from salt_tune.controller.replicates import Replicates
from salt_tune.controller.settings import Settings
from salt_tune.runs.journal import Journal
from salt_tune.schedulers.base import Scheduler
from salt_tune.searchers.base import Searcher
from salt_tune.space.search_space import SearchSpace


@dataclass
class Controller:
    """The course of one search.

    Args:
        space: what is searched.
        settings: how.
        scheduler: decides which trial goes on.
        searcher: suggests new ones.
        run: where the files of the search lie.
        journal: writes its decisions.
        reports: writes the reports of its trials.
        callbacks: follow it.

    Attributes:
        trials: all that is known of the trials.
        replicates: what is next of the finalists' further seeds.
        draining: nothing new is started.
    """

    space: SearchSpace
    settings: Settings
    scheduler: Scheduler
    searcher: Searcher
    run: RunDirectory
    journal: Journal
    reports: Journal
    callbacks: list[Callback] = field(default_factory=list)
    trials: Trials = field(init=False)
    replicates: Replicates = field(init=False)
    draining: bool = False
    _again: deque[str] = field(default_factory=deque)  # on their way when the process died, or memory ran out
    _checkpoints: Checkpoints = field(init=False)
    _left: dict[str, TrialLeft] = field(default_factory=dict)  # as the journal has them
    _prunable: list[str] = field(default_factory=list)  # that the scheduler has given up, and the journal not yet

    def __post_init__(self) -> None:
        self.trials = Trials(self.space.trials)
        self._checkpoints = Checkpoints(self.run, self.trials)
        self.replicates = Replicates(self.trials, self.settings.replicates, self.space.schedule.rung_points())

    # --- what it knows

    def resume(self) -> None:
        """Reads the journal: after it, the search stands where it stood.

        Raises:
            RunError: the journal is damaged, or a report that it names is not there.
        """
        for number, event in enumerate(read_events(self.run), start=1):
            with damaged_line(self.run.decisions, number):
                self._apply(event)
        for trial in [*self._prunable]:  # the process died before their lines
            self._prune(trial)
        self._again = deque(trial.id for trial in self.trials.values() if trial.state is TrialState.RUNNING)

    @property
    def running(self) -> int:
        """How many trials are on their way in this process."""
        return sum(trial.state is TrialState.RUNNING for trial in self.trials.values()) - len(self._again)

    @property
    def over(self) -> bool:
        """Whether nothing runs and nothing is left to do."""
        idle = not any(trial.state is TrialState.RUNNING for trial in self.trials.values())
        return idle and self.scheduler.next_job() is None and self.replicates.next() is None

    @property
    def begun(self) -> int:
        """How many trials have been suggested, replicates apart."""
        return sum(trial.replicate_of is None for trial in self.trials.values())

    # --- what is next

    def next(self) -> Trial | None:
        """Returns the trial to run next, new or paused; None where there is none, as long as nothing else happens."""
        if self.draining:
            return None
        if self._again:
            trial = self.trials[self._again.popleft()]
        else:
            job = self._choose()
            if job is None:
                return None
            self._decide(job)
            trial = self.trials[job.trial]
        self._tell(lambda callback: callback.on_trial_start(trial))
        return trial

    def is_next(self, name: str) -> bool:
        """Says whether `next` gives out this trial, which has paused."""
        if self.draining or self._again:
            return False
        job = self.scheduler.next_job()
        return job is not None and job.trial == name

    def _choose(self) -> JobStarted | None:
        """Returns the next job; adds its trial where it is a new one."""
        job = self.scheduler.next_job()
        if job is None:
            return None if self.scheduler.running else self._choose_replicate()
        if job.trial is not None:
            return self._job(job.trial, job.milestone, job.reason)
        number = self.scheduler.started
        name = f"T{number}"
        if name in self.trials:  # the process before this one died over it
            return self._job(name, job.milestone, job.reason)
        parameters = self.searcher.suggest(name)
        if parameters is None:
            self._exhausted(number)
            return self._choose()
        seed = self.settings.seed + (number if self.settings.vary_seeds else 0)
        trial = new_trial(self.space, name, parameters, seed, from_start=self.searcher.from_start)
        return self._job(trial, job.milestone, job.reason)

    def _job(self, trial: TrialAdded | str, milestone: float, reason: str) -> JobStarted:
        if isinstance(trial, TrialAdded):
            self._decide(trial)
            trial = trial.trial
        return JobStarted(trial, self.trials[trial].resource, milestone, reason, **self._expected(trial))

    def _expected(self, trial: str) -> dict[str, float]:
        """Returns the fields of an event that say what the scheduler expects of a paused trial, where it does."""
        prediction = self.scheduler.prediction(trial)
        fields = {} if prediction is None else asdict(prediction)
        return {name: value for name, value in fields.items() if math.isfinite(value)}

    def _choose_replicate(self) -> JobStarted | None:
        """Returns the next job of a finalist with another seed; begins a round where one is due."""
        step = self.replicates.next()
        if isinstance(step, RoundStarted):
            self._decide(step)
            step = self.replicates.next()
        if step is None or isinstance(step, RoundStarted):
            return None
        return self._job(step, self.scheduler.rungs[-1], "another seed of a finalist")

    def ask_replicates(self, replicates: Request) -> None:
        """Has the finalists trained with further seeds, beside those that were asked for before."""
        if replicates:
            self._decide(ReplicatesAsked(replicates))

    def extend(self, trials: int) -> int:
        """Allows more trials, as far as there are configurations left for them; returns how many."""
        most = self.scheduler.allowed + trials - self.begun
        more = max(0, trials - most + self.searcher.left(most))
        if more:
            self._decide(TrialsAllowed(more, total=False))
        return more

    def limit(self) -> int:
        """Takes back the trials that there is no configuration left for; returns how many are allowed in all."""
        most = self.scheduler.allowed - self.begun
        left = self.searcher.left(most)
        if left < most:
            self._exhausted(self.begun + left)
        return self.scheduler.allowed

    def _exhausted(self, trials: int) -> None:
        """Lets the scheduler go on with these trials: all configurations of the space are or will be tried."""
        self._decide(TrialsAllowed(trials, total=True))

    # --- what happens to a trial

    def report(self, name: str, report: Mapping[str, Any]) -> Decision:
        """Takes a report; one that is known already, since its worker had died after it, changes nothing.

        Args:
            name: the id of its trial.
            report: its fields; docs/run-directory.md has them.
        """
        trial, status, point = self.trials[name], str(report["status"]), float(report["resource"])
        if trial.state.ended or (point in trial.scores and status != TrialState.OUT_OF_MEMORY):
            return Decision.of(trial)
        line = plain_report(name, report)
        self.reports.append(line)
        score = math.inf if ends_lost(status) else self.space.objective.score({**trial.metrics, **line})
        retry = status == TrialState.OUT_OF_MEMORY and trial.memory_errors < self.settings.oom_retries
        self._decide(ResultReported(name, point, status, score, retry, line))
        self._tell(lambda callback: callback.on_trial_result(trial, report))
        if retry:
            self._again.append(name)
            return Decision.RESTART
        if trial.state is not TrialState.RUNNING:
            self._after(trial)
        return Decision.of(trial)

    def pause(self, name: str) -> None:
        """Tells the callbacks that a trial which has paused is not the next one: its worker is free for another."""
        self._tell(lambda callback: callback.on_trial_pause(self.trials[name]))

    def restart(self, name: str, why: str) -> None:
        """Tells the callbacks that a trial goes on from its checkpoint in another process; `why` is one line."""
        self._tell(lambda callback: callback.on_trial_restart(self.trials[name], why))

    def end(self, name: str, state: TrialState, error: str | None = None) -> None:
        """Ends a trial without a report that says so, such as one that failed."""
        trial = self.trials[name]
        if trial.state in (TrialState.RUNNING, TrialState.PAUSED):
            self._decide(TrialEnded(name, state, error))
            self._after(trial)

    def _after(self, trial: Trial) -> None:
        """Gives up trials that cannot go on, and deletes checkpoints that will not be read again."""
        if trial.state.ended:
            self._tell(lambda callback: callback.on_trial_end(trial))
        given_up = [*self._prunable]
        for pruned in given_up:
            self._prune(pruned)
            self._tell(lambda callback, pruned=pruned: callback.on_trial_end(self.trials[pruned]))  # type: ignore[misc]
        self._checkpoints.after([trial.id, *given_up])

    def _prune(self, trial: str) -> None:
        self._decide(TrialPruned(trial, **self._expected(trial)))

    # --- the search's own beginning and end

    def begin(self) -> None:
        """Tells the callbacks that trials will run from now on."""
        self._tell(lambda callback: callback.on_search_start(self.trials))

    def close(self, seconds: float, *, over: bool) -> None:
        """Leaves the search, at its end or before it.

        Args:
            seconds: how long this process ran it.
            over: nothing is left to do: no paused trial will go on, and only the checkpoints of the best stay.

        Raises:
            UserError: the journal cannot be written; all else is done.
        """
        ended = SessionEnded(seconds)
        self._apply(ended)  # before its line, which nothing follows from: a summary has the time also on a full disk
        if over:
            delete_checkpoints(self.run, self.trials)
            self._leave_paused()
        self.journal.append(encode(ended))

    def _leave_paused(self) -> None:
        """Writes what was expected of the trials that no more will be done about, unless the last session did."""
        for trial in self.trials.values():
            if trial.state is TrialState.PAUSED and (expected := self._expected(trial.id)):
                left = TrialLeft(trial.id, **expected)
                if self._left.get(trial.id) != left:
                    self._decide(left)

    def _tell(self, what: Callable[[Callback], None]) -> None:
        for callback in self.callbacks:
            what(callback)

    # --- what follows from an event, as it happens and as it is read again

    def _decide(self, event: Event) -> None:
        """Writes the event, then lets follow from it what follows."""
        self.journal.append(encode(event))
        self._apply(event)

    def _apply(self, event: Event) -> None:
        """Does what follows from an event: for the trials, then for scheduler and searcher."""
        trial = self.trials.apply(event)
        match event:
            case TrialsAllowed():
                self.scheduler.allowed = self.trials.allowed or 0
            case TrialPruned():
                self._prunable.remove(event.trial)
            case TrialLeft():
                self._left[event.trial] = event
        if trial is not None and trial.replicate_of is None:  # replicates are the controller's own
            self._tell_scheduler_and_searcher(event, trial)
        told = isinstance(event, ResultReported | TrialEnded)
        if told and trial is not None and trial.state is not TrialState.RUNNING:
            self._prunable = self.scheduler.prunable()

    def _tell_scheduler_and_searcher(self, event: Event, trial: Trial) -> None:
        match event:
            case TrialAdded():
                self.searcher.on_trial_add(trial.id, trial.parameters)
            case JobStarted():
                self.scheduler.on_job(trial.id, event.milestone)
            case ResultReported() if not ends_lost(event.status):
                if event.resource in self.space.schedule.rung_points():
                    # Where features collapse, a low score is no reason to search there.
                    score = math.inf if trial.collapsed else event.score
                    self.searcher.on_trial_result(trial.id, event.resource, score, cost_of(trial, self.space))
                self.scheduler.on_trial_result(trial.id, event.resource, event.score, behind=trial.collapsed)
        if isinstance(event, ResultReported | TrialEnded) and trial.state.ended:
            self.scheduler.on_trial_end(trial.id)
            self.searcher.on_trial_complete(trial.id, trial.state, trial.score)
        elif isinstance(event, TrialPruned):
            self.scheduler.on_trial_prune(trial.id)
            self.searcher.on_trial_complete(trial.id, trial.state, trial.score)
