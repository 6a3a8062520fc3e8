"""Between the decisions and Ray: what the controller chose and Ray has not begun yet, and how a search is left."""

import math
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray.tune.experiment import Trial as RayTrial

from analysis.run_directory.trials import Trial, TrialState
from salt_tune.controller.controller import Controller
from salt_tune.controller.decision import Decision
from salt_tune.ui.full_disk import RESUME, comes_from_full_disk, full_disk_line
from trainable.errors import UserError


class Dispatch:
    """What the controller has decided and Ray has not begun yet; shared by the three classes that Ray knows.

    Args:
        controller: of the search.
        concurrent: trials at a time.

    Attributes:
        trials: Ray's trials by our id; those that it can still run.
        stopping: whether the search leaves before its end.
        failure: what went wrong, where that is why.
        halted: trials that have been stopped after a report, for that reason alone.
        restarting: trials that Ray will say are complete, and that are run again: they ran out of memory.
    """

    def __init__(self, controller: Controller, concurrent: int) -> None:
        self.controller, self._concurrent = controller, concurrent
        self._chosen: deque[Trial] = deque()
        self._begun: Counter[str] = Counter()  # again
        self.trials: dict[str, RayTrial] = {}
        self.failure: Exception | None = None
        self._leave_at = math.inf
        self.halted: set[str] = set()
        self.restarting: set[str] = set()

    def drain(self, seconds: float) -> None:
        """Starts nothing more; the search leaves when no trial runs, or after so many seconds."""
        self.controller.draining = True
        self._leave_at = time.monotonic() + seconds

    @property
    def stopping(self) -> bool:
        """See the class."""
        return self.controller.draining

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Ends the search where the controller fails: Ray would take its errors for the trial's."""
        try:
            yield
        except Exception as error:
            self.failure = self.failure or error
            self.drain(0)

    def decide(self) -> Trial | None:
        """Returns the next chosen trial; chooses one where a worker is free. `take` takes it."""
        if self.stopping:
            return None
        if not self._chosen and self.controller.running < self._concurrent:
            with self.guarded():
                if (trial := self.controller.next()) is not None:
                    self._chosen.append(trial)
        return self._chosen[0] if self._chosen else None

    def take(self) -> None:
        """Takes the trial that `decide` named: it is Ray's now."""
        self._chosen.popleft()

    def goes_on(self, name: str) -> None:
        """Takes a chosen trial that trains already: its worker had died on the way into its pause."""
        if self._chosen and self._chosen[0].id == name:
            self.take()

    def report(self, name: str, report: dict[str, Any]) -> Decision:
        """Tells the controller what a worker has reported: results, or why it could not go on."""
        if report["status"] != TrialState.FAILED:
            decision = self.controller.report(name, report)
            if decision is Decision.RESTART:
                self.restarting.add(name)
            return decision
        if not self.leaves_full_disk(report["error"]):
            self.controller.end(name, TrialState.FAILED, report["error"])
        return Decision.STOP

    def leaves_full_disk(self, error: str) -> bool:
        """Leaves the search where an error comes from a full disk, for no trial could write; says whether it does."""
        folder = self.controller.run.path
        if not comes_from_full_disk(error, folder):
            return False
        told = error.endswith(f"then {RESUME}")  # by our worker, which names the file
        self.failure = self.failure or UserError(error if told else full_disk_line(folder, RESUME))
        self.drain(0)
        return True

    def begin_again(self, name: str, most: int) -> bool:
        """Chooses once more a trial that Ray could not begin; False where that has happened so often already."""
        self._begun[name] += 1
        if self._begun[name] > most:
            return False
        self.trials.pop(name, None)
        self._chosen.append(self.controller.trials[name])
        return True

    def over(self) -> bool:
        """Returns whether the search is at its end, or leaves before it."""
        if self.stopping:
            waited_for = self.controller.running - len(self._chosen) - len(self.halted)
            return waited_for <= 0 or time.monotonic() >= self._leave_at
        return not self._chosen and self.controller.over
