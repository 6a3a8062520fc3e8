"""Syne Tune's ASHA, asked as ours is; the package is optional.

Release 0.13 stops or promotes; it wants an older NumPy but runs with ours (`pip install --no-deps syne-tune==0.13.0
dill`). Later releases only stop.
"""

import logging
from collections import deque
from contextlib import redirect_stdout
from datetime import datetime
from io import StringIO
from typing import Any, Literal

from salt_tune.schedulers.asha import Asha
from salt_tune.schedulers.base import Job

with redirect_stdout(StringIO()):  # it lists what else could be installed
    from syne_tune.backend.trial_status import Trial
    from syne_tune.config_space import uniform
    from syne_tune.optimizer import baselines

Kind = Literal["stopping", "promotion"]

METRIC, TIME = "value", "training_iteration"

logging.getLogger("syne_tune").setLevel(logging.ERROR)
PROMOTES = hasattr(baselines, "HyperTune")  # 0.13


class SynePeer:
    """Syne Tune's ASHA.

    Args:
        kind: trials are stopped at rungs, or paused and promoted; later releases than 0.13 only stop.
        trials: how many.
        full: steps of a full trial.
        grace: steps to the first rung.
        eta: reduction factor.
    """

    def __init__(self, kind: Kind, trials: int, full: int, grace: int, eta: int = 3) -> None:
        self.compared = (*Asha.rung_points(grace, full, eta), float(full))
        self._scheduler = _scheduler(kind, full, grace, eta)
        self._trials = trials
        self._known: dict[str, Any] = {}
        self._steps: dict[str, int] = {}
        self._going: deque[str] = deque()
        self._passed_over = 0
        self._suggestion: Any = None  # asked for, not begun: Syne Tune counts on being obeyed

    def next_job(self) -> Job | None:
        """See `clock.Method`."""
        if self._going:
            return Job(self._going[0], self._steps[self._going[0]] + 1, "Syne Tune's")
        if self._suggestion is None:
            number = len(self._known) + self._passed_over
            self._suggestion = self._scheduler.suggest(number) if PROMOTES else self._scheduler.suggest()
        if not self._suggestion.spawn_new_trial_id:
            name = f"T{self._suggestion.checkpoint_trial_id}"
            return Job(name, self._steps[name] + 1, "Syne Tune's")
        return Job(None, 1, "Syne Tune's") if len(self._known) < self._trials else None

    def on_job(self, trial: str, milestone: float) -> None:  # noqa: ARG002
        """See `clock.Method`."""
        if self._going and self._going[0] == trial:
            self._going.popleft()
            return
        if trial not in self._known:
            self._known[trial] = Trial(len(self._known), self._suggestion.config, datetime.now())
            self._steps[trial] = 0
            self._scheduler.on_trial_add(self._known[trial])
        elif self._suggestion.config is not None:
            self._known[trial].config = self._suggestion.config
        self._suggestion = None

    def on_trial_result(self, trial: str, resource: float, score: float) -> None:
        """See `clock.Method`."""
        self._steps[trial] += 1
        self._forget_a_start()
        report = {METRIC: score, TIME: self._steps[trial]}
        decision = self._scheduler.on_trial_result(self._known[trial], report)
        if decision == "CONTINUE":
            self._going.append(trial)
        elif decision == "STOP" and resource >= self.compared[-1]:
            self._scheduler.on_trial_complete(self._known[trial], report)

    def on_trial_end(self, trial: str) -> None:
        """See `clock.Method`."""
        self._forget_a_start()
        self._scheduler.on_trial_error(self._known[trial])

    def prunable(self) -> list[str]:
        """See `clock.Method`."""
        return []

    def on_trial_prune(self, trial: str) -> None:
        """See `clock.Method`."""

    def _forget_a_start(self) -> None:
        """Forgets a suggested trial that cannot be started: it is asked for anew; by now there may be a promotion."""
        if self._suggestion is not None and self._suggestion.spawn_new_trial_id:
            self._suggestion = None
            self._passed_over += 1


def _scheduler(kind: Kind, full: int, grace: int, eta: int) -> Any:
    space, shared = {"x": uniform(0, 1)}, {"metric": METRIC, "grace_period": grace, "reduction_factor": eta}
    if PROMOTES:
        options = {"debug_log": False}
        return baselines.ASHA(
            {**space, "full": full}, mode="min", resource_attr=TIME, type=kind, max_resource_attr="full",
            search_options=options, random_seed=0, **shared,
        )  # fmt: skip
    if kind == "promotion":
        raise ValueError("syne-tune: this release does not promote; install 0.13.0")
    return baselines.ASHA(space, time_attr=TIME, max_t=full, random_seed=0, **shared)
