"""Between the decisions and Ray: what Steering has chosen and Ray has not begun yet, and how a search is left."""

import math
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray.tune.experiment import Trial

from analysis.run_directory.trials import TrialRecord
from salt_tune.controller.controller import Steering, Verdict
from salt_tune.ui.full_disk import RESUME, comes_from_full_disk, full_disk_line
from trainable.errors import UserError


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
        if not comes_from_full_disk(error, folder):
            return False
        told = error.endswith(f"then {RESUME}")  # by our worker, which names the file
        self.failure = self.failure or UserError(error if told else full_disk_line(folder, RESUME))
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
