"""What a trial is: its state, its hyperparameters, and what it has reported."""

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from analysis.verdict import UNFIT, Verdict

START: Final = "start_from"  # origin of a trial that the user's own space named
REPLICATE: Final = "replicate"


class TrialState(StrEnum):
    """Where a trial stands; the values stand in the files of a run.

    A state follows from the lines of the journal alone, see `analysis.run_directory.events.Trials`; but INTERRUPTED
    stands in a summary only, see `at_exit`.
    """

    WAITING = "waiting"  # it is known, and has never run
    RUNNING = "running"
    PAUSED = "paused"  # it has come to the end of its job, and may go on
    COMPLETE = "complete"  # it has trained to its end
    PRUNED = "pruned"  # a scheduler has given it up
    FAILED = "failed"  # it ended without a report that says so
    DIVERGED = "diverged"
    OUT_OF_MEMORY = "out_of_memory"
    INTERRUPTED = "interrupted"

    @property
    def ended(self) -> bool:
        """Whether the trial will never train again."""
        return self in (TrialState.COMPLETE, TrialState.PRUNED) or self.lost

    @property
    def lost(self) -> bool:
        """Whether it ended so that it cannot win: it failed, diverged or ran out of memory."""
        return self in (TrialState.FAILED, TrialState.DIVERGED, TrialState.OUT_OF_MEMORY)

    def at_exit(self, search_over: bool) -> "TrialState":
        """Returns what a summary says of it when the process leaves the search.

        Args:
            search_over: nothing is left to do. No paused trial will go on then, unless the search is extended.
        """
        if self.ended:
            return self
        return TrialState.PRUNED if search_over and self is TrialState.PAUSED else TrialState.INTERRUPTED


@dataclass
class Trial:
    """A trial and what is known of it: one shape for search, resume, callbacks, report and analysis.

    Attributes:
        id: its name in the run: T0, T1..., and T0-seed1 for a replicate.
        parameters: the searched values, as far as they are set in this trial.
        config: all its hyperparameters.
        seed: of its weights, masks and data order.
        replicate_of: the trial whose configuration it repeats with another seed; None: it repeats none.
        origin: START, the name of the searcher that suggested it, or REPLICATE; None: not known.
        state: where it stands.
        milestone: the resource at which its last job ends.
        status: of its last result: "running", "complete", "diverged" or "out_of_memory".
        scores: the objective at each reported resource, lower is better; infinite where it has no value.
        metrics: its reports, each merged over the ones before; null where a number was not finite.
        memory_errors: how often it ran out of memory.
        error: a line, where it failed.
    """

    id: str
    parameters: dict[str, Any]
    config: dict[str, Any]
    seed: int
    replicate_of: str | None = None
    origin: str | None = None
    state: TrialState = TrialState.WAITING
    milestone: float = 0.0
    status: str = "running"
    scores: dict[float, float] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    memory_errors: int = 0
    error: str | None = None

    @property
    def resource(self) -> float:
        """The deepest point reached."""
        return max(self.scores, default=0.0)

    @property
    def epochs(self) -> float:
        """Epochs trained."""
        return float(self.metrics.get("epoch", 0.0))

    @property
    def score(self) -> float:
        """The objective at the deepest point, lower is better; infinite where it has none or its last report is lost.

        A trial that runs out of memory says so at a point that has a score.
        """
        return math.inf if ends_lost(self.status) else self.scores.get(self.resource, math.inf)

    @property
    def verdict(self) -> str | None:
        """What it is worth beside an untrained encoder, as it reported last; None: not measured."""
        verdict: str | None = self.metrics.get("verdict")
        return verdict

    @property
    def unfit(self) -> bool:
        """Whether its encoder is of no use, by its verdict."""
        return self.verdict in UNFIT

    @property
    def collapsed(self) -> bool:
        """Whether its features have collapsed, by its verdict."""
        return self.verdict == Verdict.COLLAPSED

    def value(self, metric: str) -> float | None:
        """Returns the last value of a metric; None where it is not finite, or was never reported."""
        value = self.metrics.get(metric)
        return value if value is not None and math.isfinite(value) else None


def ends_lost(status: str) -> bool:
    """Returns whether a report with this status says that its trial diverged or ran out of memory."""
    return status in (TrialState.DIVERGED, TrialState.OUT_OF_MEMORY)
