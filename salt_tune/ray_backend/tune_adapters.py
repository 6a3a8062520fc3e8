"""Ray's side of the decisions: Tune asks here which trial to run, and hears "continue", "pause" or "stop".

All decisions are the `Controller`'s; these classes only translate.
"""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial as RayTrial
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher as RaySearcher

from analysis.run_directory.trials import TrialState
from salt_tune.controller.decision import Decision
from salt_tune.ray_backend.dispatcher import Dispatch
from trainable.worker import TrialSpec

USER_ERROR = re.compile(r"^trainable\.errors\.\w+: ")


class Suggesting(RaySearcher):
    """Gives Ray a trial that it has not heard of, when it is that trial's turn; keeps no state of its own."""

    def __init__(self, dispatch: Dispatch) -> None:
        super().__init__(metric="score", mode="min")
        self._dispatch = dispatch

    def __getstate__(self) -> dict[str, Any]:
        """Returns an empty state: Ray pickles it with the experiment; the search's memory is its journal."""
        return {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """See `ray.tune.search.Searcher`."""
        if self._dispatch.over():
            return str(RaySearcher.FINISHED)
        trial = self._dispatch.decide()
        if trial is None or trial.id in self._dispatch.trials:
            return None
        self._dispatch.take()
        return {"trial": asdict(TrialSpec(trial.id, trial.config, trial.resource))}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """See `ray.tune.search.Searcher`."""

    def save(self, checkpoint_path: str) -> None:
        """See `ray.tune.search.Searcher`."""

    def restore(self, checkpoint_path: str) -> None:
        """See `ray.tune.search.Searcher`."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """See `ray.tune.search.Searcher`."""


class Pausing(FIFOScheduler):
    """A TrialScheduler that pauses trials at rungs, and resumes those that the controller goes on with."""

    _supports_buffered_results = False

    def __init__(self, dispatch: Dispatch) -> None:
        super().__init__()
        self._dispatch = dispatch

    def __getstate__(self) -> dict[str, Any]:
        """See `Suggesting`."""
        return {}

    def on_trial_result(self, tune_controller: Any, trial: RayTrial, result: dict[str, Any]) -> str:
        """See `ray.tune.schedulers.TrialScheduler`; a trial that is chosen again goes on without a pause."""
        name, decision = trial.config["trial"]["id"], Decision.STOP
        with self._dispatch.guarded():
            decision = self._dispatch.report(name, trial_report(result))
        if decision is Decision.PAUSE:
            chosen = self._dispatch.decide()
            if chosen is not None and chosen.id == name:
                self._dispatch.take()
                return str(self.CONTINUE)
            self._dispatch.controller.pause(name)
            return str(self.PAUSE)
        if decision is Decision.CONTINUE and not self._dispatch.stopping:
            self._dispatch.goes_on(name)
            return str(self.CONTINUE)
        if decision is Decision.CONTINUE:
            self._dispatch.halted.add(name)
        return str(self.STOP)  # also where it starts again: its worker is done with it

    def choose_trial_to_run(self, tune_controller: Any) -> RayTrial | None:
        """See `ray.tune.schedulers.TrialScheduler`."""
        dispatch = self._dispatch
        for name, trial in list(dispatch.trials.items()):
            if trial.status == RayTrial.PAUSED and dispatch.controller.trials[name].state.ended:
                tune_controller.stop_trial(trial)
        if dispatch.over():
            for name in list(dispatch.trials):  # paused ones stay so: the search may be extended
                tune_controller.stop_trial(dispatch.trials.pop(name))
            return None
        chosen = dispatch.decide()
        if chosen is None or chosen.id not in dispatch.trials:
            return None  # nothing to do, or a trial that Ray gets from `Suggesting`
        if dispatch.trials[chosen.id].status != RayTrial.PAUSED:
            return None  # it is still on its way into its pause
        dispatch.take()
        return dispatch.trials[chosen.id]


class Following(TrialProgressCallback):
    """Tells the controller what Ray does with the trials, in place of Ray's own class that prints some of it."""

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch

    def __getstate__(self) -> dict[str, Any]:
        """See `Suggesting`."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any) -> None:
        """See `ray.tune.Callback`."""
        self._dispatch.trials[trial.config["trial"]["id"]] = trial

    def on_trial_result(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, result: dict[str, Any], **info: Any
    ) -> None:
        """See `ray.tune.Callback`; a result that the scheduler has told already changes nothing."""
        with self._dispatch.guarded():
            self._dispatch.report(result["trial"], result["report"])

    def on_trial_complete(self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any) -> None:
        """See `ray.tune.Callback`; the controller has said so."""
        self._forget(trial)

    def on_trial_error(self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any) -> None:
        """See `ray.tune.Callback`; Ray gives a trial up at once where its worker dies before it has begun."""
        self._dispatch.leaves_full_disk(_error_of(trial))
        if not (trial.should_recover() and self._dispatch.begin_again(trial.config["trial"]["id"], trial.max_failures)):
            self._dispatch.trials.setdefault(trial.config["trial"]["id"], trial)
            self._fail(trial)

    def on_trial_recover(self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any) -> None:
        """See `ray.tune.Callback`: before a trial is tried again, which on a full disk is of no use."""
        self._dispatch.leaves_full_disk(_error_of(trial))

    def _forget(self, trial: RayTrial) -> bool:
        """Forgets Ray's trial; says whether that ends ours, which may start again in another."""
        name = trial.config["trial"]["id"]
        known = self._dispatch.trials.pop(name, None) is not None
        if name in self._dispatch.restarting:
            self._dispatch.restarting.remove(name)
            return False
        return known

    def _fail(self, trial: RayTrial) -> None:
        if self._forget(trial) and not self._dispatch.stopping:
            with self._dispatch.guarded():
                self._dispatch.controller.end(trial.config["trial"]["id"], TrialState.FAILED, _error_of(trial))


def _error_of(trial: RayTrial) -> str:
    text = Path(trial.error_file).read_text(encoding="utf-8") if trial.error_file else ""
    return last_line(text) if text.strip() else "its process died"


def last_line(error: object) -> str:
    """Returns the last line of an error's text, which names the cause; without the class where meant for users."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return USER_ERROR.sub("", lines[-1].strip()) if lines else type(error).__name__


def trial_report(result: dict[str, Any]) -> dict[str, Any]:
    """Returns the report within a result that Ray has flattened."""
    return {name.removeprefix("report/"): value for name, value in result.items() if name.startswith("report/")}
