"""What a searcher learns from: what is known of each trial."""

import math
from dataclasses import dataclass, field

from analysis.run_directory.trials import TrialState
from salt_tune.space.conditions import Values


@dataclass
class Observation:
    """What is known of a trial.

    Attributes:
        values: its parameters.
        scores: at each rung that it came to, lower is better; at infinity, that of a trial that is complete.
        cost: the second objective, lower is better.
        lost: it diverged, failed, or has a score that is not finite.
        ended: it will not report again.
    """

    values: Values
    scores: dict[float, float] = field(default_factory=dict)
    cost: float | None = None
    lost: bool = False
    ended: bool = False

    @property
    def silent(self) -> bool:
        """Whether nothing is known of it yet."""
        return not self.scores and not self.lost

    @property
    def complete(self) -> bool:
        """Whether it was trained to its end."""
        return math.inf in self.scores

    def add(self, rung: float, score: float) -> None:
        """Notes that it has come to a rung."""
        if math.isfinite(score):
            self.scores[rung] = score
        else:
            self.lost = True

    def end(self, state: TrialState, score: float | None) -> None:
        """Notes that it has ended in a state, with this score as its last; None: it has none."""
        self.ended = True
        self.lost |= state.lost
        if state is TrialState.COMPLETE and score is not None:
            self.add(math.inf, score)
