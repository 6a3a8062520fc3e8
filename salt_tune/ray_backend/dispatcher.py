"""Ray's side of the decisions: Tune asks here which trial to run, and hears "continue", "pause" or "stop".

All decisions are `Steering`'s; these classes only translate.
"""

import math
import shutil
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher as RaySearcher

from analysis.run_directory.trials import TrialRecord, last_line
from salt_tune.controller.controller import Steering, Verdict
from trainable.errors import UserError

FULL_DISK = "No space left on device"
FREE_SOME = "; free some space, then resume the search"
LEAST_FREE = 2**17  # bytes


class Dispatch:
    """What Steering has decided and Ray has not begun yet; shared by the three classes that Ray knows.

    Args:
        steering: the search.
        concurrent: trials at a time.

    Attributes:
        trials: Ray's trials by our id; those that it can still run.
        stopping: whether the search leaves before its end.
        failure: what went wrong, where that is why.
        halted: trials that have been stopped after a report, for that reason alone.
    """

    def __init__(self, steering: Steering, concurrent: int) -> None:
        self.steering, self._concurrent = steering, concurrent
        self._chosen: deque[TrialRecord] = deque()
        self._begun: Counter[str] = Counter()  # again
        self.trials: dict[str, Trial] = {}
        self.failure: Exception | None = None
        self._leave_at = math.inf
        self.halted: set[str] = set()

    def drain(self, seconds: float) -> None:
        """Starts nothing more; the search leaves when no trial runs, or after so many seconds."""
        self.steering.draining = True
        self._leave_at = time.monotonic() + seconds

    @property
    def stopping(self) -> bool:
        """See the class."""
        return self.steering.draining

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Ends the search where Steering fails: Ray would take its errors for the trial's."""
        try:
            yield
        except Exception as error:
            self.failure = self.failure or error
            self.drain(0)

    def decide(self) -> TrialRecord | None:
        """The next chosen trial; chooses one where a worker is free. `take` takes it."""
        if self.stopping:
            return None
        if not self._chosen and self.steering.running < self._concurrent:
            with self.guarded():
                if (record := self.steering.next()) is not None:
                    self._chosen.append(record)
        return self._chosen[0] if self._chosen else None

    def take(self) -> None:
        """The trial that `decide` named is Ray's now."""
        self._chosen.popleft()

    def goes_on(self, name: str) -> None:
        """A trial trains; where it was chosen, it does not wait: its worker had died on the way into its pause."""
        if self._chosen and self._chosen[0].id == name:
            self.take()

    def report(self, name: str, report: dict[str, Any]) -> Verdict:
        """Tells Steering what a worker has reported: results, or why it could not go on."""
        if report["status"] != "failed":
            return self.steering.report(name, report)
        if not self.leaves_full_disk(report["error"]):
            self.steering.end(name, "failed", report["error"])
        return "stop"

    def leaves_full_disk(self, error: str) -> bool:
        """Leaves the search where an error comes from a full disk, for no trial could write; says whether it does."""
        folder = self.steering.journal.path.parent
        # Where there was no room for the error itself, it says nothing; and Ray's own errors do not say where.
        if FULL_DISK not in error and shutil.disk_usage(folder).free >= LEAST_FREE:
            return False
        if not error.endswith(FREE_SOME):
            error = f"{folder}: {FULL_DISK}{FREE_SOME}"
        self.failure = self.failure or UserError(error)
        self.drain(0)
        return True

    def begin_again(self, name: str, most: int) -> bool:
        """A trial that Ray could not begin is chosen once more; False where that has happened so often already."""
        self._begun[name] += 1
        if self._begun[name] > most:
            return False
        self.trials.pop(name, None)
        self._chosen.append(self.steering.records[name])
        return True

    def over(self) -> bool:
        """Whether the search is at its end, or leaves before it."""
        if self.stopping:
            waited_for = self.steering.running - len(self._chosen) - len(self.halted)
            return waited_for <= 0 or time.monotonic() >= self._leave_at
        return not self._chosen and self.steering.over


class Proposer(RaySearcher):
    """Gives Ray a trial that it has not heard of, when it is that trial's turn; keeps no state of its own."""

    def __init__(self, dispatch: Dispatch) -> None:
        super().__init__(metric="score", mode="min")
        self._dispatch = dispatch

    def __getstate__(self) -> dict[str, Any]:
        """Ray pickles it with the experiment; the search's memory is its journal."""
        return {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """See `ray.tune.search.Searcher`."""
        if self._dispatch.over():
            return str(RaySearcher.FINISHED)
        record = self._dispatch.decide()
        if record is None or record.id in self._dispatch.trials:
            return None
        self._dispatch.take()
        known = {"id": record.id, "hyperparameters": record.proposal.config, "known": record.resource}
        return {"trial": known}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """See `ray.tune.search.Searcher`."""

    def save(self, checkpoint_path: str) -> None:
        """See `ray.tune.search.Searcher`."""

    def restore(self, checkpoint_path: str) -> None:
        """See `ray.tune.search.Searcher`."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """See `ray.tune.search.Searcher`."""


class Pausing(FIFOScheduler):
    """A TrialScheduler that pauses trials at rungs, and resumes those that Steering goes on with."""

    _supports_buffered_results = False

    def __init__(self, dispatch: Dispatch) -> None:
        super().__init__()
        self._dispatch = dispatch

    def __getstate__(self) -> dict[str, Any]:
        """See `Proposer`."""
        return {}

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """See `ray.tune.schedulers.TrialScheduler`; a trial that is chosen again goes on without a pause."""
        name, verdict = trial.config["trial"]["id"], "stop"
        with self._dispatch.guarded():
            verdict = self._dispatch.report(name, trial_report(result))
        if verdict == "pause":
            record = self._dispatch.decide()
            if record is not None and record.id == name:
                self._dispatch.take()
                verdict = "continue"
            else:
                self._dispatch.steering.pause(name)
        elif verdict == "continue" and self._dispatch.stopping:
            self._dispatch.halted.add(name)
            verdict = "stop"
        elif verdict == "continue":
            self._dispatch.goes_on(name)
        return str({"continue": self.CONTINUE, "pause": self.PAUSE, "stop": self.STOP}[verdict])

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """See `ray.tune.schedulers.TrialScheduler`."""
        dispatch = self._dispatch
        for name, trial in list(dispatch.trials.items()):
            if trial.status == Trial.PAUSED and dispatch.steering.records[name].state not in ("running", "paused"):
                tune_controller.stop_trial(trial)
        if dispatch.over():
            for name in list(dispatch.trials):  # paused ones stay so: the search may be extended
                tune_controller.stop_trial(dispatch.trials.pop(name))
            return None
        record = dispatch.decide()
        if record is None or record.id not in dispatch.trials:
            return None  # nothing to do, or a trial that Ray gets from `Proposer`
        if dispatch.trials[record.id].status != Trial.PAUSED:
            return None  # it is still on its way into its pause
        dispatch.take()
        return dispatch.trials[record.id]


class Following(TrialProgressCallback):
    """Tells Steering what Ray does with the trials, in place of Ray's own class that prints some of it."""

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch

    def __getstate__(self) -> dict[str, Any]:
        """See `Proposer`."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """See `ray.tune.Callback`."""
        self._dispatch.trials[trial.config["trial"]["id"]] = trial

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """See `ray.tune.Callback`; a result that the scheduler has told already changes nothing."""
        with self._dispatch.guarded():
            self._dispatch.report(result["trial"], result["report"])

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """See `ray.tune.Callback`; Steering has said so."""
        self._dispatch.trials.pop(trial.config["trial"]["id"], None)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """See `ray.tune.Callback`; Ray gives a trial up at once whose worker dies before it has begun."""
        self._dispatch.leaves_full_disk(_error_of(trial))
        if not (trial.should_recover() and self._dispatch.begin_again(trial.config["trial"]["id"], trial.max_failures)):
            self._dispatch.trials.setdefault(trial.config["trial"]["id"], trial)
            self._fail(trial)

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """See `ray.tune.Callback`: before a trial is tried again, which on a full disk is of no use."""
        self._dispatch.leaves_full_disk(_error_of(trial))

    def _fail(self, trial: Trial) -> None:
        name = trial.config["trial"]["id"]
        known = self._dispatch.trials.pop(name, None) is not None
        if known and not self._dispatch.stopping and not self._dispatch.steering.tries_again(name):
            with self._dispatch.guarded():
                self._dispatch.steering.end(name, "failed", _error_of(trial))


def _error_of(trial: Trial) -> str:
    text = Path(trial.error_file).read_text(encoding="utf-8") if trial.error_file else ""
    return last_line(text) if text.strip() else "its process died"


def trial_report(result: dict[str, Any]) -> dict[str, Any]:
    """The report within a result that Ray has flattened."""
    return {name.removeprefix("report/"): value for name, value in result.items() if name.startswith("report/")}
