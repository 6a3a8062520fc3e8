"""Where a search ends before nothing is left to do: after a time, or when so much has been trained."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from analysis.run_directory.trials import Trial
from trainable.budget import Kind
from trainable.errors import UserError
from trainable.task import Task

AMOUNT: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+) *([a-z]+)")
SECONDS: Final[Mapping[str, float]] = {"s": 1.0, "min": 60.0, "h": 3600.0}
# Of what was trained: the field of a report, and how much of it the unit is.
TRAINED: Final[Mapping[str, tuple[str, float]]] = {
    "epoch": ("epoch", 1.0),
    "epochs": ("epoch", 1.0),
    "tflop": ("tflop", 1.0),
    **{unit: ("training_seconds", seconds) for unit, seconds in SECONDS.items()},
}
KINDS: Final[Mapping[str, Kind]] = {"epoch": "epoch", "tflop": "tflop", "training_seconds": "second"}


@dataclass(frozen=True)
class Limits:
    """Where a search ends early; `parse` makes one.

    Attributes:
        seconds: that this process may run trials; None: any time.
        trained: what all trials may have trained in all; None: anything.
        field: of a report that `trained` counts.
        said: both as they were given.
    """

    seconds: float | None = None
    trained: float | None = None
    field: str = "training_seconds"
    said: tuple[str, str] = ("", "")

    @classmethod
    def parse(cls, time_limit: str | None, budget: str | None) -> "Limits":
        """Reads what a user gives.

        Args:
            time_limit: such as "8h" or "90min".
            budget: such as "40epochs", "200tflop" or "12h", which is of training.

        Raises:
            UserError: it is no amount.
        """
        seconds, trained, field = None, None, "training_seconds"
        if time_limit is not None:
            number, unit = _amount("--time-limit", time_limit, SECONDS)
            seconds = number * SECONDS[unit]
        if budget is not None:
            number, unit = _amount("--budget", budget, TRAINED)
            field, each = TRAINED[unit]
            trained = number * each
        return cls(seconds, trained, field, (f"--time-limit {time_limit}", f"--budget {budget}"))

    def check(self, task: Task) -> None:
        """Makes sure that the task counts what is limited.

        Raises:
            UserError: it does not.
        """
        if self.trained is not None and KINDS[self.field] not in task.resources:
            units = [unit for unit, (field, _) in TRAINED.items() if KINDS[field] in task.resources]
            raise UserError(f"{self.said[1]}: trials of {task.name} are counted in {', '.join(units)}")

    def reached(self, seconds: float, trials: Iterable[Trial]) -> str | None:
        """Says which limit has been reached; None: none has.

        Args:
            seconds: how long trials have been running in this process.
            trials: all of the search.
        """
        if self.seconds is not None and seconds >= self.seconds:
            return self.said[0]
        if self.trained is not None and sum(trial.value(self.field) or 0 for trial in trials) >= self.trained:
            return self.said[1]
        return None


NO_LIMITS: Final = Limits()


def _amount(flag: str, text: str, units: Iterable[str]) -> tuple[float, str]:
    found, known = AMOUNT.fullmatch(text.strip().lower()), [*units]
    if found is None or found[2] not in known or not float(found[1]):
        raise UserError(f"{flag} {text}: must be a number above 0 and one of {', '.join(known)}, such as 8h")
    return float(found[1]), found[2]
