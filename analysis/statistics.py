"""What was tried, and how trials compare clip by clip: which differences are real, which the luck of the clips."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.loading import Run
from analysis.reports import natural

# 97.5% quantile of the normal distribution.
QUANTILE = 1.96


@dataclass(frozen=True)
class Difference:
    """A mean difference over clips, with its 95% interval.

    Attributes:
        mean: the mean of a - b over the clips, in units of the loss.
        low: the lower end of the interval.
        high: its upper end.
        n: the number of clips.
    """

    mean: float
    low: float
    high: float
    n: int

    @property
    def distinguishable(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0


def paired_difference(losses_a: "pd.Series[float]", losses_b: "pd.Series[float]") -> Difference:
    """The mean of the per-clip differences a - b and its 95% interval.

    The interval is mean +- 1.96 standard errors: the normal quantile in place of Student's, as the clips are many
    (at 30 of them it is 4% too narrow). It covers the choice of clips, and not the seed that a trial trained with.

    Args:
        losses_a: the loss of each clip, indexed by clip, in any order.
        losses_b: the same for the other trial.

    Raises:
        ValueError: the two do not have the same clips, each once, have fewer than two, or a loss that is not finite.
    """
    if not (losses_a.index.is_unique and losses_b.index.is_unique and set(losses_a.index) == set(losses_b.index)):
        raise ValueError(
            f"losses_a has {len(losses_a)} clips, losses_b {len(losses_b)}, and both must have the same, each once"
        )
    n = len(losses_a)
    if n < 2:
        raise ValueError(f"losses_a has {n} clips, and must have at least 2")
    differences = losses_a.to_numpy(float) - losses_b.reindex(losses_a.index).to_numpy(float)
    if not np.isfinite(differences).all():
        raise ValueError("losses_a or losses_b has a loss that is not finite, and all must be")
    mean = float(differences.mean())
    margin = QUANTILE * float(differences.std(ddof=1)) / n**0.5
    return Difference(mean, mean - margin, mean + margin, n)


def searched(run: Run) -> pd.DataFrame:
    """What the trials tried of each searched parameter, and what the winner had.

    Returns:
        Indexed by parameter: `scale`, `tried` (as text: the ends of the range, or the categories), `winner` (NaN where
        there is none).
    """
    rows = {name: (run.summary["scales"][name], _tried(run, name), _of_winner(run, name)) for name in run.parameters}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["scale", "tried", "winner"])


def paired_against_best(run: Run) -> pd.DataFrame:
    """Compares each trial with the winner, at the deepest epoch that both have clip losses of.

    Each interval stands alone: of 20 trials equal to the winner, one is expected to look different.

    Returns:
        One row a trial that has such an epoch, deepest first, then closest to the winner first: `trial`, `epoch`,
        `difference` (mean loss of the trial - of the winner), `low`, `high` (its 95% interval), `n` (clips),
        `distinguishable`. No rows where there is no winner.

    Raises:
        RunError: a file of clip losses is broken.
        ValueError: two trials were judged on different clips, or a loss is not finite.
    """
    rows = []
    if (best := run.best) is not None:
        others = [trial for trial in run.trials["trial"] if trial != best]
        rows = [row for trial in others if (row := _compare(run, trial, best)) is not None]
    table = pd.DataFrame(rows, columns=list(_TYPES)).astype(_TYPES)
    return table.sort_values(["epoch", "difference"], ascending=[False, True], ignore_index=True)


_TYPES = {
    "trial": "str",
    "epoch": "float64",
    "difference": "float64",
    "low": "float64",
    "high": "float64",
    "n": "int64",
    "distinguishable": "bool",
}


def _tried(run: Run, parameter: str) -> str:
    values = run.trials[parameter]
    if run.summary["scales"][parameter] == "category":
        return ", ".join(sorted({str(value) for value in values}, key=natural))
    return f"{values.min():.4g} to {values.max():.4g}"


def _of_winner(run: Run, parameter: str) -> object:
    values = run.trials.loc[run.trials["trial"] == run.best, parameter].tolist()
    return values[0] if values else np.nan


def _compare(run: Run, trial: str, best: str) -> dict[str, object] | None:
    common = _judged_epochs(run, trial) & _judged_epochs(run, best)
    if not common:
        return None
    epoch = max(common)
    of_trial, of_best = (run.clip_losses(name, epoch).set_index("clip")["loss"] for name in (trial, best))
    found = paired_difference(of_trial, of_best)
    return {
        "trial": trial,
        "epoch": epoch,
        "difference": found.mean,
        "low": found.low,
        "high": found.high,
        "n": found.n,
        "distinguishable": found.distinguishable,
    }


def _judged_epochs(run: Run, trial: str) -> set[float]:
    reports = run.reports[(run.reports["trial"] == trial) & np.isfinite(run.reports["val_loss"])]
    return {epoch for epoch in reports["epoch"] if run.directory.clip_losses(trial, epoch).exists()}
